"""The shift trick: the mean of a network's outputs for delayed copies of a signal.

A network with strides answers differently to a delayed signal. The tones of its upsampling layers
stay where they are while the signal moves, so the mean over random delays, each undone in the
output, keeps what moves with the signal and weakens the rest ("randomized equivariant
stabilization", [3]).

[3] Défossez et al., "Music source separation in the waveform domain", arXiv 1911.13254.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import UsageError
from .chunks import Context, Match

MAX_SHIFT = 0.5
"""The longest delay in s ([3])."""


def shift_averaged(
    function: Callable[[Tensor], Tensor],
    shifts: int,
    max_shift: int,
    seed: int = 0,
    match: Match | None = None,
) -> Callable[[Tensor], Tensor]:
    """The mean of ``function`` over random delays, the same ones in every call.

    Args:
        function: ``(batch, channels, time)`` -> ``(batch, ..., time)``, or less by the context that
            it needs.
        shifts: How many delays are averaged, at least 1.
        max_shift: The longest delay in samples; all from 0 to it are equally likely.
        seed: Of the delays, which come from a generator of their own.
        match: Brings the sources of each output into the order of the first one.

    Returns:
        A function of ``(batch, channels, max_shift + time + max_shift)`` -> ``(batch, ..., time)``:
        it needs ``max_shift`` samples more on either side (:func:`shifted_context`).

    Example:
        >>> average = shift_averaged(torch.sin, shifts=3, max_shift=2)
        >>> x = torch.arange(10.0)[None, None]
        >>> torch.allclose(average(x), torch.sin(x[..., 2:-2]))
        True
    """
    if not isinstance(shifts, int) or shifts < 1:
        raise UsageError(f"shifts is {shifts}, must be an integer of at least 0 (0: no delays)")
    generator = torch.Generator().manual_seed(seed)
    delays = torch.randint(max_shift + 1, (shifts,), generator=generator).tolist()

    def average(x: Tensor) -> Tensor:
        length = x.shape[-1] - max_shift
        first, total = None, torch.zeros(())
        for delay in delays:
            start = max_shift - delay  # the later a signal is to begin, the earlier its segment
            y = function(x[..., start : start + length])
            y = y[..., delay : y.shape[-1] - start]
            if match is not None and first is not None:
                y = torch.stack([match(*pair) for pair in zip(first, y, strict=True)])
            first = y if first is None else first
            total = total + y
        return total / len(delays)

    return average


def shifted_context(context: Context, max_shift: int) -> Context:
    """The context that :func:`shift_averaged` needs for a function with a context of its own."""

    def wider(time: int) -> tuple[int, int]:
        before, after = context(time + max_shift)
        return before + max_shift, after + max_shift

    return wider
