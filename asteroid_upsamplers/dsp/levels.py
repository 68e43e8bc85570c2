"""The level that a network for normalised music divides its input by ([3])."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

QUIETEST = 1e-4
"""Levels below -80 dB count as that: silence is not blown up."""


def mono_level(blocks: Iterable[Tensor]) -> float:
    """Standard deviation of the mono mix of a signal, at least :data:`QUIETEST`.

    Args:
        blocks: The signal in consecutive blocks ``(channels, time)``, so that a long one need not
            be in memory.

    Example:
        >>> import torch
        >>> mono_level([torch.ones(2, 3), -torch.ones(2, 3)])
        1.0
    """
    count, total, squares = 0, 0.0, 0.0
    for block in blocks:
        mono = block.double().mean(0)
        count += mono.numel()
        total += float(mono.sum())
        squares += float(mono.square().sum())
    variance = squares / max(1, count) - (total / max(1, count)) ** 2
    return max(QUIETEST, max(0.0, variance) ** 0.5)
