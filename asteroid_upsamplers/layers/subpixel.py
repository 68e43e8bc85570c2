"""Subpixel convolution: a convolution at the input rate, then the periodic shuffle ([1] Sec. 4)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..dsp import centered_padding, periodic_shuffle
from .base import Upsampler, register


@register
class Subpixel(Upsampler):
    """Convolution to ``out_channels * stride`` channels, then the periodic shuffle.

    The convolution is centred, with ``(kernel_size - 1) // 2`` zeros before the signal and
    ``kernel_size // 2`` after it.

    Artifacts ([1] Sec. 4): *tonal*, at multiples of the output rate / ``stride``: neighbouring
    output samples come from different filters and different biases. No overlap, but the zeros
    around the input reach into ``stride * (kernel_size // 2)`` samples at each border.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Upsampling factor.
        kernel_size: Taps at the input rate (default 3).
        bias: Whether to add a learnable constant to each channel before the shuffle.

    Attributes:
        weight: ``(out_channels * stride, in_channels, kernel_size)``, as ``nn.Conv1d``; row
            ``o * stride + r`` makes phase ``r`` of output channel ``o``.
        bias: ``(out_channels * stride,)`` or ``None``.

    Example:
        >>> import torch
        >>> Subpixel(2, 3, stride=4)(torch.zeros(1, 2, 10)).shape
        torch.Size([1, 3, 40])
    """

    name = "subpixel"

    @staticmethod
    def default_kernel_size(stride: int) -> int:
        return 3

    def weight_shape(self) -> tuple[int, int, int]:
        return self.out_channels * self.stride, self.in_channels, self.kernel_size

    def bias_size(self) -> int:
        return self.out_channels * self.stride

    def upsample(self, x: Tensor) -> Tensor:
        x = F.pad(x, centered_padding(self.kernel_size))
        return periodic_shuffle(F.conv1d(x, self.weight, self.bias), self.stride)

    def phase_sums(self) -> Tensor:
        return self._add_bias(self.weight.sum((1, 2)).reshape(self.out_channels, self.stride))
