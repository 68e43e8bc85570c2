"""Transposed convolution ([1] Sec. 2)."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from ..dsp import center_trim, transposed_length
from ..errors import UsageError
from .base import Upsampler, register


@register
class Transposed(Upsampler):
    """Transposed convolution with no, partial or full overlap.

    Artifacts ([1] Sec. 2): *tonal*, at multiples of the output rate / ``stride``, from the random
    weights of every setting and, where ``kernel_size`` is no multiple of ``stride`` (partial
    overlap), from the uneven overlap as well; *boundary*, where ``kernel_size > stride``: the
    borders are reached by fewer filters than the middle.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Upsampling factor.
        kernel_size: Taps at the output rate; ``stride`` is no overlap, a multiple of it full
            overlap (default ``2 * stride``), anything else partial overlap. Shorter than ``stride``
            is refused: some output samples would not be defined.
        bias: Whether to add one learnable constant an output channel.
        trim: Whether to cut the output to ``time * stride`` samples, as many at the end as at the
            start (one more at the end if their number is odd). ``False`` gives all
            ``(time - 1) * stride + kernel_size`` samples, with the boundary artifacts in them.

    Attributes:
        weight: ``(in_channels, out_channels, kernel_size)``, as ``nn.ConvTranspose1d``.
        bias: ``(out_channels,)`` or ``None``.

    Example:
        >>> import torch
        >>> Transposed(2, 3, stride=4)(torch.zeros(1, 2, 10)).shape
        torch.Size([1, 3, 40])
        >>> Transposed(2, 3, stride=4, trim=False)(torch.zeros(1, 2, 10)).shape
        torch.Size([1, 3, 44])
    """

    name = "transposed"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        kernel_size: int | None = None,
        bias: bool = True,
        trim: bool = True,
    ):
        if not isinstance(trim, bool):
            raise UsageError(f"{self.name}: trim is {trim!r}, allowed is True or False")
        super().__init__(in_channels, out_channels, stride, kernel_size, bias)
        self.trim = trim

    @staticmethod
    def default_kernel_size(stride: int) -> int:
        return 2 * stride

    @staticmethod
    def least_kernel_size(stride: int) -> int:
        return stride

    def weight_shape(self) -> tuple[int, int, int]:
        return self.in_channels, self.out_channels, self.kernel_size

    def output_length(self, time: int) -> int:
        if self.trim:
            return time * self.stride
        return transposed_length(time, self.stride, self.kernel_size)

    def upsample(self, x: Tensor) -> Tensor:
        y = F.conv_transpose1d(x, self.weight, self.bias, stride=self.stride)
        return center_trim(y, x.shape[-1] * self.stride) if self.trim else y

    def phase_sums(self) -> Tensor:
        taps = self.weight.sum(0)
        taps = F.pad(taps, (0, -self.kernel_size % self.stride))
        return self._add_bias(taps.reshape(self.out_channels, -1, self.stride).sum(1))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "trim": self.trim}
