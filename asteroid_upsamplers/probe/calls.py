"""One upsampling layer as it was seen running, and its linear system from the call's arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ..artifacts import ToneLevels, UpsamplingSystem, system_of, tone_levels
from ..artifacts.system import AnyLayer
from ..artifacts.tones import tones_of_period

FAMILIES = {
    "nearest": "nearest",
    "nearest-exact": "nearest",
    "area": "nearest",
    "linear": "linear",
    "bilinear": "linear",
    "bicubic": "cubic",
}
"""Modes of ``F.interpolate``, and what this package calls them."""


@dataclass(eq=False)
class UpsamplingCall:
    """One upsampling layer, as it was seen running.

    Args:
        name: Of the innermost module that ran it; numbered (``up``, ``up#2``) from the second on.
        kind: Name of the family, with ``2d`` appended where it upsamples images or spectrograms.
        stride: Upsampling factor in time, the last dimension.
        time: Length of its output, in samples.
        layer: Gives the layer as ``artifacts`` measures it; ``None`` in two dimensions, and where
            the call is no linear system with that stride.
        period: Where ``layer`` is ``None``: one period of the steady response to ones,
            ``(out_channels, frequency stride, stride)``, if it is known.
    """

    name: str
    kind: str
    stride: int
    time: int
    layer: Callable[[], AnyLayer] | None = None
    period: Tensor | None = None

    def system(self) -> UpsamplingSystem | None:
        """The layer as a linear system, up to a delay; ``None`` if it is none in one dimension."""
        return None if self.layer is None else system_of(self.layer())

    def tones(self) -> ToneLevels | None:
        """Tones that it adds to a constant, from its weights; ``None`` if they are unknown."""
        if self.layer is not None:
            return tone_levels(self.layer())
        if self.period is None:
            return None
        in_time = tones_of_period(self.period.flatten(0, 1))
        in_both = tones_of_period(self.period.flatten(1))
        return replace(in_time, tonal_fraction=in_both.tonal_fraction)


@torch.no_grad()
def interpolation_system(mode: str, stride: int, channels: int = 1) -> UpsamplingSystem:
    """``F.interpolate`` of one dimension, channel by channel: its response to an impulse."""
    impulse = torch.tensor([[[0.0, 1.0, 0.0]]], dtype=torch.float64)
    responses = F.interpolate(impulse, scale_factor=stride, mode=mode)
    offsets = torch.zeros(channels, stride, dtype=torch.float64)
    return UpsamplingSystem(responses.expand(channels, 1, -1), stride, offsets, channels)


@torch.no_grad()
def convolved_system(
    mode: str, stride: int, weight: Tensor, bias: Tensor | None, groups: int, dilation: int
) -> UpsamplingSystem:
    """An interpolation and the convolution that follows it, as one layer.

    Args:
        mode: Of ``F.interpolate``.
        stride: Of the interpolation.
        weight: As ``F.conv1d`` takes it, like the rest.
    """
    taps = _dilated(weight, dilation)
    reach = taps.shape[-1] - 1
    response = F.pad(interpolation_system(mode, stride).responses, (reach, reach)).to(taps.device)
    responses = F.conv1d(response, taps.flatten(0, 1)[:, None])[0]
    offsets = _offsets(weight, bias)[:, None].expand(-1, stride)
    return UpsamplingSystem(responses.view(*taps.shape[:2], -1), stride, offsets, groups)


@torch.no_grad()
def subpixel_system(
    weight: Tensor, bias: Tensor | None, groups: int, dilation: int, rows: Tensor
) -> UpsamplingSystem:
    """A convolution whose channels are put side by side in time.

    Args:
        weight: As ``F.conv1d`` takes it, like the next three.
        rows: Which channel of the convolution makes each phase, ``(out_channels, stride)``.
    """
    taps = _dilated(weight, dilation).flip(2)  # a later tap meets an impulse earlier
    blocks = torch.eye(groups).to(taps)[:, None, :, None, None]  # zeros for pairs that do not mix
    taps = (blocks * taps.unflatten(0, (groups, -1))[:, :, None]).flatten(2, 3).flatten(0, 1)[rows]
    responses = taps.permute(0, 2, 3, 1).flatten(2)
    return UpsamplingSystem(responses, rows.shape[1], _offsets(weight, bias)[rows])


@torch.no_grad()
def period_2d(weight: Tensor, bias: Tensor | None, stride: tuple[int, ...], groups: int) -> Tensor:
    """Steady response of ``F.conv_transpose2d`` to ones: ``(out_channels, *stride)``."""
    taps = weight.double().unflatten(0, (groups, -1)).sum(1).flatten(0, 1)
    missing = [-size % step for size, step in zip(taps.shape[1:], stride, strict=True)]
    taps = F.pad(taps, (0, missing[1], 0, missing[0]))
    period = taps.unflatten(2, (-1, stride[1])).sum(2).unflatten(1, (-1, stride[0])).sum(1)
    return period if bias is None else period + bias.double()[:, None, None]


def _dilated(weight: Tensor, dilation: int) -> Tensor:
    """The same filters in float64, with ``dilation - 1`` zeros between the taps."""
    taps = weight.new_zeros(*weight.shape[:-1], (weight.shape[-1] - 1) * dilation + 1).double()
    taps[..., ::dilation] = weight
    return taps


def _offsets(weight: Tensor, bias: Tensor | None) -> Tensor:
    return weight.new_zeros(len(weight)).double() if bias is None else bias.double()
