"""Multitrack songs as folders of wav files, in the layout of MUSDB18-HQ.

``root/train/<song>/{drums,bass,other,vocals}.wav``, ``root/test/<song>/`` with ``mixture.wav``
beside them. ``asteroid.data.MUSDB18Dataset`` reads the same folders, but silently leaves out songs
that do not fit, reads them in the order of the file system, and draws from Python's global random
numbers, so that a training run could not be repeated or resumed exactly.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from torch import Tensor

from ..audio import audio_info, read_wav
from ..dsp import mono_level
from ..errors import UsageError
from .parallel import raise_problems

logger = logging.getLogger(__name__)

SOURCES = ("drums", "bass", "other", "vocals")
MIXTURE = "mixture"
VALIDATION_SHARE = 0.14
"""Of a set without musdb's own validation songs; those are 14 of 100."""


@dataclass(frozen=True)
class Song:
    """A checked song: every file has the same rate, number of channels and length.

    Args:
        folder: Where its files are; its name is the song's.
        frames: Length in samples.
        channels: Number of channels.
    """

    folder: Path
    frames: int
    channels: int = 2

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    def path(self, source: str) -> Path:
        """The file of one source, or of the mixture."""
        return self.folder / f"{source}.wav"

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


def find_songs(
    root: Path,
    subset: str,
    sample_rate: int,
    sources: Sequence[str] = SOURCES,
    channels: int = 2,
    skip_bad_songs: bool = False,
) -> list[Song]:
    """The songs below ``root/subset``, by name, each checked by the headers of its files.

    Args:
        root: Folder of the set.
        subset: ``"train"`` or ``"test"``; test songs need a ``mixture.wav``.
        sample_rate: The rate every file must have, in Hz.
        sources: Names of the files every song must have.
        channels: The number of channels every file must have.
        skip_bad_songs: Whether to leave out (and name) songs that cannot be used.

    Raises:
        UsageError: If there are no songs, or if some do not fit, naming the files and why.
    """
    wanted = (*sources, MIXTURE) if subset == "test" else tuple(sources)
    folders = sorted(p for p in (root / subset).glob("*") if _is_song(p))
    if not folders:
        raise UsageError(f"{root / subset}: no songs (folders with {', '.join(wanted)}.wav)")
    songs, problems = [], []
    for folder in folders:
        try:
            songs.append(_check_song(folder, wanted, sample_rate, channels))
        except UsageError as error:
            problems.append(str(error))
    if skip_bad_songs and songs:
        for problem in problems:
            logger.warning("left out: %s", problem)
        problems = []
    raise_problems(problems, len(folders), "songs")
    return songs


def split_validation(songs: Sequence[Song]) -> tuple[list[Song], list[Song]]:
    """Training and validation songs: musdb's 14 fixed ones, else 14 % spread over the names.

    At least two are held out of three or more: one song alone is a poor judge.

    Raises:
        UsageError: If fewer than two songs are there.
    """
    if len(songs) < 2:
        raise UsageError(f"{len(songs)} training song(s): one to train and one to validate needed")
    fixed = musdb_validation_names()
    valid = [song for song in songs if song.name in fixed]
    if not valid:
        count = min(len(songs) - 1, max(2, round(VALIDATION_SHARE * len(songs))))
        valid = [songs[int((index + 0.5) * len(songs) / count)] for index in range(count)]
        names = ", ".join(song.name for song in valid)
        logger.info("none of musdb's validation songs is there; validating on %s", names)
    chosen = {song.name for song in valid}
    train = [song for song in songs if song.name not in chosen]
    if not train:
        raise UsageError("all training songs are validation songs: none is left to train on")
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


def _is_song(folder: Path) -> bool:
    return folder.is_dir() and not folder.name.startswith(".")


def _check_song(folder: Path, wanted: Sequence[str], sample_rate: int, channels: int) -> Song:
    lengths = {}
    for source in wanted:
        path = folder / f"{source}.wav"
        if not path.is_file():
            raise UsageError(f"{path}: missing")
        info = audio_info(path)
        if info.samplerate != sample_rate:
            raise UsageError(f"{path}: {info.samplerate} Hz, {sample_rate} Hz is needed")
        if info.channels != channels:
            raise UsageError(f"{path}: {info.channels} channel(s), {channels} are needed")
        if info.frames == 0:
            raise UsageError(f"{path}: no samples")
        lengths[source] = info.frames
    if len(set(lengths.values())) > 1:
        listing = ", ".join(f"{source} {frames}" for source, frames in lengths.items())
        raise UsageError(f"{folder}: files differ in length ({listing} samples)")
    return Song(folder, lengths[wanted[0]], channels)
