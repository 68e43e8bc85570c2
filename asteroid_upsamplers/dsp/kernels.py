r"""Fixed interpolation kernels, by polyphase branch.

Interpolation by a factor :math:`s` convolves the zero-stuffed signal with a kernel :math:`g`.
Branch :math:`r` of it makes every output sample :math:`n` with :math:`n \bmod s = r`:

.. math:: u[j s + r] = \sum_t g_r[t] \, x[j + t - b], \qquad 0 \le r < s,

with :math:`b` taps before the current input sample. Every branch is normalised to a sum of 1, so
that a constant stays the constant at any factor; a kernel that is only normalised as a whole makes
a tone. (Zero insertion is the exception: it is no interpolation, and its branches are 1 and 0.)

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
[2] Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 29, 1981.
[3] Kinoshita and Kiya, "Fixed smooth convolutional layer for avoiding checkerboard artifacts in
CNNs", arXiv 2002.02117.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from .polyphase import filter_bank
from .precision import without_autocast

BORDERS = {"zeros": "constant", "replicate": "replicate", "reflect": "reflect"}
"""How a signal goes on beyond its ends: as ``nn.Conv1d`` calls it, and as ``F.pad`` does."""

WINDOWED_TAPS = 8
"""Up to here a product with a copy of every window is faster than one with copies of blocks."""


@dataclass(frozen=True, eq=False)
class InterpolationKernel:
    """A fixed kernel, its alignment, and how the signal goes on beyond its ends.

    Args:
        branches: ``(stride, taps)``, float64 on the CPU: row ``r`` makes phase ``r``.
        before: Taps before the current input sample, from 0 to ``taps - 1``.
        border: ``"zeros"``, ``"replicate"`` or ``"reflect"``.
    """

    branches: Tensor
    before: int
    border: str = "replicate"

    @cached_property
    def stride(self) -> int:
        """Upsampling factor."""
        return self.branches.shape[0]

    @cached_property
    def taps(self) -> int:
        """Input samples that an output sample is made of."""
        return self.branches.shape[1]

    def response(self) -> list[tuple[int, float]]:
        """What an impulse at sample 0 gives, far from the borders: place and value, no zeros."""
        first = (self.before + 1 - self.taps) * self.stride
        values = self.branches.flip(1).T.flatten().tolist()
        return [(first + place, value) for place, value in enumerate(values) if value]


def interpolate(x: Tensor, kernel: InterpolationKernel) -> Tensor:
    """Raise the rate of a signal by ``kernel.stride``.

    The sums are formed in float32 at least: branches that are rounded to half precision no longer
    add up to the same sum, which is a tone.

    Args:
        x: ``(batch, channels, time)``; with the border ``"reflect"``, longer than the taps on
            either side.
        kernel: For example ``linear_kernel(4)``.

    Returns:
        ``(batch, channels, time * stride)``, in the precision of ``x``.

    Example:
        >>> interpolate(torch.tensor([[[0., 4.]]]), linear_kernel(4))
        tensor([[[0.0000, 0.0000, 0.5000, 1.5000, 2.5000, 3.5000, 4.0000, 4.0000]]])
    """
    around = (kernel.before, kernel.taps - 1 - kernel.before)
    exact = x.to(torch.promote_types(x.dtype, torch.float32))
    if any(around):
        exact = F.pad(exact, around, BORDERS[kernel.border])
    branches = kernel.branches.to(exact)
    with without_autocast(x.device):
        if torch.jit.is_tracing():  # ONNX's exporter knows neither unfold nor a free kernel
            signals = F.conv1d(exact.flatten(0, 1)[:, None], branches[:, None])
            upsampled = signals.transpose(1, 2).reshape(*x.shape[:2], -1)
        elif kernel.taps <= WINDOWED_TAPS:
            upsampled = (exact.unfold(-1, kernel.taps, 1) @ branches.T).flatten(2)
        else:
            merged = filter_bank(exact.flatten(0, 1)[:, None], branches[:, None])
            upsampled = merged.unflatten(0, x.shape[:2])
    return upsampled.to(x.dtype)


def nearest_kernel(stride: int) -> InterpolationKernel:
    """Every sample ``stride`` times: a rectangle ([1] Sec. 3)."""
    return InterpolationKernel(_zeros(stride, 1) + 1, 0, "zeros")


def stretch_kernel(stride: int) -> InterpolationKernel:
    """Zero insertion: every sample, then ``stride - 1`` zeros."""
    branches = _zeros(stride, 1)
    branches[0] = 1
    return InterpolationKernel(branches, 0, "zeros")


def linear_kernel(stride: int, border: str = "replicate") -> InterpolationKernel:
    """A triangle; output ``n`` lies at ``(n + 0.5) / stride - 0.5``, as in ``F.interpolate``."""
    return _centred_kernel(stride, 1, lambda t: (1 - t.abs()).clamp(min=0), border)


def cubic_kernel(
    stride: int, coefficient: float = -0.75, border: str = "replicate"
) -> InterpolationKernel:
    """Keys' cubic convolution ([2] Eq. 4), aligned as :func:`linear_kernel`.

    Args:
        stride: Upsampling factor.
        coefficient: Slope of the kernel at 1: -0.75 as in ``F.interpolate``; -0.5 is Keys' choice.
        border: As in :class:`InterpolationKernel`.
    """

    def cubic(t: Tensor) -> Tensor:
        t, a = t.abs(), coefficient
        near = ((a + 2) * t - (a + 3)) * t * t + 1
        far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
        return torch.where(t <= 1, near, torch.where(t < 2, far, torch.zeros_like(t)))

    return _centred_kernel(stride, 2, cubic, border)


def sinc_kernel(
    stride: int, zeros: int = 24, rolloff: float = 0.945, border: str = "replicate"
) -> InterpolationKernel:
    """A Hann-windowed sinc, as ``julius.resample_frac(x, 1, stride)``; output ``n`` at
    ``n / stride``.

    Args:
        stride: Upsampling factor; 1 is the identity.
        zeros: Zero crossings kept on either side, at least 1.
        rolloff: Cutoff, as a share of half the input rate; above 0, up to 1.
        border: As in :class:`InterpolationKernel`.
    """
    if stride == 1:
        return InterpolationKernel(_zeros(1, 1) + 1, 0, border)
    width = math.ceil(zeros / rolloff)
    places = _range(-width, width + 1) - _range(0, stride)[:, None] / stride
    arguments = (places * rolloff).clamp(-zeros, zeros)
    branches = torch.sinc(arguments) * torch.cos(arguments * math.pi / zeros / 2).square()
    return InterpolationKernel(branches / branches.sum(1, keepdim=True), width, border)


def hold_taps(length: int, order: int) -> Tensor:
    """A rectangle of ``length`` samples, convolved with itself ``order`` times; its sum is 1 ([3]).

    Order 0 holds a sample, order 1 is a triangle. Its spectrum is zero at every multiple of the
    sample rate / ``length``, to the power ``order + 1``.

    Example:
        >>> hold_taps(2, 1)
        tensor([0.2500, 0.5000, 0.2500], dtype=torch.float64)
    """
    rectangle = taps = (_zeros(length) + 1) / length
    for _ in range(order):
        taps = F.conv1d(F.pad(taps, (length - 1, length - 1))[None, None], rectangle[None, None])
        taps = taps[0, 0]
    return taps


def hold_kernel(stride: int, order: int, border: str = "replicate") -> InterpolationKernel:
    """:func:`hold_taps` as an interpolation, centred on the ``stride`` samples of an input sample.

    Where a sample lies on neither side of that centre, the kernel's lies half a sample earlier.

    Args:
        stride: Upsampling factor.
        order: 0 is nearest neighbours, 1 a triangle.
        border: As in :class:`InterpolationKernel`; order 0 has none.
    """
    taps = stride * hold_taps(stride, order)
    early = (order * (stride - 1) + 1) // 2
    before, after = (len(taps) - 1 - early) // stride, (stride - 1 + early) // stride
    missing = (before + after + 1) * stride - (after * stride - early) - len(taps)
    frames = F.pad(taps, (after * stride - early, missing)).unflatten(0, (-1, stride))
    return InterpolationKernel(frames.flip(0).T, before, border if len(frames) > 1 else "zeros")


def _centred_kernel(
    stride: int, reach: int, kernel: Callable[[Tensor], Tensor], border: str
) -> InterpolationKernel:
    places = (_range(0, stride)[:, None] + 0.5) / stride - 0.5
    branches = kernel(places - _range(-reach, reach + 1))
    return InterpolationKernel(branches / branches.sum(1, keepdim=True), reach, border)


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64, device="cpu")


def _range(start: int, stop: int) -> Tensor:
    return torch.arange(start, stop, dtype=torch.float64, device="cpu")
