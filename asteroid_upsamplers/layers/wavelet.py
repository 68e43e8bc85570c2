r"""Inverse wavelet steps as upsamplers.

[6] Pons et al., "Upsampling layers for music source separation", arXiv 2111.11773.
[7] Nakamura and Saruwatari, "Time-domain audio source separation based on Wave-U-Net combined with
discrete wavelet transform", arXiv 2001.10190.

A step makes one channel at twice the rate from two, an approximation :math:`a` and a detail
:math:`d`. As many steps as the stride is a power of two make one channel from ``stride`` of them;
step by step, neighbouring channels are the pair. The steps are linear and do not mix frames, so
that the layers apply them to their weights, and not to their much longer outputs.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from ..dsp import UpsamplingSystem
from ..errors import UsageError
from .base import Upsampler, register
from .settings import integer
from .subpixel import filter_and_shuffle, shuffled_system

Pair = tuple[Tensor, Tensor]


def power_of_two(layer: str, stride: int) -> int:
    """Which power of two ``stride`` is; else a :class:`UsageError` that names the layer."""
    steps = integer(layer, "stride", stride).bit_length() - 1
    if stride != 2**steps:
        raise UsageError(f"{layer}: stride must be a power of two, not {stride}")
    return steps


def inverse_steps(channels: Tensor, stride: int, step: Callable[[Tensor, Tensor], Pair]) -> Tensor:
    """All inverse wavelet steps, down to one channel.

    Args:
        channels: ``(batch, stride, time, ...)``.
        stride: A power of two.
        step: Makes the even and the odd samples of an approximation and a detail.

    Returns:
        ``(batch, time * stride, ...)``.

    Example:
        >>> pairs = torch.tensor([[[1., 2.], [3., 4.]]])
        >>> inverse_steps(pairs, 2, LazyWavelet.step)
        tensor([[1., 3., 2., 4.]])
    """
    for _ in range(stride.bit_length() - 1):
        halves = step(channels[:, 0::2], channels[:, 1::2])
        channels = torch.stack(halves, 3).flatten(2, 3)
    return channels[:, 0]


class InverseWavelet(Upsampler):
    """What the wavelet upsamplers share: a convolution at the input rate, then inverse steps.

    Artifacts: *tonal*, at multiples of the output rate / ``stride``, as in a subpixel convolution
    ([1] Sec. 4): phases are made of different channels and biases.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Upsampling factor, a power of two.
        kernel_size: Taps at the input rate (default 3).
        bias: Whether to add a learnable constant to each channel before the steps.

    Attributes:
        weight: ``(out_channels * stride, in_channels, kernel_size)``, as ``nn.Conv1d``; the
            ``stride`` channels from ``o * stride`` on make output channel ``o``.
        bias: ``(out_channels * stride,)`` or ``None``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        kernel_size: int | None = None,
        bias: bool = True,
    ):
        power_of_two(self.name, stride)
        super().__init__(
            in_channels, out_channels, stride, 3 if kernel_size is None else kernel_size, bias
        )
        rows = self.out_channels * self.stride
        self.make_parameters((rows, self.in_channels, self.kernel_size), rows)

    @staticmethod
    @abstractmethod
    def step(approximation: Tensor, detail: Tensor) -> Pair:
        """The even and the odd samples."""

    def upsample(self, x: Tensor) -> Tensor:
        return filter_and_shuffle(x, *self._filters(), self.stride)

    def known_system(self) -> UpsamplingSystem:
        return shuffled_system(*self._filters(), self.stride)

    def _filters(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of a subpixel layer that computes the same."""
        bias = None if self.bias is None else self._phases(self.bias)
        return self._phases(self.weight), bias

    def _phases(self, parameter: Tensor) -> Tensor:
        """The steps, taken by the filters: rows are then phases, as in a subpixel layer."""
        subbands = parameter.unflatten(0, (-1, self.stride))[:, :, None]
        return inverse_steps(subbands, self.stride, self.step).flatten(0, 1)


@register
class LazyWavelet(InverseWavelet):
    """Convolution, then inverse lazy wavelet steps: approximations and details take turns ([6]).

    A subpixel convolution with its channels in another order (at stride 2 in the same), and with
    the same artifacts. For the settings, see :class:`InverseWavelet`.

    Example:
        >>> LazyWavelet(2, 3, stride=4)(torch.zeros(1, 2, 10)).shape
        torch.Size([1, 3, 40])
    """

    name = "lazy_wavelet"

    @staticmethod
    def step(approximation: Tensor, detail: Tensor) -> Pair:
        return approximation, detail


@register
class Haar(InverseWavelet):
    """Convolution, then inverse Haar steps: orthonormal sums and differences ([6], [7]).

    Only details make neighbouring samples differ: a layer whose detail filters add up to zero has
    no tones. Random ones do not. For the settings and the artifacts, see :class:`InverseWavelet`.

    Example:
        >>> Haar(2, 3, stride=4)(torch.zeros(1, 2, 10)).shape
        torch.Size([1, 3, 40])
    """

    name = "haar"

    @staticmethod
    def step(approximation: Tensor, detail: Tensor) -> Pair:
        root = math.sqrt(2)
        return (approximation + detail) / root, (approximation - detail) / root
