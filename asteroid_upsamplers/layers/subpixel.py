"""Subpixel convolution: a convolution at the input rate, then the periodic shuffle ([1] Sec. 4).

[5] Aitken et al., "Checkerboard artifact free sub-pixel convolution", arXiv 1707.02937: ICNR.
"""

from __future__ import annotations

from torch import Tensor

from ..dsp import UpsamplingSystem, centered_padding
from ..dsp.channels_last import (
    channels_as_samples,
    in_its_own_order,
    multiply,
    prefers_channels_last,
    with_bias,
)
from ..dsp.polyphase import filtered_frames, interleaved, joined
from .base import Upsampler, register
from .settings import flag, one_of
from .tone_free import equal_phase_biases, equal_phase_gains


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
        init: ``"random"`` draws every filter; ``"icnr"`` ([5]) draws one an output channel and
            gives it, and its bias, to all phases: the layer starts as ``repeat(conv(x), stride)``,
            nearest neighbours after a convolution, without tones.
        tone_free: Whether the taps of every phase are held to the same sum, and their biases to the
            same value, through training, so that a constant makes no tone whatever the layer learns
            (:func:`equal_phase_gains`).

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

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        kernel_size: int | None = None,
        bias: bool = True,
        init: str = "random",
        tone_free: bool = False,
    ):
        self.init = one_of(self.name, "init", init, ("random", "icnr"))
        self.tone_free = flag(self.name, "tone_free", tone_free)
        kernel_size = 3 if kernel_size is None else kernel_size
        super().__init__(in_channels, out_channels, stride, kernel_size, bias)
        rows = self.out_channels * self.stride
        self.make_parameters((rows, self.in_channels, self.kernel_size), rows)

    def upsample(self, x: Tensor) -> Tensor:
        return filter_and_shuffle(x, *self._filters(), self.stride)

    def known_system(self) -> UpsamplingSystem:
        return shuffled_system(*self._filters(), self.stride)

    def _filters(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias as the layer uses them."""
        if not self.tone_free:
            return self.weight, self.bias
        weight = equal_phase_gains(self.weight, self.stride, phases_first=True)
        bias = None if self.bias is None else equal_phase_biases(self.bias, self.stride)
        return weight, bias

    def draw(self, name: str) -> Tensor:
        values = super().draw(name)
        if self.init == "random":
            return values
        phases = values.unflatten(0, (-1, self.stride))
        return phases[:, :1].expand_as(phases).flatten(0, 1)


def phases_first(x: Tensor, stride: int) -> Tensor:
    """``(out_channels * stride, ...)`` -> ``(stride * out_channels, ...)``."""
    return x.unflatten(0, (-1, stride)).transpose(0, 1).flatten(0, 1)


def filter_and_shuffle(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """A centred convolution to ``out_channels * stride`` channels, and the periodic shuffle."""
    before, after = centered_padding(weight.shape[-1])
    first, time = after - before, x.shape[-1]
    if prefers_channels_last(x):
        y = multiply(x, phases_first(in_its_own_order(weight), stride), after)
        y = y[..., first : first + time]
        y = with_bias(y, None if bias is None else phases_first(bias, stride))
        return channels_as_samples(y, stride)
    frames = filtered_frames(x, weight, bias, stride, slice(None), after, first, time)
    return interleaved(joined(frames))


def shuffled_system(weight: Tensor, bias: Tensor | None, stride: int) -> UpsamplingSystem:
    """What :func:`filter_and_shuffle` is; a later tap meets an impulse earlier."""
    responses = weight.unflatten(0, (-1, stride)).flip(3).permute(0, 2, 3, 1).flatten(2)
    offsets = weight.new_zeros(len(weight)) if bias is None else bias
    before = centered_padding(weight.shape[-1])[1]
    return UpsamplingSystem(responses, stride, offsets.unflatten(0, (-1, stride)), before=before)
