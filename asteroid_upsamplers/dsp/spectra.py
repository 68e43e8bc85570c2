"""Power spectra of long signals."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import UsageError


def welch(signal: Tensor, n_fft: int) -> Tensor:
    """Power spectrum by Welch's method: Hann windows, half overlapping, none padded.

    Args:
        signal: ``(..., time)``, at least ``n_fft`` samples.
        n_fft: Length of a window.

    Returns:
        ``(..., n_fft // 2 + 1)``, two-sided density: white noise of variance 1 gives 1 everywhere.

    Raises:
        UsageError: (a ``ValueError``) if the signal is shorter than a window.

    Example:
        >>> float(welch(torch.randn(100_000), 64)[1:-1].mean().round(decimals=1))
        1.0
    """
    if signal.shape[-1] < n_fft:
        raise UsageError(
            f"signal of {signal.shape[-1]} samples, a window of n_fft={n_fft} needs more"
        )
    window = torch.hann_window(n_fft, dtype=signal.dtype, device=signal.device)
    hop = max(1, n_fft // 2)
    power = signal.new_zeros(*signal.shape[:-1], n_fft // 2 + 1)
    frames = signal.unfold(-1, n_fft, hop)
    for frame in frames.unbind(-2):  # one at a time: a long signal has many
        power += torch.fft.rfft(frame * window).abs().square()
    return power / (frames.shape[-2] * window.square().sum())


def welch_frames(time: int, n_fft: int) -> int:
    """How many windows :func:`welch` averages over."""
    return (time - n_fft) // max(1, n_fft // 2) + 1


NOTHING_DB = -400.0
"""The level of no power at all, wherever a level is stored: JSON has no infinities."""


def decibels(power: Tensor, reference: Tensor | float = 1.0) -> Tensor:
    """Power in dB against a reference, from -400 to 400.

    No power is -400, whatever the reference; some power against none is 400; NaN is NaN, and so is
    an infinite power.

    Example:
        >>> decibels(torch.tensor([100.0, 0.0, math.nan]))
        tensor([  20., -400.,   nan])
    """
    reference = torch.as_tensor(reference, dtype=power.dtype, device=power.device)
    levels = (10 * (power / reference).log10()).clamp(NOTHING_DB, -NOTHING_DB)
    levels = torch.where(power == 0, NOTHING_DB, levels)
    known = power.isfinite() & reference.isfinite()
    return torch.where(known, levels, math.nan)
