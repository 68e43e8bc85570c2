"""From the arguments of torch's own calls to the filters of a layer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ..artifacts.system import UpsamplingSystem
from ..dsp import (
    InterpolatedConvolution,
    InterpolationKernel,
    centered_padding,
    cubic_kernel,
    linear_kernel,
    nearest_kernel,
    polyphase_merge,
)

KERNELS: dict[str, tuple[str, Callable[[int], InterpolationKernel]]] = {
    "nearest": ("nearest", nearest_kernel),
    "nearest-exact": ("nearest", nearest_kernel),
    "linear": ("linear", linear_kernel),
    "bilinear": ("linear", linear_kernel),
    "bicubic": ("cubic", cubic_kernel),
}
"""Modes of ``F.interpolate``: the family's name here, and its kernel."""

BY_FAMILY = dict(KERNELS.values())


def interpolation_filters(family: str, stride: int, channels: int) -> UpsamplingSystem:
    """Of an interpolation alone, channel by channel."""
    responses = polyphase_merge(BY_FAMILY[family](stride).branches.flip(1)[None], stride)
    offsets = torch.zeros(channels, stride, dtype=torch.float64)
    return UpsamplingSystem(responses.expand(channels, 1, -1), stride, offsets, channels)


def convolved_filters(
    family: str, stride: int, weight: Tensor, bias: Tensor | None, groups: int
) -> UpsamplingSystem:
    """Of an interpolation and the convolution behind it, as one layer.

    Args:
        family: Of the interpolation.
        stride: Of it.
        weight: ``(out_channels, in_channels / groups, kernel_size)``, as ``F.conv1d`` takes it.
        bias: ``(out_channels,)`` or ``None``.
        groups: Of the convolution.
    """
    size = weight.shape[-1]
    convolution = InterpolatedConvolution(BY_FAMILY[family](stride), size, centered_padding(size))
    offsets = weight.new_zeros(len(weight)) if bias is None else bias
    return UpsamplingSystem(
        convolution.impulse_responses(weight.detach()),
        stride,
        offsets.detach().double()[:, None].expand(-1, stride),
        groups,
    )


def subpixel_filters(weight: Tensor, bias: Tensor | None, rows: Tensor) -> UpsamplingSystem:
    """Of a convolution whose channels are put side by side in time.

    Args:
        weight: ``(channels, in_channels, kernel_size)``, as ``F.conv1d`` takes it.
        bias: ``(channels,)`` or ``None``.
        rows: The channel that makes each phase, ``(out_channels, stride)``.
    """
    taps = weight.detach().double()[rows]  # a later tap meets an impulse earlier
    offsets = torch.zeros(rows.shape, dtype=torch.float64, device=rows.device)
    if bias is not None:
        offsets = bias.detach().double()[rows]
    return UpsamplingSystem(taps.flip(3).permute(0, 2, 3, 1).flatten(2), rows.shape[1], offsets)


def sums_2d(weight: Tensor, bias: Tensor | None, stride: tuple[int, ...], groups: int) -> Tensor:
    """Steady response of ``F.conv_transpose2d`` to ones: ``(out_channels, *stride)``."""
    taps = weight.detach().double().unflatten(0, (groups, -1)).sum(1).flatten(0, 1)
    missing = [-size % step for size, step in zip(taps.shape[1:], stride, strict=True)]
    taps = F.pad(taps, (0, missing[1], 0, missing[0]))
    sums = taps.unflatten(2, (-1, stride[1])).sum(2).unflatten(1, (-1, stride[0])).sum(1)
    return sums if bias is None else sums + bias.detach().double()[:, None, None]
