"""The shift trick: a network's mean answer to a signal that begins a little earlier or later.

A network with strides answers differently to a delayed signal, tones of its upsampling layers
included: they stay where they are while the signal moves. Delayed by random times, put back and
averaged, the answers agree on the signal and not on the rest ("randomized equivariant
stabilization", [3]).

[3] Défossez et al., "Music source separation in the waveform domain", arXiv 1911.13254.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from .chunks import Context


def shift_averaged(
    function: Callable[[Tensor], Tensor],
    shifts: int,
    max_shift: int,
    generator: Generator,
    match: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Callable[[Tensor], Tensor]:
    """The mean of ``function`` over random delays.

    Args:
        function: ``(1, channels, time)`` -> ``(1, ..., time)``, or what it gives for its own
            context.
        shifts: How many delays are averaged, at least 1.
        max_shift: The longest delay in samples; all from 0 up are equally likely.
        generator: Draws the delays.
        match: Called with the first answer and with each other one, both without the first
            dimension; what it returns takes the place of that. For networks whose sources come in
            any order.

    Returns:
        A function of ``(1, channels, max_shift + time + max_shift)`` -> ``(1, ..., time)``: it
        takes ``max_shift`` samples more on either side, see :func:`shifted_context`.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> average = shift_averaged(torch.sin, shifts=3, max_shift=2, generator=generator)
        >>> x = torch.arange(10.0)[None, None]
        >>> torch.allclose(average(x), torch.sin(x[..., 2:-2]))
        True
    """

    def average(x: Tensor) -> Tensor:
        length = x.shape[-1] - max_shift
        answers: list[Tensor] = []
        for delay in torch.randint(max_shift + 1, (shifts,), generator=generator).tolist():
            start = max_shift - delay  # the later a signal is to begin, the earlier its extract
            y = function(x[..., start : start + length])
            y = y[..., delay : y.shape[-1] - start]
            answers.append(y if match is None or not answers else match(answers[0][0], y[0])[None])
        return torch.stack(answers).mean(0)

    return average


def shifted_context(context: Context, max_shift: int) -> Context:
    """The context of :func:`shift_averaged`, of a function with a context of its own."""

    def wider(time: int) -> tuple[int, int]:
        before, after = context(time + max_shift)
        return before + max_shift, after + max_shift

    return wider
