"""Tones of upsampling layers in a recording, whatever network made it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from ..artifacts.detection import LEAST_TIME, Detection
from ..artifacts.result import Result
from ..artifacts.silence import SilentWindows, silent_windows_of
from ..dsp.spectra import decibels
from ..errors import UsageError
from .reference import (
    LOOK_ALIKE,
    Blocks,
    Comparison,
    Neighbours,
    compare,
    detect,
    neighbours,
    on_lengths,
)

USUAL_STRIDES = (2, 3, 4, 5, 6, 8, 10, 16)
"""Strides that networks have in their last layers; their multiples are looked at by default."""

FULL_SCALE = 1 - 2.0**-14
LEAST_PERIODS = 4
"""Of the steady sound that a layer makes, one period of which has as many samples as its stride."""
BLOCK = 2**18
"""Samples in memory at a time."""


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
        strides: Whose tones were looked for.
        neighbours: What is beside these frequencies; ``None`` if there are no tones or no room.
        reference: How it compares with the reference; ``None`` without one.
    """

    sample_rate: int
    seconds: float
    rms_db: float
    tones: Detection | None
    quiet: SilentWindows | None
    remarks: list[str] = field(default_factory=list)
    strides: list[int] = field(default_factory=list)
    neighbours: Neighbours | None = None
    reference: Comparison | None = None


def probe_recording(
    signal: Tensor,
    sample_rate: int,
    strides: Sequence[int] = USUAL_STRIDES,
    false_alarm: float = 1e-3,
    reference: Tensor | None = None,
) -> RecordingReport:
    """Look for tones at multiples of the sample rate over each stride.

    Args:
        signal: ``(channels, time)``.
        sample_rate: In Hz.
        strides: Of the upsampling layers that may have made it; for the tones of earlier layers
            pass the product of the last few strides.
        false_alarm: Probability that a recording without tones shows any.
        reference: What the network was given or should have given, ``(channels, time)``, at the
            same rate: tones that are in it, too, are not the network's.

    Raises:
        UsageError: For an empty signal, one that is not finite, or a stride below 2.
    """
    original = None if reference is None else _blocks(reference)
    read, time = _blocks(signal)
    return probe_blocks(read, time, sample_rate, strides, false_alarm, original)


def _blocks(signal: Tensor) -> Blocks:
    if signal.dim() != 2 or not signal.numel():
        raise UsageError(f"signal has shape {tuple(signal.shape)}, but must be (channels, time)")
    if not torch.isfinite(signal).all():
        raise UsageError("the signal has infinities or NaN")
    return Blocks(lambda start, stop: signal[:, start:stop], signal.shape[1])


def probe_blocks(
    read: Callable[[int, int], Tensor],
    time: int,
    sample_rate: int,
    strides: Sequence[int] = USUAL_STRIDES,
    false_alarm: float = 1e-3,
    reference: Blocks | None = None,
) -> RecordingReport:
    """:func:`probe_recording` for a signal that need not be in memory as a whole.

    Args:
        read: ``read(start, stop)`` gives these samples, ``(channels, stop - start)``.
        time: Length of the signal in samples.
        sample_rate: As there, and so are the other arguments.
        strides: See above.
        false_alarm: See above.
        reference: See above.
    """
    if not strides or min(strides) < 2:
        raise UsageError(f"strides are {list(strides)}, but must be at least 2")
    if time >= LEAST_TIME and max(strides) > time // LEAST_PERIODS:
        raise UsageError(
            f"strides are {list(strides)}: the recording of {time} samples is too short for the "
            f"tones of a stride above {time // LEAST_PERIODS}"
        )
    totals = _totals(read(start, min(start + BLOCK, time)) for start in range(0, time, BLOCK))
    remarks = []
    peak = max(abs(float(totals.lowest.min())), abs(float(totals.highest.max())))
    if peak > 1:
        remarks.append(
            f"samples go up to {peak:.3g}, above 1: no clipping here, but in files of integers"
        )
    elif totals.clipped:
        remarks.append(
            f"{totals.clipped} samples at full scale: clipping makes harmonics, which no layer "
            "caused"
        )
    tones = quiet = beside = compared = None
    if not totals.squares:
        remarks.append("every sample is 0: digital silence, without tones")
    elif torch.equal(totals.lowest, totals.highest):
        remarks.append("every sample has the same value: a constant, without tones")
    elif time < LEAST_TIME:
        remarks.append(
            f"unknown whether there are tones: {time} samples, at least {LEAST_TIME} are needed"
        )
    else:
        frequencies = tone_frequencies(sample_rate, strides)
        recording = Blocks(read, time)
        each = false_alarm / len(frequencies)
        tones = detect(recording, sample_rate, frequencies, each)
        if any(tones.present):
            beside = neighbours(recording, sample_rate, frequencies, each)
        if reference is not None:
            compared = compare(recording, reference, sample_rate, tones)
            remarks += on_lengths(time, reference.time, sample_rate)
        elif beside is not None or any(tones.present):
            remarks.append(LOOK_ALIKE)

        def both(start: int, stop: int) -> tuple[Tensor, Tensor]:
            signal = read(start, stop)
            return signal, signal

        quiet = silent_windows_of(both, time, sample_rate, frequencies)
        if time < sample_rate:
            remarks.append("shorter than a second: only loud tones can be told from the rest")
    power = torch.tensor(totals.squares / time / len(totals.lowest), dtype=torch.float64)
    level = float(decibels(power))
    seconds = time / sample_rate
    found = tones, quiet, remarks, list(strides), beside, compared
    return RecordingReport(sample_rate, seconds, level, *found)


class _Totals(NamedTuple):
    """Of all samples; extremes of each channel."""

    lowest: Tensor
    highest: Tensor
    squares: float
    clipped: int


def _totals(blocks: Iterable[Tensor]) -> _Totals:
    lowest, highest = torch.tensor(math.inf), torch.tensor(-math.inf)
    squares, clipped = 0.0, 0
    for block in blocks:
        block = block.double()
        lowest, highest = (
            torch.minimum(lowest, block.amin(1)),
            torch.maximum(highest, block.amax(1)),
        )
        clipped += int((block.abs() >= FULL_SCALE).sum())
        squares += float(block.square().sum())
    return _Totals(lowest, highest, squares, clipped)


def tone_frequencies(sample_rate: float, strides: Sequence[int]) -> list[float]:
    """Multiples of the sample rate over each stride, up to half of it, rising, each once.

    Example:
        >>> tone_frequencies(16000, [2, 4])
        [4000.0, 8000.0]
    """
    return sorted({k * sample_rate / s for s in strides for k in range(1, s // 2 + 1)})
