"""Whether a tone in a recording is the network's or the music's.

Music has steady lines of its own, and some of it (rendered by trackers and synthesisers) has them
on the very grid of an upsampling layer. A reference tells: what is in the input of the network, or
in the true source, is not the network's. Without one, the frequencies beside the grid tell how
common steady lines are in the recording.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from ..artifacts.detection import BANDWIDTH, LEAST_TIME, Detection, detect_in_parts, parts_of
from ..artifacts.result import Result
from ..errors import UsageError

LEAST_EXCESS_DB = 3.0
"""A tone stands out of the reference if it has twice the power there."""

BESIDE = 2.5
"""Bandwidths of the test from a frequency to its neighbours."""

LOOK_ALIKE = (
    "steady lines of music on the same frequencies look like a network's tones: compare with what "
    "the network was given, or should have given (--reference ORIGINAL)"
)


class Blocks(NamedTuple):
    """A signal that need not be in memory: ``read(start, stop)`` gives its samples."""

    read: Callable[[int, int], Tensor]
    time: int


@dataclass(frozen=True)
class Neighbours(Result):
    """A control: the same test at frequencies that no layer of these strides makes.

    Args:
        shift_hz: How far they lie from the frequencies of the tones, on both sides.
        frequencies: How many were looked at.
        present: At how many there is a steady tone.
        loudest_db: Level of the loudest of these in dB against 1; ``None`` without any.
        over_floor_db: The highest power over that of everything else in one Hz there, in dB.
    """

    shift_hz: float
    frequencies: int
    present: int
    loudest_db: float | None
    over_floor_db: float


@dataclass(frozen=True)
class Comparison(Result):
    """A recording against a reference, at the frequencies of ``RecordingReport.tones``.

    Args:
        seconds: Length that was compared: the common one, from the start.
        levels_db: What the reference has there, as ``Detection`` has it.
        present: Whether there is a steady tone in the reference.
        excess_db: How far the recording exceeds the reference, both in level and over the noise
            around it: the smaller of both, so that another gain is no tone.
        stands_out: Whether there is a tone in the recording that exceeds the reference by 3 dB.
    """

    seconds: float
    levels_db: list[float]
    present: list[bool]
    excess_db: list[float]
    stands_out: list[bool]


def detect(
    signal: Blocks,
    sample_rate: float,
    frequencies: Sequence[float],
    false_alarm: float,
    shift: float = 0.0,
) -> Detection:
    """Tones in a signal, read part by part, each without its mean."""

    def centred(part: slice) -> Tensor:
        samples = signal.read(part.start, part.stop).double()
        return samples - samples.mean(1, keepdim=True)

    parts = (centred(part) for part in parts_of(signal.time))
    return detect_in_parts(parts, sample_rate, frequencies, false_alarm, shift)


def neighbours(
    signal: Blocks, sample_rate: float, frequencies: Sequence[float], false_alarm: float
) -> Neighbours | None:
    """What is on both sides of each frequency; ``None`` if these are too close to each other."""
    length = parts_of(signal.time)[0].stop
    shift = BESIDE * BANDWIDTH * sample_rate / length
    places = [0.0, *frequencies]
    if min(b - a for a, b in itertools.pairwise(places)) < 2 * shift:
        return None
    found = [
        (level, over, present)
        for side in (-shift, shift)
        for kept in [[f for f in frequencies if f + side < sample_rate / 2]]
        if kept
        for tones in [detect(signal, sample_rate, kept, false_alarm, side)]
        for level, over, present in zip(
            tones.levels_db, tones.over_floor_db, tones.present, strict=True
        )
    ]
    loud = [level for level, _, present in found if present]
    highest = max(over for _, over, _ in found)
    return Neighbours(shift, len(found), len(loud), max(loud, default=None), highest)


def compare(
    recording: Blocks, reference: Blocks, sample_rate: float, tones: Detection
) -> Comparison:
    """The tones of a recording against what a reference has at these frequencies.

    Raises:
        UsageError: If the reference is too short.
    """
    time = min(recording.time, reference.time)
    if time < LEAST_TIME:
        raise UsageError(f"reference of {time} samples, at least {LEAST_TIME} are needed")
    settings = sample_rate, tones.frequencies_hz, tones.false_alarm
    ours = tones if time == recording.time else detect(Blocks(recording.read, time), *settings)
    theirs = detect(Blocks(reference.read, time), *settings)
    excess = [
        min(level - other, over - other_over) if present else level - other
        for level, other, over, other_over, present in zip(
            ours.levels_db,
            theirs.levels_db,
            ours.over_floor_db,
            theirs.over_floor_db,
            theirs.present,
            strict=True,
        )
    ]
    pairs = zip(ours.present, excess, strict=True)
    stands_out = [present and more >= LEAST_EXCESS_DB for present, more in pairs]
    return Comparison(time / sample_rate, theirs.levels_db, theirs.present, excess, stands_out)


def on_lengths(time: int, other: int, sample_rate: float) -> list[str]:
    """A remark if the reference has another length."""
    if time == other:
        return []
    common = min(time, other) / sample_rate
    return [
        f"the recording has {time} samples, the reference {other}: the first {common:.2f} s of "
        "both were compared"
    ]
