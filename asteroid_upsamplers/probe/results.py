"""What a probe of a network finds, in plain numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..artifacts.result import Result
from .calls import UpsamplingCall

LEAST_PROMINENCE_DB = 3.0
"""Networks colour noise: what stands out by less is no tone."""

UNEXPLAINED_SHARE = 0.5
AUDIBLE_DB = -100.0


@dataclass(frozen=True)
class LayerReport(Result):
    """One upsampling layer.

    Args:
        name: Of the module.
        kind: Name of the family; ``"unknown"`` where only the lengths tell of it.
        stride: Upsampling factor in time, whole but for interpolations to another rate.
        output_rate_hz: Sample rate of its output.
        tonal_fraction: Share of its steady response to a constant that is not constant; ``None``
            where no weights were seen.
        tones: What it adds to a constant: ``frequency_hz``, ``level_db`` against the rms of its
            steady response, and ``replicas_hz``, where later layers put them.
        attribution_db: How much the network's tones fall, in dB, if those of this layer are taken
            out (``ProbeReport.attributed_tones`` says which tones); ``None`` where there are none.
            Layers of a group are taken out together, and have one level.
        group: What anti-aliased activations of the same kind have in common in their names, such as
            ``"blocks.*.upsample"``; of a layer that runs on one part of the signal after the other,
            its name; empty for other layers.
    """

    name: str
    kind: str
    stride: int | float
    output_rate_hz: float
    tonal_fraction: float | None
    tones: list[dict[str, Any]]
    attribution_db: float | None = None
    group: str = ""


@dataclass(frozen=True)
class SilenceReport(Result):
    """The network's steady output for silence, without its mean.

    Args:
        rms: Against 1.
        rms_db: The same in dB; -400 for exact silence.
        share_at_predicted_tones: Share of that power at the tones that the layers predict, with
            their replicas; from 0 to 1.
        tones: ``frequency_hz`` and ``level_db`` against 1, the loudest first.
        input: What the network was given for silence.
    """

    rms: float
    rms_db: float
    share_at_predicted_tones: float
    tones: list[dict[str, float]]
    input: str = "zeros"

    @property
    def unexplained(self) -> bool:
        """Whether most of it is at other frequencies: not all of the upsampling was seen, or the
        network makes noise of its own."""
        return self.rms_db > AUDIBLE_DB and self.share_at_predicted_tones < UNEXPLAINED_SHARE


@dataclass(frozen=True)
class NoiseReport(Result):
    """The network's output for white noise.

    Args:
        rms_db: Of the output without its mean, in dB against 1.
        threshold_db: Prominence that white noise exceeds at one of the frequencies with a
            probability of 1e-3.
        n_fft: Length of the spectrum's windows; prominence grows by 3 dB with each doubling.
        tones: ``frequency_hz``, ``prominence_db``, and ``present``: whether it is a tone, with a
            prominence and a narrowness above the threshold, and 3 dB; the most prominent first.
    """

    rms_db: float
    threshold_db: float
    n_fft: int
    tones: list[dict[str, Any]]

    @property
    def present(self) -> list[dict[str, Any]]:
        """Those of the tones that are present."""
        return [tone for tone in self.tones if tone["present"]]


@dataclass(frozen=True)
class ProbeReport(Result):
    """What :func:`probe` found.

    Args:
        sample_rate: Of the network's output, in Hz.
        input_shape: What it was given.
        layers: Upsampling layers in the order in which they ran.
        silence: Response to silence; its ``input`` says what the network was given for it.
        near_silence: Response to that and white noise of peak -80 dB: no network is fed with
            exact silence.
        noise: Response to white noise; ``None`` if the output is too short to tell.
        attributed_to: Names of the layers, or groups of them, that the tones come from, the worst
            first.
        attributed_tones: Which tones these are: those in ``"silence"`` or, of a network that makes
            none there, those that stand out in ``"noise"``; ``None`` if that is unknown.
        total_factor: Samples of output for each frame of input; ``None`` if that is unknown.
        unseen_factor: By how much the signal grew where it was not seen what made it longer;
            1 if all was seen, ``None`` if that is unknown. Its tones are looked for, too.
        unattributed_share: Share of the tones' power that is left if what every layer makes at its
            stride is taken out; ``None`` if there are no tones, or no layer.
        remarks: What could not be measured, and why.
    """

    sample_rate: float
    input_shape: list[int]
    layers: list[LayerReport]
    silence: SilenceReport
    near_silence: SilenceReport
    noise: NoiseReport | None
    attributed_to: list[str]
    attributed_tones: str | None
    total_factor: float | None
    unseen_factor: float | None
    unattributed_share: float | None
    remarks: list[str] = field(default_factory=list)

    @property
    def unattributed(self) -> bool:
        """Whether most of the tones in silence come from something that was not seen."""
        heard = self.attributed_tones == "silence" and self.silence.rms_db > AUDIBLE_DB
        return heard and (self.unattributed_share or 0) > UNEXPLAINED_SHARE


def audible_in_silence(report: ProbeReport) -> bool:
    """Whether the tones that matter are those in silence, and not those in noise."""
    tones = report.silence.tones
    heard = bool(tones) and tones[0]["level_db"] > AUDIBLE_DB
    return heard and report.attributed_tones == "silence"


@dataclass(frozen=True, eq=False)
class ProbeSignals:
    """What a report is about, for a page to play and draw.

    Args:
        silence: The network's output for silence, ``(channels, time)``.
        noise: The same for white noise.
        calls: Of the upsampling layers, in the order of the report.
    """

    silence: Tensor
    noise: Tensor
    calls: list[UpsamplingCall]
