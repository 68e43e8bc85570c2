r"""One convolution at the output rate in three exact forms: plain, folded and commuted.

Interpolation by a fixed kernel, then a convolution with learnable taps :math:`W`, is one linear
map. With :math:`u` the upsampled signal, :math:`u[j s + r] = \sum_t g_r[t] \, x[j + t - b]`, and
:math:`p` samples of padding before it,

.. math:: y[n] = \sum_k W[k] \, u[n + k - p].

**Plain** is this order of operations: :math:`s K` multiply-adds per input sample and channel pair,
and :math:`u` in memory. Set :math:`n = j s + r - d` and :math:`e = r - d + k - p`. Then
:math:`u[j s + e] = \sum_t g_{e \bmod s}[t] \, x[j + \lfloor e / s \rfloor + t - b]`, so with the
constants

.. math:: M[k, r, q] = g_{e \bmod s}[q - c - \lfloor e / s \rfloor + b]

(zero where the index leaves the kernel) and :math:`c` chosen so that :math:`q` starts at 0,

.. math:: y[j s + r - d] = \sum_k W[k] \sum_q M[k, r, q] \, x[j + q - c].

**Folded** sums over :math:`k` first: :math:`s` filters of :math:`Q` taps at the input rate, and a
merge of their outputs: :math:`s Q` multiply-adds. The delay :math:`d` only says where a period of
:math:`s` output samples begins; it is chosen to make :math:`Q` least (nearest neighbours with
:math:`s = 4, K = 9`: 12 multiply-adds instead of 36; linear: 16).

**Commuted** sums over :math:`q` last: :math:`K` products :math:`P[k, m] = W[k] x[m]`, which are one
matrix product of :math:`K` multiply-adds, and then fixed filters :math:`M` on the output channels.
It is the transposed convolution with the same taps, followed by the interpolation kernel.

Near its ends :math:`u` is not what the steady :math:`M` says: the interpolation clamps or reflects
its input there, and the convolution sees its own padding. The frames that this reaches are found by
comparing :math:`u` with the steady response, sample by sample, and get constants of their own, in
the commuted order. So every sample of every form is the plain one's, up to rounding.

Kernels that need zeros only beyond the ends of :math:`x` (nearest neighbours, zero insertion) have
no such frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from .kernels import BORDERS, InterpolationKernel, interpolate

BORDER_TOLERANCE = 1e-12

LARGE = 2**22
"""Constants of more numbers stay overlapping views of fewer, where they are such."""


@dataclass(frozen=True, eq=False)
class FormConstants:
    """What the folded and the commuted form are made of, in float64 on the CPU.

    Args:
        steady: ``(K, stride, Q)``, the :math:`M` above.
        head: ``(K, inputs, samples)``: how the first samples depend on the products of the first
            inputs; ``samples`` is a multiple of ``stride``, 0 where no frame needs it.
        tail: The same for the last samples and inputs.
        lead: :math:`c`.
        delay: :math:`d`.
        least_time: Input samples from which on head and tail do not meet.
    """

    steady: Tensor
    head: Tensor
    tail: Tensor
    lead: int
    delay: int
    least_time: int

    def flipped(self) -> FormConstants:
        """The same for taps that come in reverse, as those of a transposed convolution."""
        return replace(
            self, steady=self.steady.flip(0), head=self.head.flip(0), tail=self.tail.flip(0)
        )

    @property
    def folding_sums(self) -> bool:
        """Whether a folded tap is a sum of taps, not merely one that has moved."""
        return bool(((self.steady != 0).sum(0) > 1).any())

    def rows_to_shift(self) -> list[int]:
        """Where every tap at the input rate is a row of ``stride`` taps: which; else nothing."""
        taps, stride, low_rate_taps = self.steady.shape
        if self.head.numel() or self.tail.numel() or taps != stride * low_rate_taps:
            return []
        blocks = self.steady.unflatten(0, (-1, stride))
        rows: list[int] = blocks.sum((1, 2)).argmax(0).tolist()
        shifts = torch.zeros_like(blocks)
        for q, row in enumerate(rows):
            shifts[row, :, :, q] = torch.eye(stride, dtype=shifts.dtype, device="cpu")
        return rows if torch.equal(shifts, blocks) else []


def derive(
    kernel: InterpolationKernel, kernel_size: int, padding: tuple[int, int], padding_mode: str
) -> FormConstants:
    """The constants, from the plain form's response to impulses.

    Args:
        kernel: The interpolation.
        kernel_size: Taps of the convolution.
        padding: Samples before and after the upsampled signal.
        padding_mode: What they are.
    """
    stride = kernel.stride
    reach = kernel.taps + -(-(kernel_size + max(padding)) // stride)
    time = 2 * reach + 4
    length = time * stride + sum(padding)
    upsampled, steady = _responses(kernel, time, padding, padding_mode)

    middle = time // 2
    choices = []
    for delay in range(stride):
        begin = middle * stride - delay
        first, last = _inputs_in(steady[None, :, begin : begin + stride + kernel_size - 1])
        choices.append((last - first, delay, first, last))
    _, delay, first, last = min(choices)
    seen = _windows(steady, kernel_size, middle * stride - delay, stride)

    differs = (upsampled - steady).abs().amax(0) > BORDER_TOLERANCE
    places = differs.nonzero()[:, 0].tolist()
    early = max((place for place in places if place < length // 2), default=-1)
    late = min((place for place in places if place >= length // 2), default=length)
    frames = -(-(length - kernel_size + 1 + delay) // stride)
    head_frames = (early + delay) // stride + 1 if early >= 0 else 0
    kept = (late - kernel_size + 1 + delay) // stride if late < length else frames

    around = F.pad(upsampled, (delay, stride))
    head = _windows(around, kernel_size, 0, head_frames * stride)
    tail = _windows(around, kernel_size, kept * stride, (frames - kept) * stride)
    seen_first = around[None, :, : head_frames * stride + kernel_size - 1 if head_frames else 0]
    seen_last = around[None, :, kept * stride : frames * stride + kernel_size - 1]
    head = head[:, : _inputs_in(seen_first)[1]]
    tail = tail[:, _inputs_in(seen_last)[0] if kept < frames else time :]

    lead = middle - first
    spare = [time - 1, time - 1 - head_frames + lead]  # samples that could go without harm
    if head_frames:
        reached = head_frames * stride - delay + kernel_size - 1
        spare += [time - head.shape[1], (late - reached) // stride]
    if kept < frames:
        spare += [time - tail.shape[1], (kept * stride - delay - early - 1) // stride]
    if head_frames or kept < frames:
        spare.append(kept - head_frames - 1)
    return FormConstants(
        seen[:, first:last].transpose(1, 2), head, tail, lead, delay, time - min(spare)
    )


def _responses(
    kernel: InterpolationKernel, time: int, padding: tuple[int, int], padding_mode: str
) -> tuple[Tensor, Tensor]:
    """The padded upsampled signal for an impulse at every input, ``(time, samples)``: as it is, and
    as it would be if the input went on with zeros forever."""
    impulses = torch.eye(time, dtype=torch.float64, device="cpu")[None]
    upsampled = F.pad(interpolate(impulses, kernel), padding, BORDERS[padding_mode])[0]
    endless = InterpolationKernel(kernel.branches, kernel.before, "zeros")
    steady = interpolate(F.pad(impulses, (time, time)), endless)[0]
    start = time * kernel.stride - padding[0]
    return upsampled, steady[:, start : start + upsampled.shape[1]]


def _windows(signal: Tensor, size: int, begin: int, samples: int) -> Tensor:
    """What ``samples`` outputs from ``begin`` on see: ``(size, inputs, samples)``."""
    seen = signal[:, begin : begin + samples + size].unfold(1, size, 1)
    return seen[:, :samples].permute(2, 0, 1)


def _inputs_in(constants: Tensor) -> tuple[int, int]:
    """The range of inputs that any sample depends on."""
    used = constants.any(2).any(0).nonzero()[:, 0].tolist()
    return (used[0], used[-1] + 1) if used else (0, 0)


def converted(x: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """``x.to(device, dtype)``; what shares memory, as large overlapping windows do, still does."""
    numbers = x.untyped_storage().nbytes() // x.element_size()
    if x.numel() <= max(numbers, LARGE):
        return x.to(device, dtype)
    whole = x.as_strided((numbers,), (1,), 0).to(device, dtype)
    return whole.as_strided(x.shape, x.stride(), x.storage_offset())
