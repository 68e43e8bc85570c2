"""Tones of upsampling layers in a recording, whatever network made it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..artifacts.detection import Detection, detect_tones
from ..artifacts.result import Result
from ..artifacts.silence import SilentWindows, silent_windows
from ..dsp.spectra import decibels
from ..errors import UsageError

USUAL_STRIDES = (2, 3, 4, 5, 6, 8, 10, 16)
"""Strides that networks have in their last layers; their multiples are looked at by default."""

FULL_SCALE = 1 - 2.0**-14


@dataclass(frozen=True)
class RecordingReport(Result):
    """What was found in a recording.

    Args:
        sample_rate: In Hz.
        seconds: Its length.
        rms_db: In dB against 1; -400 for exact silence.
        tones: At multiples of the sample rate over the strides; ``None`` where none can be looked
            for.
        quiet: Its silent or quietest windows; ``None`` likewise.
        remarks: What is odd about it, and what could not be measured; the last says why ``tones``
            is ``None``, if it is.
    """

    sample_rate: int
    seconds: float
    rms_db: float
    tones: Detection | None
    quiet: SilentWindows | None
    remarks: list[str] = field(default_factory=list)


def probe_recording(
    signal: Tensor,
    sample_rate: int,
    strides: Sequence[int] = USUAL_STRIDES,
    false_alarm: float = 1e-3,
) -> RecordingReport:
    """Look for tones at multiples of the sample rate over each stride.

    Args:
        signal: ``(channels, time)``.
        sample_rate: In Hz.
        strides: Of the upsampling layers that may have made it; for the tones of earlier layers
            pass the product of the last few strides.
        false_alarm: Probability that a recording without tones shows any.

    Raises:
        UsageError: For an empty signal, one that is not finite, or a stride below 2.
    """
    if signal.dim() != 2 or not signal.numel():
        raise UsageError(f"signal has shape {tuple(signal.shape)}, but must be (channels, time)")
    if not torch.isfinite(signal).all():
        raise UsageError("the signal has infinities or NaN")
    if not strides or min(strides) < 2:
        raise UsageError(f"strides are {list(strides)}, but must be at least 2")
    signal = signal.double()
    remarks = []
    clipped = int((signal.abs() >= FULL_SCALE).sum())
    if clipped:
        remarks.append(
            f"{clipped} samples at full scale: clipping makes harmonics, which no layer caused"
        )
    varying = signal - signal.mean(1, keepdim=True)
    tones = quiet = None
    if not signal.any():
        remarks.append("every sample is 0: digital silence, without tones")
    elif not varying.any():
        remarks.append("every sample has the same value: a constant, without tones")
    elif signal.shape[1] < 64:
        remarks.append(
            f"unknown whether there are tones: {signal.shape[1]} samples, at least 64 are needed"
        )
    else:
        frequencies = tone_frequencies(sample_rate, strides)
        tones = detect_tones(varying, sample_rate, frequencies, false_alarm / len(frequencies))
        quiet = silent_windows(signal, signal, sample_rate, frequencies)
        if signal.shape[1] < sample_rate:
            remarks.append("shorter than a second: only loud tones can be told from the rest")
    power = signal.square().mean()
    seconds = signal.shape[1] / sample_rate
    return RecordingReport(sample_rate, seconds, float(decibels(power)), tones, quiet, remarks)


def tone_frequencies(sample_rate: float, strides: Sequence[int]) -> list[float]:
    """Multiples of the sample rate over each stride, up to half of it, rising, each once.

    Example:
        >>> tone_frequencies(16000, [2, 4])
        [4000.0, 8000.0]
    """
    return sorted({k * sample_rate / s for s in strides for k in range(1, s // 2 + 1)})
