"""Run a function over a long signal in overlapping chunks, in bounded memory.

Neighbouring chunks are joined by a linear cross-fade over the samples they share. The two ramps add
up to one at every sample, so nothing is rescaled: a function that works sample by sample gives what
it gives for the whole signal at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

Context = Callable[[int], tuple[int, int]]
"""For a chunk of so many samples, how many samples a function needs before and after it."""

Match = Callable[[Tensor, Tensor], Tensor]
"""Of a reference ``(n_src, ..., time)`` and estimates of at least that length: the estimates in the
order of the reference. For networks whose sources come in any order."""


def no_context(time: int) -> tuple[int, int]:
    """The context of a function that sees nothing but the chunk."""
    return 0, 0


def separate_chunks(
    function: Callable[[Tensor], Tensor],
    read: Callable[[int, int], Tensor],
    total: int,
    chunk: int,
    overlap: int,
    match: Match | None = None,
    context: Context = no_context,
    batch: int = 1,
) -> Iterator[Tensor]:
    """Yield the output of ``function`` block by block, in order and without gaps.

    Only the chunks of one call are in memory, with their context.

    Args:
        function: ``(n, channels, before + time + after)`` -> ``(n, ..., time)`` or longer (the rest
            is dropped), for up to ``batch`` chunks of one length, with its ``context``.
        read: ``read(start, stop)`` gives the input samples ``(channels, stop - start)``.
        total: Length of the whole signal in samples.
        chunk: Length of a chunk in samples, at least 1; the last one may be shorter.
        overlap: Samples shared by neighbouring chunks, at most half a chunk.
        match: Brings the sources of a chunk into the order of the chunk before.
        context: ``context(time)`` gives ``(before, after)``, the samples around a chunk that
            ``function`` needs. Beyond the ends of the signal these are zeros.
        batch: How many chunks at most go through ``function`` in one call.

    Yields:
        Blocks ``(..., time)``, one for each chunk; their lengths add up to ``total``.

    Raises:
        ValueError: If ``chunk``, ``overlap`` or ``batch`` is out of range.
    """

    def segment(start: int, stop: int) -> Tensor:
        before, after = context(stop - start)
        x = read(max(0, start - before), min(total, stop + after))
        return F.pad(x, (max(0, before - start), max(0, stop + after - total)))

    tail: Tensor | None = None
    for spans in _spans(total, chunk, overlap, batch):
        outputs = function(torch.stack([segment(*span) for span in spans]))
        for (start, stop), output in zip(spans, outputs, strict=True):
            y = output[..., : stop - start]
            if tail is not None:
                y = y if match is None or overlap == 0 else match(tail, y)
                ramp = ((torch.arange(overlap) + 0.5) / max(1, overlap)).to(y)  # fades in
                y = torch.cat([tail * (1 - ramp) + y[..., :overlap] * ramp, y[..., overlap:]], -1)
            if stop == total:
                yield y
                return
            yield y[..., : chunk - overlap]
            tail = y[..., chunk - overlap :].clone()  # a view would keep the whole batch
        del outputs, output, y  # before the next batch is read


def overlap_add(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    chunk: int,
    overlap: int,
    context: Context = no_context,
    batch: int = 1,
) -> Tensor:
    """:func:`separate_chunks` for a signal in memory.

    Args:
        function: As there, and so are the other arguments.
        x: ``(channels, time)``, at least one sample.

    Returns:
        ``(..., time)``.

    Example:
        >>> x = torch.arange(10.).reshape(1, 10)
        >>> torch.allclose(overlap_add(lambda chunk: 2 * chunk, x, chunk=4, overlap=2), 2 * x)
        True
    """

    def read(start: int, stop: int) -> Tensor:
        return x[..., start:stop]

    total = x.shape[-1]
    blocks = separate_chunks(function, read, total, chunk, overlap, context=context, batch=batch)
    return torch.cat(list(blocks), -1)


def _spans(total: int, chunk: int, overlap: int, batch: int) -> Iterator[list[tuple[int, int]]]:
    """Where chunks start and stop, in lists of up to ``batch`` chunks of one length."""
    if chunk < 1 or not 0 <= overlap <= chunk // 2:
        raise ValueError(
            f"chunk {chunk} and overlap {overlap} (samples): chunk must be at least 1 and overlap "
            "between 0 and half a chunk"
        )
    if batch < 1:
        raise ValueError(f"batch {batch} (chunks): must be at least 1")
    starts = range(0, max(1, total - overlap), chunk - overlap) if total else ()
    spans = [(start, min(start + chunk, total)) for start in starts]
    short = spans[-1:] if spans and spans[-1][1] - spans[-1][0] < chunk else []
    whole = spans[: len(spans) - len(short)]
    yield from (whole[first : first + batch] for first in range(0, len(whole), batch))
    if short:
        yield short
