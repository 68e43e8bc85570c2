r"""Edge effects: where the output for a constant is not yet, or no longer, steady ([1] Sec. 2).

What a layer sees beyond the ends of its input is zeros, or what its padding puts there. The output
near the start misses what samples before the first would have added; at the end likewise. So a
layer is run on ones, and its output compared with the steady period in the middle.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021, Figs. 4 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..dsp import UpsamplingSystem
from ..dsp.spectra import NOTHING_DB, decibels
from ..layers import Upsampler
from ..layers.measured import double_copy
from .result import Result
from .system import system_of

LEAST = 1e-6
"""Deviations of a smaller share of the steady rms are none."""


@dataclass(frozen=True)
class EdgeEffects(Result):
    """How far the edge effects reach, and how large they are, for a constant input.

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
def edge_effects(layer: Upsampler | nn.ConvTranspose1d) -> EdgeEffects:
    """Run a layer on ones, in float64.

    Args:
        layer: An upsampler, or torch's transposed convolution.

    Raises:
        TypeError: For anything else: an ``UpsamplingSystem`` does not say how its ends are made.

    Example:
        >>> from asteroid_upsamplers import layers
        >>> found = edge_effects(layers.Transposed(1, 1, stride=4, kernel_size=8, trim=False))
        >>> found.start, found.end
        (4, 4)
    """
    if isinstance(layer, UpsamplingSystem):
        raise TypeError("edge effects are those of a layer; a system does not say how it pads")
    system = system_of(layer, together=True)
    stride, reach = system.stride, -(-system.responses.shape[-1] // system.stride)
    exact = double_copy(layer)
    ones = system.responses.new_ones(1, layer.in_channels, 6 * reach + 16)
    y = exact(ones)[0]
    middle = (3 * reach + 8) * stride  # a multiple of the stride: the period lies as at the start
    period = y[:, middle : middle + stride]
    deviation = y - period.repeat(1, -(-y.shape[1] // stride))[:, : y.shape[1]]
    half, rms = y.shape[1] // 2, period.square().mean().sqrt()
    start, start_db = _reach(deviation[:, :half], rms)
    end, end_db = _reach(deviation[:, half:].flip(1), rms)
    return EdgeEffects(start, end, start_db, end_db)


def _reach(deviation: Tensor, rms: Tensor) -> tuple[int, float]:
    """How many samples from the edge on deviate, and how much."""
    differs = (deviation.abs() > LEAST * rms).any(0).nonzero()
    if not len(differs):
        return 0, NOTHING_DB
    samples = int(differs.max()) + 1
    return samples, float(decibels(deviation[:, :samples].square().mean(), rms.square()))
