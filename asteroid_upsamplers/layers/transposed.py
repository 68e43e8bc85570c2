"""Transposed convolution ([1] Sec. 2)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..dsp import InterpolatedConvolution, center_trim, stretch_kernel, transposed_length
from .base import register
from .polyphase import CPU, PolyphaseUpsampler
from .settings import flag, integer, one_of
from .tone_free import equal_phase_gains


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
            that a constant makes no tone whatever the layer learns (:func:`equal_phase_gains`).
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
        self.trim = flag(self.name, "trim", trim)
        self.init = one_of(self.name, "init", init, ("random", "constant"))
        self.tone_free = flag(self.name, "tone_free", tone_free)
        stride = integer(self.name, "stride", stride)
        kernel_size = 2 * stride if kernel_size is None else kernel_size
        super().__init__(in_channels, out_channels, stride, kernel_size, bias, form, stride)

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

    def filters(self) -> Tensor:
        if not self.tone_free:
            return self.weight
        return equal_phase_gains(self.weight, self.stride, phases_first=False)

    def plain(self, x: Tensor) -> Tensor:
        y = F.conv_transpose1d(x, self.filters(), self.bias, stride=self.stride)
        return center_trim(y, x.shape[-1] * self.stride) if self.trim else y

    def costs(self, samples: int) -> dict[str, float]:
        """As for the others, but the plain form is torch's own layer.

        On a CPU that is the commuted form, with the weights put in another order.
        """
        written = CPU.signal * (self.kernel_size + self.stride) / self.in_channels
        plain = samples * (self.kernel_size + written) + CPU.weight * self.kernel_size
        return {**super().costs(samples), "plain": plain}

    def fastest_on_gpu(self, samples: int, may_fold: bool) -> str:
        return "plain"

    def draw(self, name: str) -> Tensor:
        values = super().draw(name)
        same = self.init == "constant" and name == "weight"
        return values[..., :1].expand_as(values) if same else values
