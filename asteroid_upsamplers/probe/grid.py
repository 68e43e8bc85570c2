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
from .calls import UpsamplingCall


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

    It is the network's rate over a product of later layers' strides. Padding and rounding make
    lengths inexact, so the nearest of the possible products is taken.

    Args:
        calls: The layers.
        time: Samples of the network's output.
        change: By how many it is longer if the input is longer; 0 if that is unknown.
        sample_rate: Of the network's output, in Hz.
    """
    rates = []
    for index, call in enumerate(calls):
        products = {1.0}
        for later in calls[index + 1 :]:
            products |= {product * later.stride for product in products}
        ratio = change / call.change if change and call.change else time / call.time
        best = min(products, key=lambda product: abs(math.log(ratio / product)))
        rates.append(sample_rate / (best if abs(math.log(ratio / best)) < 0.3 else ratio))
    return rates


def grid_of(
    calls: Sequence[UpsamplingCall],
    rates: Sequence[float],
    sample_rate: float,
    factors: Sequence[float],
) -> ToneGrid:
    """The grid that holds the tones of all layers, and those of further upsampling factors."""
    pairs = zip(calls, rates, strict=True)
    periods = [*(sample_rate * call.period / rate for call, rate in pairs), *factors]
    whole = [round(period) for period in periods if abs(period - round(period)) < 1e-6]
    period = math.lcm(*(p for p in whole if p > 0))
    return ToneGrid(sample_rate, max(2, period if whole else round(max(periods))))
