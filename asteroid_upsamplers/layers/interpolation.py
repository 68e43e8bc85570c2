"""Interpolation by a fixed kernel, then a learnable convolution at the output rate ([1] Sec. 3)."""

from __future__ import annotations

from abc import abstractmethod
from typing import cast

from torch import Tensor

from ..dsp import (
    InterpolatedConvolution,
    InterpolationKernel,
    centered_padding,
    cubic_kernel,
    linear_kernel,
    nearest_kernel,
    sinc_kernel,
    stretch_kernel,
)
from ..dsp.kernels import BORDERS
from .base import register
from .polyphase import PolyphaseUpsampler
from .settings import integer, number, one_of

LEAST_ROLLOFF = 0.01

MAC_NEUTRAL = 2
"""Taps that make an output sample of a transposed convolution with full overlap."""


class Interpolation(PolyphaseUpsampler):
    """What the interpolation upsamplers share: the convolution that follows the interpolation.

    The convolution is centred, with ``(kernel_size - 1) // 2`` samples of padding before the
    upsampled signal and ``kernel_size // 2`` after it.

    Artifacts ([1] Sec. 3): *filtering*, from the frequency response of the interpolation. No tones
    for a constant input, whatever the weights. *Boundary*: zeros around the upsampled signal reach
    into ``kernel_size // 2`` samples at each border.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Upsampling factor.
        kernel_size: Taps of the convolution at the output rate (default ``2 * stride + 1``).
            ``"mac_neutral"`` is 2: written as two steps, the layer then takes as many multiply-adds
            as the transposed convolution of length ``2 * stride`` that it replaces, which makes
            each output sample of 2 taps. So short a filter hardly shapes the spectrum.
        bias: Whether to add one learnable constant an output channel.
        padding_mode: What the convolution sees around the upsampled signal: ``"zeros"``,
            ``"replicate"`` or ``"reflect"``, as in ``nn.Conv1d``.
        form: ``"auto"``, ``"plain"``, ``"folded"`` or ``"commuted"``; all compute the same, see
            :class:`PolyphaseUpsampler`.

    Attributes:
        weight: ``(out_channels, in_channels, kernel_size)``, as ``nn.Conv1d``.
        bias: ``(out_channels,)`` or ``None``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        kernel_size: int | str | None = None,
        bias: bool = True,
        padding_mode: str = "zeros",
        form: str = "auto",
    ):
        self.padding_mode = one_of(self.name, "padding_mode", padding_mode, BORDERS)
        stride = integer(self.name, "stride", stride)
        if kernel_size is None:
            kernel_size = 2 * stride + 1
        elif kernel_size == "mac_neutral":
            kernel_size = MAC_NEUTRAL
        taps = cast(int, kernel_size)  # anything else is refused there
        super().__init__(in_channels, out_channels, stride, taps, bias, form)

    @abstractmethod
    def interpolation_kernel(self) -> InterpolationKernel:
        """The fixed kernel, from the settings."""

    def make_convolution(self) -> InterpolatedConvolution:
        padding = centered_padding(self.kernel_size)
        return InterpolatedConvolution(
            self.interpolation_kernel(), self.kernel_size, padding, self.padding_mode
        )

    def plain(self, x: Tensor) -> Tensor:
        upsampled, needed = x.shape[-1] * self.stride, self.kernel_size // 2
        if self.padding_mode == "reflect" and upsampled <= needed:
            raise ValueError(
                f"{self.name}: input of {x.shape[-1]} samples, padding_mode 'reflect' with "
                f"kernel_size {self.kernel_size} needs more than {needed} at the output rate"
            )
        return super().plain(x)


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

    def interpolation_kernel(self) -> InterpolationKernel:
        return nearest_kernel(self.stride)


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

    def interpolation_kernel(self) -> InterpolationKernel:
        return linear_kernel(self.stride)


@register
class Cubic(Interpolation):
    """Cubic interpolation (Keys), then a convolution.

    Alignment and borders are those of :class:`Linear`, and of ``F.interpolate(mode="bicubic")`` in
    one dimension. It attenuates the top of the band less than linear interpolation does and its
    images more ([1] Sec. 3). For the other settings and the artifacts, see :class:`Interpolation`.

    Args:
        coefficient: Slope of the kernel at 1, from -1 to 0: -0.75 as in ``F.interpolate``; -0.5 is
            Keys' choice, which interpolates parabolas exactly.

    Example:
        >>> import torch
        >>> Cubic(2, 3, stride=4)(torch.zeros(1, 2, 10)).shape
        torch.Size([1, 3, 40])
    """

    name = "cubic"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        kernel_size: int | str | None = None,
        bias: bool = True,
        padding_mode: str = "zeros",
        form: str = "auto",
        coefficient: float = -0.75,
    ):
        self.coefficient = number(self.name, "coefficient", coefficient, -1, 0)
        super().__init__(in_channels, out_channels, stride, kernel_size, bias, padding_mode, form)

    def interpolation_kernel(self) -> InterpolationKernel:
        return cubic_kernel(self.stride, self.coefficient)


@register
class Sinc(Interpolation):
    """Interpolation by a Hann-windowed sinc, then a convolution.

    Every branch of the kernel is normalised, so that a constant makes no tone. The output sample
    ``n`` lies at ``n / stride`` of the input, which goes on with its first and last sample: what
    ``julius.resample_frac(x, 1, stride)`` computes. Artifacts ([1] Sec. 3): *filtering*, a low-pass
    at ``rolloff`` times half the input rate: the convolution finds next to nothing above that. For
    the other settings, see :class:`Interpolation`.

    Args:
        zeros: Zero crossings of the sinc on either side, at least 1.
        rolloff: Cutoff as a share of half the input rate, from 0.01 to 1.

    Example:
        >>> import torch
        >>> Sinc(2, 3, stride=4)(torch.zeros(1, 2, 10)).shape
        torch.Size([1, 3, 40])
    """

    name = "sinc"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        kernel_size: int | str | None = None,
        bias: bool = True,
        padding_mode: str = "zeros",
        form: str = "auto",
        zeros: int = 24,
        rolloff: float = 0.945,
    ):
        self.zeros = integer(self.name, "zeros", zeros)
        self.rolloff = number(self.name, "rolloff", rolloff, LEAST_ROLLOFF, 1)
        super().__init__(in_channels, out_channels, stride, kernel_size, bias, padding_mode, form)

    def interpolation_kernel(self) -> InterpolationKernel:
        return sinc_kernel(self.stride, self.zeros, self.rolloff)


@register
class Stretch(Interpolation):
    """Zero insertion: every sample, then ``stride - 1`` zeros, then a convolution.

    It interpolates nothing by itself: the convolution has to remove the images, and sees its own
    taps one phase at a time, as a transposed convolution's. Artifacts: *tonal*, at multiples of the
    output rate / ``stride``, from random weights ([1] Sec. 2), and where ``kernel_size`` is no
    multiple of ``stride`` from uneven overlap as well; no filtering, as all images pass. For the
    settings, see :class:`Interpolation`.

    Example:
        >>> import torch
        >>> Stretch(2, 3, stride=4)(torch.zeros(1, 2, 10)).shape
        torch.Size([1, 3, 40])
    """

    name = "stretch"

    def interpolation_kernel(self) -> InterpolationKernel:
        return stretch_kernel(self.stride)
