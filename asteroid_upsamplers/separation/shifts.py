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
    own_delays: bool = False,
) -> Callable[[Tensor], Tensor]:
    """The mean of ``function`` over random delays.

    Args:
        function: ``(batch, channels, time)`` -> ``(batch, ..., time)``, or what it gives for its
            own context.
        shifts: How many delays are averaged, at least 1.
        max_shift: The longest delay in samples; all from 0 up are equally likely.
        generator: Draws the delays.
        match: Called, for each signal of a batch, with the first answer and with each other one;
            what it returns takes the place of that. For networks whose sources come in any order.
        own_delays: Whether each signal of a batch has delays of its own, drawn one signal after the
            other, so that those of a chunk do not depend on how many are in a batch. Else all of
            them have the same.

    Returns:
        A function of ``(batch, channels, max_shift + time + max_shift)`` -> ``(batch, ..., time)``:
        it takes ``max_shift`` samples more on either side, see :func:`shifted_context`.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> average = shift_averaged(torch.sin, shifts=3, max_shift=2, generator=generator)
        >>> x = torch.arange(10.0)[None, None]
        >>> torch.allclose(average(x), torch.sin(x[..., 2:-2]))
        True
    """

    def draw() -> list[int]:
        return torch.randint(max_shift + 1, (shifts,), generator=generator).tolist()

    def average(x: Tensor) -> Tensor:
        length = x.shape[-1] - max_shift
        drawn = [draw() for _ in x] if own_delays else [draw()] * len(x)
        answers: list[Tensor] = []
        for delays in zip(*drawn, strict=True):
            # the later a signal is to begin, the earlier its extract
            starts = [max_shift - delay for delay in delays]
            delayed = [s[..., start : start + length] for s, start in zip(x, starts, strict=True)]
            outputs = zip(function(torch.stack(delayed)), delays, starts, strict=True)
            rows = [y[..., delay : y.shape[-1] - start] for y, delay, start in outputs]
            if match is not None and answers:
                rows = [match(first, y) for first, y in zip(answers[0], rows, strict=True)]
            answers.append(torch.stack(rows))
        return torch.stack(answers).mean(0)

    return average


def shifted_context(context: Context, max_shift: int) -> Context:
    """The context of :func:`shift_averaged`, of a function with a context of its own."""

    def wider(time: int) -> tuple[int, int]:
        before, after = context(time + max_shift)
        return before + max_shift, after + max_shift

    return wider
