"""Multitrack songs as folders of wav or flac files, in the layout of MUSDB18-HQ.

``root/train/<song>/{drums,bass,other,vocals}.wav``, ``root/test/<song>/`` with ``mixture.wav``
beside them. ``asteroid.data.MUSDB18Dataset`` reads the same folders, but silently leaves out songs
that do not fit, reads them in the order of the file system, and draws from Python's global random
numbers, so that a training run could not be repeated or resumed exactly.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import yaml
from torch import Tensor

from ..audio import read_wav
from ..dsp import mono_level
from ..errors import UsageError

logger = logging.getLogger(__name__)

SOURCES = ("drums", "bass", "other", "vocals")
MIXTURE = "mixture"
VALIDATION = "Validation - "
VALIDATION_SHARE = 0.14
"""Of a set without musdb's own validation songs; those are 14 of 100."""


@dataclass(frozen=True)
class Song:
    """A checked song: every file has the same rate, number of channels and length.

    Args:
        folder: Where its files are; its name is the song's.
        frames: Length in samples.
        channels: Number of channels.
        sample_rate: In Hz.
        files: Of each source, and of the mixture, the file; ``<source>.wav`` if it is not there.
    """

    folder: Path
    frames: int
    channels: int = 2
    sample_rate: int = 44100
    files: Mapping[str, Path] = field(default_factory=dict, compare=False)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    def path(self, source: str) -> Path:
        """The file of one source, or of the mixture."""
        return self.files.get(source, self.folder / f"{source}.wav")

    def read(self, sources: Sequence[str], start: int = 0, frames: int | None = None) -> Tensor:
        """Some samples of some sources; before its start and past its end a song is silent.

        Args:
            sources: Names of files, such as ``("vocals", "mixture")``.
            start: First sample; may be negative.
            frames: How many; to the end of the song if ``None``.

        Returns:
            ``(len(sources), channels, frames)``, float32.

        Raises:
            UsageError: If it cannot be read.
        """
        frames = self.frames - start if frames is None else frames
        first, stop = (min(max(0, at), self.frames) for at in (start, start + frames))
        samples = torch.empty(len(sources), self.channels, frames)
        samples[..., : first - start] = 0
        samples[..., stop - start :] = 0
        for row, source in zip(samples, sources, strict=True):
            read_wav(self.path(source), first, stop, out=row[:, first - start : stop - start])
        return samples

    def level(self, sources: Sequence[str], block: int = 2**22) -> float:
        """Level of the sum of some sources (:func:`dsp.mono_level`), in bounded memory."""
        starts = range(0, self.frames, block)
        return mono_level(
            self.read(sources, start, min(block, self.frames - start)).sum(0) for start in starts
        )


def split_validation(songs: Sequence[Song]) -> tuple[list[Song], list[Song]]:
    """Training and validation songs.

    Validation songs are those whose names begin with "Validation - ", else musdb's 14 fixed ones,
    else 14 % spread over the names: at least two of three or more, as one song is a poor judge.

    Raises:
        UsageError: If fewer than two songs are there.
    """
    if len(songs) < 2:
        raise UsageError(f"{len(songs)} training song(s): one to train and one to validate needed")
    fixed = musdb_validation_names()
    named = [song for song in songs if song.name.startswith(VALIDATION)]
    valid = named or [song for song in songs if song.name in fixed]
    if named:
        logger.info("validating on %d songs that are named so", len(named))
    elif valid:
        missing = sorted(fixed - {song.name for song in valid})
        if missing:
            logger.warning("validation songs of musdb that are not there: %s", ", ".join(missing))
    else:
        count = min(len(songs) - 1, max(2, round(VALIDATION_SHARE * len(songs))))
        valid = [songs[int((index + 0.5) * len(songs) / count)] for index in range(count)]
        names = ", ".join(song.name for song in valid)
        logger.info("none of musdb's validation songs is there; validating on %s", names)
    chosen = {song.name for song in valid}
    train = [song for song in songs if song.name not in chosen]
    if not train:
        raise UsageError("all training songs are validation songs: none is left to train on")
    logger.info("%d songs to train on, %d to validate on", len(train), len(valid))
    return train, valid


def musdb_validation_names() -> frozenset[str]:
    """The validation songs that the ``musdb`` package fixes.

    Read from its settings: importing it would need ffmpeg.
    """
    spec = importlib.util.find_spec("musdb")
    assert spec is not None
    assert spec.origin is not None
    settings = Path(spec.origin).parent / "configs" / "mus.yaml"
    return frozenset(yaml.safe_load(settings.read_text())["validation_tracks"])
