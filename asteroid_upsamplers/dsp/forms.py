"""The plain, the folded and the commuted form of interpolation and a convolution, at work.

:mod:`asteroid_upsamplers.dsp.constants` derives them and says what the letters mean.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .channels_last import channels_as_samples, multiply, pad, with_bias
from .constants import converted, derive
from .kernels import BORDERS, InterpolationKernel, interpolate
from .polyphase import filtered_frames, joined
from .precision import without_autocast

SHIFTED_TAPS = 5
"""Longer kernels, as a sum of shifted signals, would be more work than what they follow."""


class InterpolatedConvolution(nn.Module):
    """Interpolation by a fixed kernel, then a convolution: the constants of its three forms.

    It holds no parameters: taps come with every call. The constants are kept in float64 and used in
    the precision the module is moved to, float32 at least.

    Args:
        kernel: The interpolation.
        kernel_size: Taps of the convolution, ``K``.
        padding: Samples before and after the upsampled signal.
        padding_mode: What they are: ``"zeros"``, ``"replicate"`` or ``"reflect"``.
        flipped: Whether taps come in reverse, as those of a transposed convolution.

    Attributes:
        exact: The constants before rounding, on the CPU.
        delay: ``d``: frame ``j`` of the output holds the samples
            ``j * stride - d + (0 .. stride - 1)``.
        low_rate_taps: ``Q``.
        head_frames: Frames at the start that the steady constants do not give.
        tail_frames: The same, at the end.
        folding_sums: Whether a folded tap is a sum of taps, not merely one that has moved.
        shifted_rows: Where the fixed filters only shift whole rows of ``stride`` taps: which row
            ``q`` shifts; else empty.
        least_time: Shorter inputs are all border: only the plain form does them.
        response: What an impulse gives after interpolation: place and value.
        short_response: Whether it is short enough for :meth:`channels_last`.

    Shape:
        ``(batch, in_channels, time)`` -> ``(batch, out_channels, output_length(time))``.
    """

    steady: Tensor
    head: Tensor
    tail: Tensor
    branches: Tensor

    def __init__(
        self,
        kernel: InterpolationKernel,
        kernel_size: int,
        padding: tuple[int, int],
        padding_mode: str = "zeros",
        flipped: bool = False,
    ):
        super().__init__()
        self.kernel = kernel
        self.stride = kernel.stride
        self.kernel_size = kernel_size
        self.padding = padding
        self.padding_mode = padding_mode
        self.flipped = flipped
        exact = derive(kernel, kernel_size, padding, padding_mode)
        self.exact = exact.flipped() if flipped else exact
        self.delay, self.lead, self.least_time = exact.delay, exact.lead, exact.least_time
        self.low_rate_taps = exact.steady.shape[2]
        self.head_frames = exact.head.shape[2] // self.stride
        self.tail_frames = exact.tail.shape[2] // self.stride
        self.folding_sums = exact.folding_sums
        self.shifted_rows = self.exact.rows_to_shift()
        self.response = kernel.response()
        self.short_response = kernel.taps <= SHIFTED_TAPS
        self.rounded = {name: getattr(self.exact, name) for name in ("steady", "head", "tail")}
        self.rounded["branches"] = kernel.branches
        for name in self.rounded:
            self.register_buffer(name, torch.empty(0), persistent=False)
        self._place(torch.promote_types(torch.get_default_dtype(), torch.float32))

    def output_length(self, time: int) -> int:
        """Samples that come out for ``time`` samples in."""
        return time * self.stride + sum(self.padding) - self.kernel_size + 1

    def plain(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The definition: ``weight`` is ``(out_channels, in_channels, kernel_size)``."""
        upsampled = F.pad(interpolate(x, self.kernel), self.padding, BORDERS[self.padding_mode])
        return F.conv1d(upsampled, weight, bias)

    def fold(self, weight: Tensor) -> Tensor:
        """The taps at the input rate: ``(..., K)`` -> ``(..., stride, Q)``."""
        with without_autocast(weight.device):
            folded = weight.to(self.steady.dtype) @ self.steady.flatten(1)
        return folded.unflatten(-1, self.steady.shape[1:]).to(weight.dtype)

    def folded(
        self,
        x: Tensor,
        low_rate_weight: Tensor,
        multiply: Callable[[Tensor], Tensor],
        bias: Tensor | None,
    ) -> Tensor:
        """Filter at the input rate, then merge.

        Args:
            x: ``(batch, in_channels, time)``, at least ``least_time`` samples.
            low_rate_weight: ``(out_channels * stride, in_channels, Q)``, from :meth:`fold`.
            multiply: As for :meth:`commuted`; called where there are border frames.
            bias: ``(out_channels,)`` or ``None``.
        """
        phase_bias = None if bias is None else torch.stack([bias] * self.stride, 1).flatten()
        window, padding, first, frames = self._steady_part(x.shape[-1])
        pieces = filtered_frames(
            x, low_rate_weight, phase_bias, self.stride, window, padding, first, frames
        )
        if self.head_frames or self.tail_frames:
            ends = self._ends(self._products(self._near_ends(x), multiply))
            if bias is not None:
                ends = [end + bias[:, None, None] for end in ends]
            size = len(pieces[0])
            pieces = [
                torch.cat([head.to(piece.dtype), piece, tail.to(piece.dtype)], 2)
                for head, piece, tail in zip(
                    ends[0].split(size), pieces, ends[1].split(size), strict=True
                )
            ]
        return self._merged(joined(pieces), x.shape[-1])

    def commuted(
        self, x: Tensor, multiply: Callable[[Tensor], Tensor], bias: Tensor | None
    ) -> Tensor:
        """One matrix product for all taps, then the fixed filters on the output channels.

        Args:
            x: ``(batch, in_channels, time)``, at least ``least_time`` samples.
            multiply: The product of all taps, ``(out_channels * K, in_channels)``, with a matrix.
            bias: ``(out_channels,)`` or ``None``.
        """
        window, padding, first, frames = self._steady_part(x.shape[-1])
        products = self._products(x, multiply)
        dtype = products.dtype
        with without_autocast(x.device):
            products = products.to(self.steady.dtype)
            if self.shifted_rows:
                z = self._shifted_sum(products[..., window], padding)
            else:
                constants = self.steady.transpose(0, 1)[:, :, None]
                z = F.conv2d(products[..., window], constants, padding=(0, padding))
            y = z[..., first : first + frames].permute(2, 0, 3, 1)
            if self.head_frames or self.tail_frames:
                head, tail = self._ends(self._near_ends(products))
                y = torch.cat([head, y, tail], 2)
            y = self._merged(y, x.shape[-1])
            return (y if bias is None else y + bias[:, None]).to(dtype)

    def channels_last(
        self,
        x: Tensor,
        weight: Tensor,
        multiply_all: Callable[[Tensor], Tensor],
        bias: Tensor | None,
    ) -> Tensor:
        """The commuted form for signals whose channels come last in memory.

        A transposed convolution, done as a convolution at the input rate, then the interpolation's
        own response as a sum of shifted signals. A single tap beyond whole periods (``K = 2 s +
        1``) is interpolated by itself: filled up with zeros to a period, it would cost as much as
        ``s`` of them.

        Args:
            x: ``(batch, in_channels, time)``, at least ``least_time`` samples.
            weight: Taps as a transposed convolution has them, ``(in_channels, out_channels, K)``.
            multiply_all: As ``multiply`` of :meth:`commuted`; called where there are border frames.
            bias: ``(out_channels,)`` or ``None``.
        """
        stride, time = self.stride, x.shape[-1]
        first = self.kernel_size - 1 - self.padding[0]  # taps before the first sample
        alone = self.kernel_size > stride and self.kernel_size % stride == 1
        whole = weight[..., :-1] if alone else F.pad(weight, (0, -self.kernel_size % stride))
        filters = whole.unflatten(2, (-1, stride)).flip(2).permute(3, 1, 0, 2).flatten(0, 1)
        reach = filters.shape[-1] - 1
        length = self.output_length(time)
        earliest, latest = self.response[0][0], self.response[-1][0]
        before = max(0, -((first - latest) // stride))
        after = -(-(length + first - earliest) // stride) - (time + reach)
        around = max(before, after)
        z = channels_as_samples(multiply(x, filters, reach + around), stride)
        start = first + around * stride
        terms = [(z[..., start - e : start - e + length], c) for e, c in self.response]
        with without_autocast(x.device):
            if len(terms) == 1 and terms[0][1] == 1:
                y = terms[0][0]
            else:
                sums = [part.to(self.steady.dtype) * c for part, c in terms]
                y = sum(sums[1:], sums[0])
        if alone:
            last = multiply(x, weight[..., -1:].transpose(0, 1))
            y = y + self._interpolated(last, first - self.kernel_size + 1, length)
        y = y.to(z.dtype)
        if self.head_frames or self.tail_frames:
            ends = self._ends(self._products(self._near_ends(x), multiply_all))
            head, tail = (end.flatten(2).to(z.dtype) for end in ends)
            begin = max(0, head.shape[-1] - self.delay)
            stop = self._frame_count(time) * stride - tail.shape[-1] - self.delay
            parts = head[..., self.delay :], y[..., begin:stop], tail[..., : length - stop]
            y = torch.cat([part.transpose(1, 2) for part in parts], 1).transpose(1, 2)
        return with_bias(y, bias)

    def _interpolated(self, x: Tensor, start: int, length: int) -> Tensor:
        """Samples ``start ... start + length - 1`` of the interpolation, zeros beyond the ends.

        ``(batch, channels, time)`` -> ``(batch, channels, length)``, channels last.
        """
        stride, taps = self.stride, self.kernel.taps
        first, frames = start // stride, (start + length - 1) // stride - start // stride + 1
        seen = first - self.kernel.before
        before, after = max(0, -seen), max(0, seen + frames + taps - 1 - x.shape[-1])
        with without_autocast(x.device):
            x = pad(x, (before, after)).to(self.steady.dtype)[:, None, :, seen + before :]
            branches = self.branches[:, None, :, None]
            terms = [x[..., t : t + frames] * branches[:, :, t] for t in range(taps)]
            y = channels_as_samples(sum(terms[1:], terms[0]).flatten(1, 2), stride)
        return y[..., start - first * stride :][..., :length]

    def _products(self, x: Tensor, multiply: Callable[[Tensor], Tensor]) -> Tensor:
        """Every tap times every sample, ``(out_channels, K, batch, time)``: one matrix product."""
        products = multiply(x.transpose(0, 1).flatten(1))
        return products.unflatten(0, (-1, self.kernel_size)).unflatten(-1, (len(x), -1))

    def _shifted_sum(self, products: Tensor, padding: int) -> Tensor:
        """The fixed filters of a transposed convolution with full overlap: nothing but shifts."""
        rows = F.pad(products, (padding, padding)).unflatten(1, (-1, self.stride))
        length = rows.shape[-1] - self.low_rate_taps + 1
        shifted = [rows[:, r, ..., q : q + length] for q, r in enumerate(self.shifted_rows)]
        return sum(shifted[1:], shifted[0])

    def _near_ends(self, x: Tensor) -> Tensor:
        """The inputs that the border frames are made of."""
        return torch.cat(
            [x[..., : self.head.shape[1]], x[..., x.shape[-1] - self.tail.shape[1] :]], -1
        )

    def _ends(self, products: Tensor) -> list[Tensor]:
        """The border frames, ``(batch, out_channels, frames, stride)``."""
        ends = []
        with without_autocast(products.device):
            products = products.to(self.steady.dtype).permute(2, 0, 1, 3)
            parts = products.split([self.head.shape[1], self.tail.shape[1]], -1)
            for part, constants in zip(parts, (self.head, self.tail), strict=True):
                samples = part.flatten(2) @ constants.flatten(0, 1)
                ends.append(samples.unflatten(-1, (-1, self.stride)))
        return ends

    def _merged(self, frames: Tensor, time: int) -> Tensor:
        """``(batch, out_channels, frames, stride)`` -> the samples of the output."""
        return frames.flatten(2)[..., self.delay : self.delay + self.output_length(time)]

    def _frame_count(self, time: int) -> int:
        return -(-(self.output_length(time) + self.delay) // self.stride)

    def _steady_part(self, time: int) -> tuple[slice, int, int, int]:
        """What the steady frames need: input samples, zeros around them, the first frame to keep,
        and how many."""
        first, last = self.head_frames, self._frame_count(time) - self.tail_frames
        start, stop = first - self.lead, last - self.lead + self.low_rate_taps - 1
        padding = max(0, -start, stop - time)
        skip = padding - max(0, -start)
        return slice(max(0, start), min(stop, time)), padding, skip, last - first

    def _apply(
        self, fn: Callable[[Tensor], Tensor], recurse: bool = True
    ) -> InterpolatedConvolution:
        for name in self.rounded:  # they are rounded anew and not converted, which takes long
            setattr(self, name, getattr(self, name)[:0])
        super()._apply(fn, recurse)
        self._place(torch.promote_types(self.steady.dtype, torch.float32))
        return self

    def _place(self, dtype: torch.dtype) -> None:
        """Round the exact constants once, whatever precisions the module has gone through."""
        for name, exact in self.rounded.items():
            setattr(self, name, converted(exact, getattr(self, name).device, dtype))
