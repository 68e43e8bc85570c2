r"""What a repair did to a network: measured before anything is written.

The original and the repaired network are fed with the same silence, near-silence and white noise
(:mod:`..probe`), with excerpts of audio and, where the true sources are known, with songs. The
verdict rests on what the repair costs, in dB of SDR:

- with songs, the mean fall of their SDR, measured;
- without, an estimate of it. If the change of the output is a signal :math:`c` that has nothing to
  do with the error :math:`e` of an estimate, the powers of both add, and an SDR of :math:`s` dB
  falls by :math:`10 \log_{10}(1 + 10^{(s - C) / 10})` dB, where :math:`C` is the level of the
  output against the change (SNR). Separators of music have :math:`s` of about 5 dB ([1] Table 1).
  Steady tones that are there no more are no part of the change.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..artifacts.result import Result
from ..dsp.spectra import decibels
from ..probe import ProbeReport
from ..probe.attribution import without_tones
from ..probe.results import AUDIBLE_DB, LEAST_PROMINENCE_DB, NoiseReport, SilenceReport
from .songs import Paired

SAFE, COSTS, DISTIL = "safe", "costs", "needs distillation"

SAFE_DB, MOST_DB = 0.05, 1.0
"""Of SDR: less is within what two runs of a training differ by; more is another network."""

USUAL_SDR_DB = 5.0
LOUDER_DB = 1.0
N_FFT, HOP = 2048, 512
SILENT_BIN_DB = -60.0
"""Bins so far below the loudest are taken as silent, however far."""


@dataclass(frozen=True)
class ToneChange(Result):
    """Tones before and after the repair.

    Args:
        where: ``"silence"``, ``"near-silence"``, ``"audio"``, ``"songs"`` or ``"noise"``.
        before_db: Power of all predicted tones in dB against 1: in silence and near-silence of the
            steady output; in audio where it is silent, or quietest; in songs where a source is. In
            noise: how far the most prominent one stands out of the noise around it.
        after_db: The same, of the repaired network.
    """

    where: str
    before_db: float
    after_db: float

    @property
    def least_db(self) -> float:
        """What is below cannot be heard, or is no tone."""
        return LEAST_PROMINENCE_DB if self.where == "noise" else AUDIBLE_DB

    @property
    def is_louder(self) -> bool:
        """Whether the repair raised them, to a level that counts."""
        return self.after_db > max(self.before_db, self.least_db) + LOUDER_DB

    @property
    def is_lower(self) -> bool:
        """Whether the repair lowered tones that count."""
        return self.before_db > max(self.after_db + LOUDER_DB, self.least_db)


@dataclass(frozen=True)
class LayerChange(Result):
    """One upsampling layer: the tonal share of its response to a constant, before and after.

    ``attribution_db`` is by how much the original's tones fall without those of this layer:
    negative where it cancels those of others.
    """

    name: str
    kind: str
    stride: float
    tonal_before: float | None
    tonal_after: float | None
    attribution_db: float | None


@dataclass(frozen=True)
class Verdict(Result):
    """What :func:`judge` found.

    Args:
        verdict: ``"safe"``, ``"costs"`` or ``"needs distillation"``.
        cost_db: Of SDR; measured if ``judged_on`` is ``"songs"``, else estimated.
        judged_on: ``"songs"``, ``"audio"`` or ``"noise"``.
        tones: In each of the inputs.
        snr_db: Of the output for the audio (or noise) against its change, steady tones left out;
            400 if it is the same.
        log_spectral_distance_db: The same way.
        layers: In the order in which they run.
        sdr: Its change over the songs; ``None`` without songs.
        song_tones: Change of the tones where a source is silent.
        songs: Each with ``song``, ``sdr_before_db``, ``sdr_after_db``, ``tones_before_db`` and
            ``tones_after_db``.
        remarks: What else there is to know.
    """

    verdict: str
    cost_db: float
    judged_on: str
    tones: list[ToneChange]
    snr_db: float
    log_spectral_distance_db: float
    layers: list[LayerChange]
    sdr: Paired | None = None
    song_tones: Paired | None = None
    songs: list[dict] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def loudest_db(self) -> float:
        """Of the tones that are left in silence; of a network that has none there, in noise."""
        heard = [t for t in self.tones if max(t.before_db, t.after_db) > t.least_db]
        return (heard or self.tones)[0].after_db


def tones_db(report: SilenceReport) -> float:
    """Power of all predicted tones in a steady output, in dB against 1."""
    power = torch.tensor(report.rms**2 * report.share_at_predicted_tones, dtype=torch.float64)
    return float(decibels(power))


def most_prominent_db(report: NoiseReport) -> float:
    """Of the tones in white noise: how far it stands out; what is no tone, by no more than 3 dB."""
    if report.present:
        return max(tone["prominence_db"] for tone in report.present)
    return min(LEAST_PROMINENCE_DB, report.tones[0]["prominence_db"])


def without_difference(before: Tensor, after: Tensor, period: int) -> Tensor:
    """The signal before, but for the steady tones that are there no more: these are no cost.

    That is what repeats with the period in the difference of the two, its mean left in.
    """
    return after - without_tones(after - before, period)


def snr_db(pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Power of signals against that of their change, in dB, from -400 to 400."""
    power = sum(before.square().sum() for before, _ in pairs)
    change = sum((after - before).square().sum() for before, after in pairs)
    return float(decibels(torch.as_tensor(power), torch.as_tensor(change))) if change else 400.0


def log_spectral_distance(pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Rms over frequency of the difference of two spectra in dB, mean over frames and signals."""
    distances = [_log_distances(*pair) for pair in pairs]
    return float(torch.cat(distances).mean())


def _log_distances(before: Tensor, after: Tensor) -> Tensor:
    n_fft = min(N_FFT, before.shape[-1])
    window = torch.hann_window(n_fft, dtype=before.dtype)
    options: Any = {"hop_length": HOP, "window": window, "center": False, "return_complex": True}
    powers = [torch.stft(y, n_fft, **options).abs().square() for y in (before, after)]
    least = powers[0].max() * 10 ** (SILENT_BIN_DB / 10) + 1e-30
    levels = [10 * power.clamp(min=least).log10() for power in powers]
    return (levels[1] - levels[0]).square().mean(1).sqrt().flatten()


def estimated_cost(snr: float) -> float:
    """By how much an SDR of 5 dB falls, in dB, if a change of this SNR is no part of the error."""
    return 10 * math.log10(1 + 10 ** (min(USUAL_SDR_DB - snr, 300.0) / 10))


def decided(cost: float, tones: Sequence[ToneChange]) -> str:
    if cost > MOST_DB or any(change.is_louder for change in tones):
        return DISTIL
    return SAFE if cost <= SAFE_DB else COSTS


def layer_changes(before: ProbeReport, after: ProbeReport) -> list[LayerChange]:
    tonal = {layer.name: layer.tonal_fraction for layer in after.layers}
    return [
        LayerChange(
            layer.name,
            layer.kind,
            layer.stride,
            layer.tonal_fraction,
            tonal.get(layer.name),
            layer.attribution_db,
        )
        for layer in before.layers
    ]


def remarks_on(tones: Sequence[ToneChange], judged_on: str) -> list[str]:
    """What else there is to know."""
    return [*_on_tones(tones), *_on_cost(judged_on)]


def _on_tones(tones: Sequence[ToneChange]) -> list[str]:
    louder = [change for change in tones if change.is_louder]
    if louder:
        words = ", ".join(f"{c.where} by {c.after_db - c.before_db:.1f} dB" for c in louder)
        return [f"the repair makes tones louder: in {words}; what was learned worked with them"]
    if not any(change.is_lower for change in tones):
        counted = [change for change in tones if change.before_db > change.least_db]
        if not counted:
            return ["the original has no tones that could be heard in silence or noise"]
        return ["the tones did not fall: they come from something that was not repaired"]
    return []


def _on_cost(judged_on: str) -> list[str]:
    if judged_on == "songs":
        return []
    words = (
        f"without songs whose true sources are known (--songs) the cost is an estimate: by how "
        f"much an SDR of {USUAL_SDR_DB:g} dB would fall if the change were no part of the error"
    )
    if judged_on == "noise":
        words += "; and it is for white noise, which no network was trained on (--audio FILES)"
    return [words]
