"""Transposed convolution ([1] Sec. 2)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from ..dsp import InterpolatedConvolution, center_trim, stretch_kernel, transposed_length
from .base import Borders, register
from .polyphase import COSTS, PolyphaseUpsampler
from .tone_free import keep_tone_free


@register
class Transposed(PolyphaseUpsampler):
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
        init: ``"random"`` draws every tap, as torch does; ``"constant"`` draws one value a filter,
            so that the layer starts without tones unless the overlap is partial ([1] Fig. 4, 5).
        tone_free: Whether the taps of every phase are held to the same sum through training, so
            that a constant makes no tone whatever the layer learns (:func:`keep_tone_free`).
        form: ``"plain"`` is torch's transposed convolution, ``"folded"`` a convolution at the input
            rate, ``"commuted"`` a matrix product and a sum of shifted rows; ``"auto"`` takes the
            fastest. All compute the same, see :class:`PolyphaseUpsampler`.

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
    taps_per_output = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        kernel_size: int | None = None,
        bias: bool = True,
        trim: bool = True,
        init: str = "random",
        tone_free: bool = False,
        form: str = "auto",
    ):
        self.trim = self._flag("trim", trim)
        self.init = self._one_of("init", init, ("random", "constant"))
        self.tone_free = self._flag("tone_free", tone_free)
        super().__init__(in_channels, out_channels, stride, kernel_size, bias, form)
        if tone_free:
            keep_tone_free(self, self.stride, phases_first=False)

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

    def make_convolution(self) -> InterpolatedConvolution:
        cut = (self.kernel_size - self.stride) // 2 if self.trim else 0
        after = cut if self.trim else self.kernel_size - self.stride
        padding = (self.kernel_size - 1 - cut, after)
        kernel = stretch_kernel(self.stride)
        return InterpolatedConvolution(kernel, self.kernel_size, padding, flipped=True)

    def borders(self) -> Borders:
        excess = self.kernel_size - self.stride
        cut = excess // 2 if self.trim else 0
        tail = cut if self.trim else excess
        return Borders(self.weight.double().sum(0), self.stride, cut, tail)

    def plain(self, x: Tensor) -> Tensor:
        y = F.conv_transpose1d(x, self.weight, self.bias, stride=self.stride)
        return center_trim(y, x.shape[-1] * self.stride) if self.trim else y

    def costs(self, samples: int, device: str = "cpu") -> dict[str, float]:
        """As for the others, but the plain form is torch's own layer.

        On a CPU that is the commuted form, with the weights put in another order. Elsewhere it is
        the device library's own kernel, and is taken until something else was measured.
        """
        plain = 0.0
        if device == "cpu":
            written = COSTS[device].signal * (self.kernel_size + self.stride) / self.in_channels
            plain = samples * (self.kernel_size + written) + COSTS[device].weight * self.kernel_size
        return {**super().costs(samples, device), "plain": plain}

    @torch.no_grad()
    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.init == "constant":
            weight = cast(Tensor, self.stored("weight"))
            weight.copy_(weight[..., :1].expand_as(weight))

    def get_config(self) -> dict[str, Any]:
        own = {"trim": self.trim, "init": self.init, "tone_free": self.tone_free}
        return {**super().get_config(), **own}
