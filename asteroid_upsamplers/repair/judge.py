"""The original and the repaired network side by side, fed with the same inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..artifacts.silence import silent_windows_of
from ..probe import ProbeReport
from ..probe.feed import Feed, white_noise
from ..probe.grid import ToneGrid
from ..probe.network import examine_feed
from ..probe.results import ProbeSignals
from ..probe.state import undisturbed
from .excerpts import Excerpt
from .songs import Songs, SongScore, paired
from .verdict import (
    ToneChange,
    Verdict,
    decided,
    estimated_cost,
    layer_changes,
    log_spectral_distance,
    most_prominent_db,
    remarks_on,
    snr_db,
    tones_db,
    without_difference,
)

PERIOD = 16
"""Period in samples of the tones of the last two strides of 4."""


class Heard(NamedTuple):
    """What one network gives: for the probe's inputs, for the excerpts, and for the songs."""

    report: ProbeReport
    signals: ProbeSignals
    outputs: list[Tensor]
    scores: list[SongScore]


def judge(
    original: nn.Module,
    repaired: nn.Module,
    sample_rate: float,
    input_shape: Sequence[int],
    audio: Sequence[Tensor] = (),
    songs: str | Path | None = None,
) -> Verdict:
    """Compare a repaired network with the original.

    Args:
        original: As :func:`..probe.probe` takes it; it is left as it was.
        repaired: The same network with other weights.
        sample_rate: Of the output, in Hz.
        input_shape: Of the test signals, the batch included.
        audio: Inputs of the network, the batch included, at the level that it was trained on.
        songs: Folder of a set in MUSDB18-HQ's layout, whose test songs are separated.

    Raises:
        UsageError: If the network cannot be examined, or the songs do not fit to it.
    """
    found = Judge(original, sample_rate, input_shape)
    found.listen([Excerpt(x) for x in audio], None if songs is None else Path(songs))
    return found(repaired)


class Judge:
    """Measures the original once, and then any number of repaired ones against it.

    Args:
        original, sample_rate, input_shape: As :func:`judge` takes them.
        seed, strides, output, silence: As :func:`..probe.probe` takes them.
        progress: Whether to show progress bars.
    """

    def __init__(
        self,
        original: nn.Module,
        sample_rate: float,
        input_shape: Sequence[int],
        *,
        seed: int = 0,
        strides: Sequence[int] = (),
        output: str | None = None,
        silence: float | None = None,
        progress: bool = False,
    ):
        self.original = getattr(original, "_orig_mod", original)  # of a compiled one
        self.sample_rate, self.shape = sample_rate, tuple(input_shape)
        self.options = seed, tuple(strides), output, silence
        self.progress = progress
        self.excerpts: list[Excerpt] = []
        self.songs: Songs | None = None
        with undisturbed(self.original):
            self.feed = self._feed(self.original)
            report, signals = self._examine(self.feed, attribute=True)
        self.before = Heard(report, signals, [], [])

    @property
    def input_rate(self) -> float:
        """Of the network's input, in Hz."""
        return self.sample_rate / (self.feed.factor or 1.0)

    @property
    def frequencies(self) -> list[float]:
        """Of the tones that are looked for in sound, in Hz.

        Those of the last layers, as in stage 4 of the recipe: sound has lines of its own, and the
        finer the grid of all tones, the more of them lie on it.
        """
        return self._grid.coarsened(lambda period: period <= PERIOD).frequencies

    @property
    def _grid(self) -> ToneGrid:
        """Of all tones that the layers predict."""
        spacing = min(tone["frequency_hz"] for tone in self.before.report.silence.tones)
        return ToneGrid(self.sample_rate, round(self.sample_rate / spacing))

    def listen(self, excerpts: Sequence[Excerpt], songs: Path | None = None) -> None:
        """Judge what comes by excerpts and songs as well."""
        self.excerpts = list(excerpts)
        self.songs = None if songs is None else Songs(songs, self.original, self.sample_rate)
        with undisturbed(self.original):
            self.before = self._heard(self.feed, self.before.report, self.before.signals)

    def hear(self, network: nn.Module) -> Heard:
        """What another network gives for the same inputs."""
        network = getattr(network, "_orig_mod", network)
        with undisturbed(network):
            feed = self._feed(network)
            return self._heard(feed, *self._examine(feed, attribute=False))

    def __call__(self, repaired: nn.Module) -> Verdict:
        return self.compare(self.hear(repaired))

    def compare(self, after: Heard) -> Verdict:
        """The verdict on a network that was heard."""
        before = self.before
        tones = self._tones(after)
        pairs = list(zip(before.outputs, after.outputs, strict=True))
        if not pairs:
            pairs = [(before.signals.noise, after.signals.noise)]
        pairs = [(without_difference(*pair, self._grid.period), pair[1]) for pair in pairs]
        snr, distance = snr_db(pairs), log_spectral_distance(pairs)
        cost, judged_on = estimated_cost(snr), "audio" if before.outputs else "noise"
        sdr = paired(*([s.sdr_db for s in heard.scores] for heard in (before, after)))
        if sdr is not None:
            cost, judged_on = -sdr.mean_db, "songs"
        return Verdict(
            decided(cost, tones),
            cost,
            judged_on,
            tones,
            snr,
            distance,
            layer_changes(before.report, after.report),
            sdr,
            paired(*([s.tones_db for s in heard.scores] for heard in (before, after))),
            [_song(*pair) for pair in zip(before.scores, after.scores, strict=True)],
            remarks_on(tones, judged_on),
        )

    def _feed(self, network: nn.Module) -> Feed:
        seed, _, output, _ = self.options
        return Feed(network, white_noise(network, self.shape, seed), seed, output)

    def _examine(self, feed: Feed, attribute: bool) -> tuple[ProbeReport, ProbeSignals]:
        _, strides, _, silence = self.options
        return examine_feed(feed, self.sample_rate, strides, silence, attribute)

    def _heard(self, feed: Feed, report: ProbeReport, signals: ProbeSignals) -> Heard:
        bar = tqdm(self.excerpts, "excerpts", disable=not self.progress, delay=1)
        outputs = [feed.output_for(x) * level for x, level in bar]
        scores = []
        if self.songs is not None:
            scores = self.songs.scores(
                lambda x: feed.output_for(x.to(feed.noise)), self.frequencies, self.progress
            )
        return Heard(report, signals, outputs, scores)

    def _tones(self, after: Heard) -> list[ToneChange]:
        before, pairs = self.before, []
        for where, name in (("silence", "silence"), ("near-silence", "near_silence")):
            reports = [getattr(heard.report, name) for heard in (before, after)]
            pairs.append(ToneChange(where, *map(tones_db, reports)))
        if before.outputs:
            levels = [self._in_quiet_windows(heard.outputs) for heard in (before, after)]
            pairs.append(ToneChange("audio", *levels))
        if before.scores:
            means = [fmean(s.tones_db for s in heard.scores) for heard in (before, after)]
            pairs.append(ToneChange("songs", *means))
        noises = [heard.report.noise for heard in (before, after)]
        if noises[0] is not None and noises[1] is not None:
            pairs.append(ToneChange("noise", *(most_prominent_db(n) for n in noises if n)))
        return pairs

    def _in_quiet_windows(self, outputs: Sequence[Tensor]) -> float:
        """Tones where the original's output is silent, or quietest."""
        true, heard = torch.cat(self.before.outputs, -1), torch.cat(list(outputs), -1)
        return silent_windows_of(
            lambda start, stop: (true[:, start:stop], heard[:, start:stop]),
            true.shape[-1],
            int(self.sample_rate),
            self.frequencies,
        ).tones_db


def _song(before: SongScore, after: SongScore) -> dict[str, Any]:
    return {
        "song": before.song,
        "sdr_before_db": before.sdr_db,
        "sdr_after_db": after.sdr_db,
        "tones_before_db": before.tones_db,
        "tones_after_db": after.tones_db,
    }
