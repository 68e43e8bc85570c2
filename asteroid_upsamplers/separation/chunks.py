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
"""For a time, how many samples a function needs before and after it, beyond the chunk."""


def no_context(time: int) -> tuple[int, int]:
    """That of a function which sees the chunk only."""
    return 0, 0


def separate_chunks(
    function: Callable[[Tensor], Tensor],
    read: Callable[[int, int], Tensor],
    total: int,
    chunk: int,
    overlap: int,
    match: Callable[[Tensor, Tensor], Tensor] | None = None,
    context: Context = no_context,
    batch: int = 1,
) -> Iterator[Tensor]:
    """Yield the output of ``function`` block by block, in order and without gaps.

    Nothing is read ahead but the chunks of one call, with their context; of what was before them,
    only the samples shared with the next chunk are kept.

    Args:
        function: ``(n, channels, before + time + after)`` -> ``(n, ..., time)`` or longer (what is
            more is dropped), for n chunks up to ``batch``, any time up to ``chunk`` and the
            ``context`` of that time.
        read: ``read(start, stop)`` gives the input samples ``(channels, stop - start)``.
        total: Length of the whole signal in samples.
        chunk: Length of a chunk in samples.
        overlap: Samples shared by neighbouring chunks, at most half a chunk.
        match: Called with what the last chunk gave for the shared samples, ``(..., overlap)``, and
            with all that this one gave; what it returns takes the place of that. For networks whose
            sources come in any order.
        context: ``context(time)`` gives ``(before, after)``: what ``function`` sees on either side
            of a chunk; beyond the ends of the signal these are zeros.
        batch: How many consecutive chunks at most go through ``function`` in one call; a last chunk
            that is shorter goes alone.

    Yields:
        Blocks ``(..., time)`` whose times add up to ``total``, one for each chunk.

    Raises:
        ValueError: If ``chunk``, ``overlap`` or ``batch`` makes no sense.
    """
    if chunk < 1 or not 0 <= overlap <= chunk // 2:
        raise ValueError(
            f"chunk {chunk} and overlap {overlap} (samples): chunk must be at least 1 "
            "and overlap between 0 and half a chunk"
        )
    if batch < 1:
        raise ValueError(f"batch {batch} (chunks): it must be at least 1")

    def excerpt(start: int, stop: int) -> Tensor:
        before, after = context(stop - start)
        x = read(max(0, start - before), min(total, stop + after))
        return F.pad(x, (max(0, before - start), max(0, stop + after - total)))

    fade_in = (torch.arange(overlap) + 0.5) / max(1, overlap)
    tail: Tensor | None = None
    for places in chunk_batches(total, chunk, overlap, batch):
        outputs = function(torch.stack([excerpt(*place) for place in places]))
        for (start, stop), output in zip(places, outputs, strict=True):
            y = output[..., : stop - start]
            if tail is not None:
                y = y if match is None or overlap == 0 else match(tail, y)
                ramp = fade_in.to(y)
                y = torch.cat([tail * (1 - ramp) + y[..., :overlap] * ramp, y[..., overlap:]], -1)
            if stop == total:
                yield y
                return
            yield y[..., : chunk - overlap]
            tail = y[..., chunk - overlap :].clone()  # a view would keep the whole batch
        del outputs, output, y  # before the next batch is read


def chunk_batches(
    total: int, chunk: int, overlap: int, batch: int
) -> Iterator[list[tuple[int, int]]]:
    """Where the chunks of a signal start and stop, up to ``batch`` of one length at a time.

    Args:
        total: Length of the whole signal in samples.
        chunk: Length of a chunk in samples; the last one may be shorter.
        overlap: Samples shared by neighbouring chunks.
        batch: How many chunks at most.

    Example:
        >>> list(chunk_batches(total=11, chunk=4, overlap=1, batch=2))
        [[(0, 4), (3, 7)], [(6, 10)], [(9, 11)]]
    """
    places: list[tuple[int, int]] = []
    start = stop = 0
    while stop < total:
        stop = min(start + chunk, total)
        if len(places) == batch or (places and stop - start < chunk):
            yield places
            places = []
        places.append((start, stop))
        start += chunk - overlap
    if places:
        yield places


def overlap_add(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    chunk: int,
    overlap: int,
    context: Context = no_context,
    batch: int = 1,
) -> Tensor:
    """:func:`separate_chunks` for a signal that is in memory.

    Args:
        function: As there.
        x: ``(channels, time)``, at least one sample.
        chunk: As there.
        overlap: As there.
        context: As there.
        batch: As there.

    Returns:
        ``(..., time)``.

    Example:
        >>> x = torch.arange(10.).reshape(1, 10)
        >>> torch.allclose(overlap_add(lambda chunk: 2 * chunk, x, chunk=4, overlap=2), 2 * x)
        True
    """
    blocks = separate_chunks(
        function,
        lambda start, stop: x[..., start:stop],
        x.shape[-1],
        chunk,
        overlap,
        context=context,
        batch=batch,
    )
    return torch.cat(list(blocks), -1)
