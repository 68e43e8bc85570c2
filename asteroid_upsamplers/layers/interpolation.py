"""Interpolation by a fixed kernel, then a learnable convolution at the output rate ([1] Sec. 3)."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor
from torch.nn import functional as F

from ..dsp import centered_padding
from .base import Upsampler, register


class Interpolation(Upsampler):
    """What the interpolation upsamplers share: the convolution that follows the interpolation.

    The convolution is centred, with ``(kernel_size - 1) // 2`` zeros before the upsampled signal
    and ``kernel_size // 2`` after it.

    Artifacts ([1] Sec. 3): *filtering*, from the frequency response of the interpolation. No tones
    for a constant input, whatever the weights.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Upsampling factor.
        kernel_size: Taps of the convolution at the output rate (default ``2 * stride + 1``).
        bias: Whether to add one learnable constant an output channel.

    Attributes:
        weight: ``(out_channels, in_channels, kernel_size)``, as ``nn.Conv1d``.
        bias: ``(out_channels,)`` or ``None``.
    """

    @staticmethod
    def default_kernel_size(stride: int) -> int:
        return 2 * stride + 1

    def weight_shape(self) -> tuple[int, int, int]:
        return self.out_channels, self.in_channels, self.kernel_size

    @abstractmethod
    def interpolate(self, x: Tensor) -> Tensor:
        """``(batch, channels, time)`` -> ``(batch, channels, time * stride)``."""

    def phase_sums(self) -> Tensor:
        return self._add_bias(self.weight.sum((1, 2))[:, None].expand(-1, self.stride))

    def upsample(self, x: Tensor) -> Tensor:
        x = F.pad(self.interpolate(x), centered_padding(self.kernel_size))
        return F.conv1d(x, self.weight, self.bias)


@register
class Nearest(Interpolation):
    """Nearest-neighbour interpolation: every sample ``stride`` times, then a convolution.

    Its response is that of a rectangle, a sinc: it attenuates the top of the band, with valleys at
    multiples of the input rate ([1] Sec. 3). For the settings and the artifacts, see
    :class:`Interpolation`.

    Example:
        >>> import torch
        >>> Nearest(2, 3, stride=4)(torch.zeros(1, 2, 10)).shape
        torch.Size([1, 3, 40])
    """

    name = "nearest"

    def interpolate(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(self.stride, dim=-1)


@register
class Linear(Interpolation):
    """Linear interpolation, then a convolution.

    The output sample ``n`` lies at ``(n + 0.5) / stride - 0.5`` of the input, clamped to its first
    and last sample: the ``align_corners=False`` convention of ``F.interpolate``. It attenuates the
    top of the band more than nearest neighbours do: its response is that of a triangle, a squared
    sinc ([1] Sec. 3), for an even ``stride`` times a cosine, as no output sample falls on an input
    sample then. For the settings and the artifacts, see :class:`Interpolation`.

    Example:
        >>> import torch
        >>> Linear(2, 3, stride=4)(torch.zeros(1, 2, 10)).shape
        torch.Size([1, 3, 40])
    """

    name = "linear"

    def interpolate(self, x: Tensor) -> Tensor:
        size = x.shape[-1] * self.stride
        return F.interpolate(x, size=size, mode="linear", align_corners=False)
