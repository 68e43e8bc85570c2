"""Chunked processing: no gap, no seam, no rescaling."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asteroid_upsamplers.dsp import overlap_add, separate_chunks


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


def test_blocks_are_matched_with_the_one_before():
    """A network that swaps its two outputs at every other chunk is put right over the overlap."""
    x = torch.randn(1, 50)
    calls = []

    def swapping(chunk):
        calls.append(chunk.shape[-1])
        both = torch.stack([chunk, -chunk], 1)
        return both.flip(1) if len(calls) % 2 == 0 else both

    def match(tail, y):
        assert tail.shape[-1] == 4
        return y if torch.allclose(tail, y[..., :4]) else y.flip(0)

    blocks = separate_chunks(swapping, lambda a, b: x[:, a:b], 50, 10, 4, match)
    y = torch.cat(list(blocks), -1)
    assert len(calls) > 3
    torch.testing.assert_close(y, torch.stack([x, -x]))


@pytest.mark.parametrize(("chunk", "overlap"), [(200, 0), (30, 0), (30, 10), (7, 3), (1, 0)])
def test_with_context_a_filter_sees_no_chunks(chunk, overlap):
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

    y = overlap_add(filtered, x, chunk, overlap, context)
    expected = torch.nn.functional.conv1d(torch.nn.functional.pad(x, (3, 4)), kernel)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    assert all(length % 4 == 3 for length in lengths)
