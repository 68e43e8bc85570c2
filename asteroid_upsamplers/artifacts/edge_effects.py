r"""Borders: where the output for a constant is not yet, or no longer, the steady one ([1] Sec. 2).

What a layer sees beyond its ends is zeros. The output near the start misses the contributions that
samples before the first would have made, which are sums over the taps that reach there; at the end
likewise. With the taps :math:`h` of the part that sees zeros, at the distance :math:`s` of its
samples, cut by :math:`c` samples, the deviation is

.. math:: d[n] = - \sum_{q \ge 1} h[n + c + q s].

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021, Figs. 4 and 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..dsp.spectra import decibels
from ..layers import Borders, Upsampler
from .result import Result
from .system import like

LEAST = 1e-6
"""Deviations of a smaller share of the steady rms are none."""


@dataclass(frozen=True)
class EdgeEffects(Result):
    """How far the borders reach, and how much they deviate, for a constant input.

    Args:
        start: Samples that differ from the steady period, at the start.
        end: The same at the end.
        start_db: Rms of the deviation over these samples against the steady rms, pooled over the
            channels; -400 for none.
        end_db: The same at the end.
    """

    start: int
    end: int
    start_db: float
    end_db: float


@torch.no_grad()
def edge_effects(layer: Upsampler) -> EdgeEffects:
    """From the weights alone.

    Args:
        layer: An upsampler of this package.

    Example:
        >>> from asteroid_upsamplers import layers
        >>> found = edge_effects(layers.Transposed(1, 1, stride=4, kernel_size=8, trim=False))
        >>> found.start, found.end
        (4, 4)
    """
    steady = layer.phase_sums().double()
    borders = layer.borders()
    return _summary(_before(borders), _after(borders).flip(1), steady)


@torch.no_grad()
def measure_edge_effects(
    layer: Callable[[Tensor], Tensor], in_channels: int, stride: int, time: int = 200
) -> EdgeEffects:
    """The same, from the output for ones.

    Args:
        layer: ``(1, in_channels, time)`` -> ``(1, out_channels, about time * stride)``.
        in_channels: Channels of its input.
        stride: Upsampling factor.
        time: Input samples; the middle third is taken as the steady state.
    """
    y = layer(torch.ones(1, in_channels, time).to(like(layer)))[0].double()
    middle = time // 3 * stride
    period = y[:, middle : middle + stride]
    periods = -(-y.shape[1] // stride)
    deviation = y - period.repeat(1, periods)[:, : y.shape[1]]  # middle is a whole number of them
    half = y.shape[1] // 2
    return _summary(deviation[:, :half], deviation[:, half:], period)


def _before(borders: Borders) -> Tensor:
    """Deviations from the first output sample on."""
    return -_later_sums(borders.taps, borders.step)[:, borders.step + borders.lead :]


def _after(borders: Borders) -> Tensor:
    """Deviations from the last output sample back."""
    return -_later_sums(borders.taps.flip(1), borders.step)[
        :, borders.taps.shape[1] - borders.tail :
    ]


def _later_sums(taps: Tensor, step: int) -> Tensor:
    """``sum over q >= 0 of taps[n + q * step]``."""
    sums = nn.functional.pad(taps.double(), (0, -taps.shape[1] % step)).unflatten(1, (-1, step))
    return sums.flip(1).cumsum(1).flip(1).flatten(1)


def _summary(start: Tensor, end: Tensor, steady: Tensor) -> EdgeEffects:
    rms = steady.square().mean().sqrt()
    (first, first_db), (last, last_db) = _reach(start, rms), _reach(end.flip(1), rms)
    return EdgeEffects(first, last, first_db, last_db)


def _reach(deviation: Tensor, rms: Tensor) -> tuple[int, float]:
    """How many samples from the border on deviate, and how much."""
    differs = (deviation.abs() > LEAST * rms).any(0).nonzero()
    if not len(differs):
        return 0, float(decibels(torch.zeros(())))
    samples = int(differs.max()) + 1
    power = deviation[:, :samples].square().mean()
    return samples, float(decibels(power / rms.square()))
