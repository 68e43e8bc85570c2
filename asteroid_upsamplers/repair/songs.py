"""Songs whose true sources are known: what a repair costs in SDR, and what tones are left."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from torch import Tensor, nn
from tqdm import tqdm

from ..artifacts import silent_windows
from ..artifacts.result import Result
from ..errors import UsageError
from ..probe.targets import CHANNEL_ATTRIBUTES, stated

EXCERPT_SECONDS = 30
"""From the start of each song, as stage 4 of the recipe has it."""


@dataclass(frozen=True)
class SongScore(Result):
    """One song, separated by one network.

    Args:
        song: Its name.
        sdr_db: Mean over the sources that are not silent of the median over windows of a second
            (BSS Eval v4); ``None`` where all are, or one of their estimates is.
        tones_db: Of the tones where a source is silent (:func:`artifacts.silent_windows`), median
            over the sources.
    """

    song: str
    sdr_db: float | None
    tones_db: float


@dataclass(frozen=True)
class Paired(Result):
    """Mean difference over songs, after minus before, in dB.

    Args:
        mean_db: The mean.
        low_db: Lower end of its 95 % interval, from a bootstrap (BCa) over the songs; ``None`` of
            fewer than six songs.
        high_db: Upper end.
        songs: How many.
    """

    mean_db: float
    low_db: float | None
    high_db: float | None
    songs: int


class Songs:
    """The test songs of a set, for one network.

    Args:
        root: Folder of the set, in the layout of MUSDB18-HQ.
        network: Has names for its sources, ``sources``.
        sample_rate: Of its input and output, in Hz.

    Raises:
        UsageError: If the network separates nothing, or a song does not fit to it.
    """

    def __init__(self, root: Path, network: nn.Module, sample_rate: float):
        self.sources = tuple(getattr(network, "sources", None) or ())
        if not self.sources or not all(isinstance(name, str) for name in self.sources):
            raise UsageError(
                f"{root}: the network names no sources (its attribute sources), so that songs "
                "cannot be compared with what it gives: pass audio (--audio) instead"
            )
        if next(Path(root).glob("test/*.stem.mp4"), None):
            raise UsageError(
                f"{root}: holds .stem.mp4 files, wav files are needed: stage 0 of the recipe makes "
                "them (in data/wav beside run.sh)"
            )
        data = importlib.import_module("asteroid_upsamplers.data")  # this and below: higher ranks
        self.channels = int(stated(network, CHANNEL_ATTRIBUTES) or 1)
        self.normalize = bool(getattr(network, "normalize", False))
        self.rate = int(sample_rate)
        try:
            self.songs = data.find_songs(root, "test", self.rate, self.sources, self.channels)
        except UsageError as error:  # that option is not to be had here
            raise UsageError(str(error).partition("; --skip_bad_songs")[0]) from error

    def scores(
        self, run: Callable[[Tensor], Tensor], frequencies: Sequence[float], progress: bool = False
    ) -> list[SongScore]:
        """Separate and score all songs.

        Args:
            run: ``(1, channels, time)`` -> ``(sources * channels, time)``.
            frequencies: Of the tones, in Hz.
            progress: Whether to show a progress bar.
        """
        songs = tqdm(self.songs, "songs", disable=not progress, delay=1)
        return [self._score(song, run, frequencies) for song in songs]

    def _score(
        self, song: Any, run: Callable[[Tensor], Tensor], frequencies: Sequence[float]
    ) -> SongScore:
        frames = min(song.frames, EXCERPT_SECONDS * self.rate)
        mixture, *true = song.read(("mixture", *self.sources), 0, frames)
        level = song.level(("mixture",)) if self.normalize else 1.0
        output = run(mixture[None] / level) * level
        if output.shape != (len(true) * self.channels, frames):
            raise UsageError(
                f"{song.folder}: the network gives {tuple(output.shape)} (channels, samples), must "
                f"be {len(true)} sources of {self.channels} channel(s) and {frames} samples"
            )
        estimates = output.unflatten(0, (len(true), self.channels)).to(mixture)
        medians = self._sdr_db([s for s in zip(true, estimates, strict=True) if _is_heard(s[0])])
        tones = [
            silent_windows(source, estimate, self.rate, frequencies).tones_db
            for source, estimate in zip(true, estimates, strict=True)
        ]
        return SongScore(song.name, fmean(medians) if medians else None, median(tones))

    def _sdr_db(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> list[float]:
        """Median over the windows of each source, but for those in which it is undefined."""
        if not pairs or not all(_is_heard(estimate) for _, estimate in pairs):
            return []
        evaluate = importlib.import_module("asteroid_upsamplers.evaluation.bss_eval").bss_eval
        signals = [
            np.stack([s.T.double().numpy() for s in part]) for part in zip(*pairs, strict=True)
        ]
        rows = evaluate(*signals, self.rate, self.rate, sdr_only=True).SDR
        return [float(np.median(row[np.isfinite(row)])) for row in rows if np.isfinite(row).any()]


def _is_heard(signal: Tensor) -> bool:
    """Whether the channels ever add up to something: else there is no SDR (museval's own rule)."""
    return bool(signal.double().sum(0).any())


def paired(before: Sequence[float | None], after: Sequence[float | None]) -> Paired | None:
    """The mean difference of pairs that are both known; ``None`` if there are none."""
    pairs = zip(before, after, strict=True)
    found = np.array([b - a for a, b in pairs if a is not None and b is not None])
    if not len(found):
        return None
    compare = importlib.import_module("asteroid_upsamplers.report.song_by_song").compare_songs
    low, high = (None if math.isnan(end) else end for end in compare(found)[:2])
    return Paired(float(found.mean()), low, high, len(found))
