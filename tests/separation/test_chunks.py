"""Chunked processing: no gap, no seam, no rescaling."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asteroid_upsamplers.separation import overlap_add, separate_chunks

BATCHES = [1, 2, 3, 7]


@given(
    total=st.integers(1, 200),
    chunk=st.integers(1, 60),
    share=st.floats(0, 0.5, allow_subnormal=False),
)
@settings(max_examples=200, deadline=None)
def test_a_pointwise_function_sees_no_chunks(total, chunk, share):
    overlap = int(chunk * share)
    x = torch.randn(2, total, dtype=torch.float64)
    y = overlap_add(lambda c: torch.stack([c.sin(), -2 * c], 1), x, chunk, overlap)
    torch.testing.assert_close(y, torch.stack([x.sin(), -2 * x]))


def test_no_chunk_is_longer_than_asked_and_blocks_are_consecutive():
    reads = []

    def read(start, stop):
        reads.append((start, stop))
        return torch.arange(start, stop, dtype=torch.float64)[None]

    blocks = list(separate_chunks(lambda c: c, read, 1000, 300, 100))
    assert reads == [(0, 300), (200, 500), (400, 700), (600, 900), (800, 1000)]
    assert [b.shape[-1] for b in blocks] == [200, 200, 200, 200, 200]
    torch.testing.assert_close(torch.cat(blocks, -1)[0], torch.arange(1000.0, dtype=torch.float64))


def test_the_seam_is_a_linear_cross_fade():
    offsets = iter([0.0, 1.0])
    y = overlap_add(lambda c: c + next(offsets), torch.zeros(1, 12), chunk=8, overlap=4)
    torch.testing.assert_close(
        y[0], torch.tensor([0, 0, 0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1, 1, 1])
    )


@pytest.mark.parametrize(("chunk", "overlap"), [(0, 0), (10, 6), (10, -1)])
def test_impossible_chunks_are_refused(chunk, overlap):
    with pytest.raises(ValueError, match="chunk .* overlap"):
        overlap_add(lambda c: c, torch.zeros(1, 30), chunk, overlap)


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="batch 0"):
        overlap_add(lambda c: c, torch.zeros(1, 30), 10, 0, batch=0)


def one_by_one(function, x, chunk, overlap):
    """Every chunk on its own, added to what is there over the samples that they share."""
    y = function(x[None, :, :chunk])[0]
    ramp = (torch.arange(overlap) + 0.5) / max(1, overlap)
    while y.shape[-1] < x.shape[-1]:
        start = y.shape[-1] - overlap
        more = function(x[None, :, start : start + chunk])[0]
        shared = y[..., start:] * (1 - ramp) + more[..., :overlap] * ramp
        y = torch.cat([y[..., :start], shared, more[..., overlap:]], -1)
    return y


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("overlap", [0, 1, 4, 6])
@pytest.mark.parametrize("total", [1, 11, 12, 13, 20, 30, 36, 100])
def test_chunks_in_batches_give_what_they_give_one_by_one(total, overlap, batch):
    """To the last bit, with any length of the last chunk; only that one may be shorter."""
    x, shapes = torch.randn(2, total), []

    def function(z):  # begins with a click of its own, so that chunks can be told apart
        shapes.append(z.shape)
        click = torch.zeros(z.shape[-1])
        click[:3] = 1
        return torch.stack([z * z + click, -z], 1)

    y = overlap_add(function, x, 12, overlap, batch=batch)
    calls = list(shapes)
    assert torch.equal(y, one_by_one(function, x, 12, overlap))
    assert all(n == batch for n, _, _ in calls[:-2])
    assert all(n <= batch and time == 12 for n, _, time in calls[:-1])
    assert calls[-1][2] == 12 or calls[-1][0] == 1


@pytest.mark.parametrize("batch", BATCHES)
def test_nothing_is_read_ahead_but_the_chunks_of_a_call(batch):
    chunk, overlap, before, after, total = 30, 10, 3, 5, 1000
    reads = []

    def read(start, stop):
        reads.append((start, stop))
        return torch.arange(start, stop, dtype=torch.float64)[None]

    def function(z):
        assert len(z) <= batch
        return z[..., before:]

    blocks = separate_chunks(
        function, read, total, chunk, overlap, context=lambda time: (before, after), batch=batch
    )
    for number, block in enumerate(blocks):
        called = number // batch + 1
        assert len(reads) <= batch * called
        given = block[0, -1] + 1
        assert reads[-1][1] <= given + overlap + after + (batch - 1) * (chunk - overlap)
    assert len(reads) == number + 1
    assert all(stop - start <= before + chunk + after for start, stop in reads)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("total", [50, 52])
def test_blocks_are_matched_with_the_one_before(total, batch):
    """A network that swaps its two outputs at every other chunk is put right over the overlap."""
    x = torch.randn(1, total)
    swapped, matched = [], []

    def swapping(chunks):
        both = torch.stack([chunks, -chunks], 1)
        for row in range(len(both)):
            swapped.append(len(swapped) % 2 == 1)
            both[row] = both[row].flip(0) if swapped[-1] else both[row]
        return both

    def match(tail, y):
        assert tail.shape == (2, 1, 4) and y.shape[:-1] == (2, 1)
        matched.append(not torch.allclose(tail, y[..., :4]))
        return y.flip(0) if matched[-1] else y

    blocks = separate_chunks(swapping, lambda a, b: x[:, a:b], total, 10, 4, match, batch=batch)
    y = torch.cat(list(blocks), -1)
    assert len(swapped) > 7 and matched == swapped[1:]
    torch.testing.assert_close(y, torch.stack([x, -x]))


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("chunk", "overlap"), [(200, 0), (30, 0), (30, 10), (7, 3), (1, 0)])
def test_with_context_a_filter_sees_no_chunks(chunk, overlap, batch):
    """A convolution without padding, given the samples it needs, sees zeros beyond the ends only.

    As a network whose levels must fit it asks for more than it needs, and gives more.
    """
    x, kernel = torch.randn(1, 100), torch.randn(1, 1, 8)
    lengths = []

    def context(time):
        return 3, 4 + -time % 4

    def filtered(z):
        lengths.append(z.shape[-1])
        return torch.nn.functional.conv1d(z, kernel)

    y = overlap_add(filtered, x, chunk, overlap, context, batch)
    expected = torch.nn.functional.conv1d(torch.nn.functional.pad(x, (3, 4)), kernel)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    assert all(length % 4 == 3 for length in lengths)
