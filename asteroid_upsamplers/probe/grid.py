"""The frequencies at which the upsampling layers of a network can make tones, and their replicas.

A layer of stride s whose output rate is r makes tones at multiples of r / s, and later layers
repeat them around multiples of r. So all of them lie on one grid: the multiples of the network's
sample rate over a whole number of samples, the grid's period.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..artifacts.silence import line_powers
from .calls import UpsamplingCall, fraction_of

NEAR_LENGTH, NEAR_CHANGE = 0.3, 0.05
"""A ratio of rates is taken for another if their logarithms differ by less than this: one that is
known from lengths alone, and one that two lengths and how much longer these get agree on."""


@dataclass(frozen=True)
class ToneGrid:
    """Multiples of ``sample_rate / period``; the period is in samples, at least 2."""

    sample_rate: float
    period: int

    @property
    def spacing(self) -> float:
        """From one frequency to the next, in Hz."""
        return self.sample_rate / self.period

    @property
    def frequencies(self) -> list[float]:
        """Above 0, up to half the sample rate."""
        return [k * self.spacing for k in range(1, self.period // 2 + 1)]

    def coarsened(self, fits: Callable[[int], bool]) -> ToneGrid:
        """The finest grid among this and its parts whose period fits; at the end, that of 2."""
        period = self.period
        while period > 2 and not fits(period):
            period //= next(k for k in itertools.count(2) if period % k == 0)
        return ToneGrid(self.sample_rate, max(2, period))

    def for_length(self, time: int) -> ToneGrid:
        """A grid whose period fits twice into the middle half of a signal."""
        return self.coarsened(lambda period: time // 2 >= 2 * period)

    def middle(self, y: Tensor) -> Tensor:
        """The middle half of a signal, a multiple of the period long, without what the ends do."""
        length = y.shape[-1] // 2 // self.period * self.period
        start = (y.shape[-1] - length) // 2
        return y[..., start : start + length]

    def line_powers(self, y: Tensor) -> tuple[float, Tensor]:
        """Mean power of a signal's middle without its mean, and the share of each frequency."""
        return line_powers(self.middle(y), self.period)


def output_rates(
    calls: Sequence[UpsamplingCall], time: int, change: int, sample_rate: float
) -> list[float]:
    """Sample rate of each layer's output in Hz.

    It is the network's rate, or that at which a later layer takes or gives its signal. Padding and
    rounding make lengths inexact, so the nearest of these is taken. If none is near, the rate falls
    again behind the layer, and the ratio of the lengths is taken.

    Args:
        calls: The layers.
        time: Samples of the network's output.
        change: By how many it is longer if the input is longer; 0 if that is unknown.
        sample_rate: Of the network's output, in Hz.
    """
    rates: list[float] = []
    possible = {sample_rate}
    for call in reversed(calls):
        ratio, near = time / call.time, NEAR_LENGTH
        if change and call.change:
            grown = change / call.change
            same = (
                abs(math.log(grown / ratio)) < NEAR_CHANGE
            )  # else lengths are padded to multiples
            ratio, near = grown, NEAR_CHANGE if same else NEAR_LENGTH
        elif change:  # one of several parts of the signal, whose length is fixed
            ratio, near = ratio / _alike(calls, call), math.inf
        rate = min(possible, key=lambda rate: abs(math.log(sample_rate / rate / ratio)))
        if abs(math.log(sample_rate / rate / ratio)) >= near:
            shortest = min(time, change or time, call.change or call.time)
            rate = sample_rate / float(fraction_of(ratio, 1 / shortest))
        possible |= {rate, rate / call.stride}
        rates.insert(0, rate)
    return rates


def _alike(calls: Sequence[UpsamplingCall], call: UpsamplingCall) -> int:
    """How often the same layer ran for a signal of the same length."""
    name = call.name.partition("#")[0]
    return sum(c.name.partition("#")[0] == name and c.time == call.time for c in calls)


def repeats_of(
    calls: Sequence[UpsamplingCall], rates: Sequence[float], sample_rate: float
) -> list[int]:
    """Samples of the network's output after which what each layer makes repeats, if above 1.

    Behind a layer of stride 7 whose rate falls by 4 again, these are 7.
    """
    pairs = zip(calls, rates, strict=True)
    periods = [fraction_of(call.period * sample_rate / rate) for call, rate in pairs]
    return [period.numerator for period in periods if period.numerator > 1]


def grid_of(
    calls: Sequence[UpsamplingCall],
    rates: Sequence[float],
    sample_rate: float,
    factors: Sequence[float],
) -> ToneGrid:
    """The grid that holds the tones of all layers, and those of further upsampling factors."""
    repeats = repeats_of(calls, rates, sample_rate)
    repeats += [round(f) for f in factors if f >= 1 and abs(f - round(f)) < 1e-6]
    period = math.lcm(*repeats) if repeats else round(max(factors, default=2))
    return ToneGrid(sample_rate, max(2, period))
