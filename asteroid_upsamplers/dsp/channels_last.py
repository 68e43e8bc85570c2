"""Convolutions of signals whose channels come last in memory, for compiled networks on GPUs.

The matrix units read 16 bytes of one sample's channels at a time; cuDNN copies a signal whose time
comes last into that order and back around every convolution. A tensor keeps its shape, ``(batch,
channels, time)``, in either order. With the channels last, a stride is a view: ``stride``
neighbouring samples are one sample of ``stride`` times the channels, so that a strided convolution
is one without a stride, and what a polyphase filter gives is interleaved where it lies.

Only what is compiled gains by it: the elementwise steps in between have to keep the order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .precision import works_in_half_precision

DEVICES = ("cuda",)
ALIGNED = 8
"""Numbers of 16 bits in what is read at a time; other channel counts are filled up with zeros."""


def prefers_channels_last(x: Tensor) -> bool:
    """Whether ``x`` is best convolved in this order: compiled, on a GPU, in half precision."""
    compiling = torch.compiler.is_compiling()
    return compiling and x.device.type in DEVICES and works_in_half_precision(x)


def channels_last(x: Tensor) -> Tensor:
    """``x`` itself, ``(batch, channels, time)``, in this order."""
    return x.transpose(1, 2).contiguous().transpose(1, 2)


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0
) -> Tensor:
    """``F.conv1d``, in the order that suits ``x``.

    Args:
        x: ``(batch, in_channels, time)``.
        weight: ``(out_channels, in_channels, kernel_size)``.
        bias: ``(out_channels,)`` or ``None``.
        stride: Input samples from one output sample to the next.
        padding: Zeros on either side.
    """
    if not prefers_channels_last(x):
        return F.conv1d(x, weight, bias, stride, padding)
    weight = in_its_own_order(weight)
    if stride > 1:
        frames = (x.shape[-1] + 2 * padding - weight.shape[-1]) // stride + 1
        weight = F.pad(weight, (0, -weight.shape[-1] % stride))
        needed = (frames - 1) * stride + weight.shape[-1]
        x = samples_as_channels(pad(x, (padding, needed - padding - x.shape[-1])), stride)
        weight = weight.unflatten(2, (-1, stride)).permute(0, 3, 1, 2).flatten(1, 2)
        padding = 0
    return with_bias(multiply(x, weight, padding), bias)


def multiply(x: Tensor, weight: Tensor, padding: int = 0) -> Tensor:
    """A convolution of aligned channels; the result has those that were asked for.

    ``(batch, in_channels, time)`` and ``(out_channels, in_channels, kernel_size)`` ->
    ``(batch, out_channels, time + 2 * padding - kernel_size + 1)``.
    """
    out_channels, in_channels, _ = weight.shape
    more_in, more_out = -in_channels % ALIGNED, -out_channels % ALIGNED
    if more_in:
        x, weight = pad(x, (0, 0), more_in), F.pad(weight, (0, 0, 0, more_in))
    if more_out:
        weight = F.pad(weight, (0, 0, 0, 0, 0, more_out))
    # in two dimensions, as compilers know this order for pictures
    y = F.conv2d(x.unsqueeze(2), weight.unsqueeze(2), padding=(0, padding)).squeeze(2)
    return y[:, :out_channels]


def pad(x: Tensor, time: tuple[int, int], channels: int = 0) -> Tensor:
    """Zeros before and after the samples, and after the channels; channels last, as before.

    ``(batch, in_channels, samples)`` -> ``(batch, in_channels + channels, samples + sum(time))``.
    """
    return F.pad(x.transpose(1, 2), (0, channels, *time)).transpose(1, 2)


def in_its_own_order(weight: Tensor) -> Tensor:
    """``weight``, of any shape; its gradient comes in the memory order the optimizer works in."""
    return _InItsOwnOrder.apply(weight)


def samples_as_channels(x: Tensor, stride: int) -> Tensor:
    """``(batch, channels, time)`` -> ``(batch, stride * channels, time / stride)``."""
    return x.transpose(1, 2).unflatten(1, (-1, stride)).flatten(2).transpose(1, 2)


def channels_as_samples(x: Tensor, stride: int) -> Tensor:
    """``(batch, stride * channels, time)`` -> ``(batch, channels, time * stride)``."""
    return x.transpose(1, 2).unflatten(2, (stride, -1)).flatten(1, 2).transpose(1, 2)


def with_bias(y: Tensor, bias: Tensor | None) -> Tensor:
    """``y``, ``(batch, channels, time)``, and a constant for every channel, ``(channels,)``."""
    return y if bias is None else _Bias.apply(y, bias)


class _Bias(torch.autograd.Function):
    """The gradient is a matrix product: the matrix units add up millions of samples, and the step
    that computes them need not be interwoven with a sum across them."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, bias: Tensor) -> Tensor:
        ctx.dtype = bias.dtype
        return (y + bias[:, None]).to(y.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        samples = gradient.transpose(1, 2).flatten(0, 1)
        ones = samples.new_ones(ALIGNED, len(samples))
        return gradient, (ones @ samples)[0].to(ctx.dtype)


class _InItsOwnOrder(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.contiguous()
