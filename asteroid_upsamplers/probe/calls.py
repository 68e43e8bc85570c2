"""One upsampling layer as it was seen running, and its linear system from the call's arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional as F

from ..artifacts import ToneLevels, UpsamplingSystem, system_of, tone_levels
from ..artifacts.system import AnyLayer, transposed_system

MOST_DENOMINATOR = 1000
"""Sample rates are in ratios such as 441 to 160."""

INTERPOLATIONS = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}
"""Families, and the mode that ``F.interpolate`` calls them by in two dimensions."""


@dataclass(eq=False)
class UpsamplingCall:
    """One upsampling layer, as it was seen running.

    Args:
        name: Of the innermost module that ran it; numbered (``up``, ``up#2``) from the second on.
        kind: Name of the family, with ``2d`` appended where it upsamples images or spectrograms;
            ``"unknown"`` where the signal grew and what did it was not seen.
        stride: Upsampling factor in time; a whole number, but for interpolations to another rate.
        time: Length of its output, in samples.
        layer: Gives the layer as ``artifacts`` measures it, in two dimensions for an input that is
            constant along frequency; ``None`` if it is no linear system with that stride.
        op: Index of the operation that gave its output, in the run that was watched.
        axis: Of its output, which is time.
        change: By how many samples its output is longer if the network's input is longer.
        group: What its name has in common with others that do the same; see :class:`LayerReport`.
    """

    name: str
    kind: str
    stride: int | float
    time: int
    layer: Callable[[], AnyLayer] | None = None
    op: int = -1
    axis: int = -1
    change: int = 0
    group: str = ""

    @property
    def period(self) -> int:
        """Of what it repeats in its output, in samples: the stride, or of 3/2 the 3."""
        return fraction_of(self.stride).numerator

    def system(self) -> UpsamplingSystem | None:
        """The layer as a linear system, up to a delay; ``None`` if that is unknown."""
        return None if self.layer is None else system_of(self.layer())

    def tones(self) -> ToneLevels | None:
        """Tones that it adds to a constant, from its weights; ``None`` if that is unknown."""
        return None if self.layer is None else tone_levels(self.layer())


def fraction_of(ratio: float | Fraction, rounding: float = 1e-6) -> Fraction:
    """The ratio of the smallest whole numbers that differs by no more than ``rounding``.

    Ratios of lengths are inexact, as lengths are rounded: ``rounding`` is 1 over the shorter one.
    """
    for denominator in range(1, MOST_DENOMINATOR):
        fraction = Fraction(round(ratio * denominator), denominator)
        if abs(fraction / Fraction(ratio) - 1) <= rounding:
            return fraction
    return Fraction(ratio).limit_denominator(MOST_DENOMINATOR)


@torch.no_grad()
def interpolation_system(family: str, stride: int, channels: int = 1) -> UpsamplingSystem:
    """``F.interpolate``, channel by channel: its response to an impulse."""
    impulse = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0]).double().view(1, 1, 1, -1)
    responses = F.interpolate(impulse, scale_factor=(1, stride), mode=INTERPOLATIONS[family])[0]
    offsets = torch.zeros(channels, stride, dtype=torch.float64)
    return UpsamplingSystem(responses.expand(channels, 1, -1), stride, offsets, channels)


@torch.no_grad()
def convolved_system(
    family: str, stride: int, weight: Tensor, bias: Tensor | None, groups: int, dilation: int
) -> UpsamplingSystem:
    """An interpolation and the convolution that follows it, as one layer."""
    taps, reach = _dilated(weight, dilation), (weight.shape[-1] - 1) * dilation
    response = F.pad(interpolation_system(family, stride).responses, (reach, reach)).to(taps)
    responses = F.conv1d(response, taps.flatten(0, 1)[:, None])[0].unflatten(0, taps.shape[:2])
    return UpsamplingSystem(responses, stride, _offsets(weight, bias, stride), groups)


@torch.no_grad()
def subpixel_system(
    weight: Tensor, bias: Tensor | None, groups: int, dilation: int, rows: Tensor
) -> UpsamplingSystem:
    """A convolution whose channels are put side by side in time.

    ``rows`` says which channel of the convolution makes each phase, ``(out_channels, stride)``.
    """
    taps = _dilated(weight, dilation).flip(2)  # a later tap meets an impulse earlier
    blocks = torch.eye(groups).to(taps)[:, None, :, None, None]  # zeros for pairs that do not mix
    taps = (blocks * taps.unflatten(0, (groups, -1))[:, :, None]).flatten(2, 3).flatten(0, 1)[rows]
    responses = taps.permute(0, 2, 3, 1).flatten(2)
    return UpsamplingSystem(responses, rows.shape[1], _offsets(weight, bias, 1)[rows, 0])


@torch.no_grad()
def transposed_system_2d(
    weight: Tensor, bias: Tensor | None, stride: Sequence[int], groups: int
) -> UpsamplingSystem:
    """``F.conv_transpose2d`` for an input that is constant along frequency.

    Each channel of the layer becomes ``stride[0]`` channels: its phases along frequency.
    """
    weight = F.pad(weight, (0, 0, 0, -weight.shape[2] % stride[0]))
    phases = weight.unflatten(2, (-1, stride[0])).sum(2).flatten(1, 2)
    repeated = None if bias is None else bias.repeat_interleave(stride[0])
    return transposed_system(phases, repeated, stride[1], groups)


def _dilated(weight: Tensor, dilation: int) -> Tensor:
    """The same filters in float64, with ``dilation - 1`` zeros between the taps."""
    length = (weight.shape[-1] - 1) * dilation + 1
    taps = weight.new_zeros(*weight.shape[:-1], length, dtype=torch.float64)
    taps[..., ::dilation] = weight
    return taps


def _offsets(weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    offsets = weight.new_zeros(len(weight)) if bias is None else bias
    return offsets.double()[:, None].expand(-1, stride)
