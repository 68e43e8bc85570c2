"""Chunks and shifts: no gap, no seam, no rescaling; the shift trick keeps what moves along."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asteroid_upsamplers.models import WaveUNet
from asteroid_upsamplers.separation import (
    no_context,
    overlap_add,
    separate_chunks,
    shift_averaged,
    shifted_context,
)


@given(
    total=st.integers(1, 200),
    chunk=st.integers(1, 60),
    share=st.floats(0, 0.5, allow_subnormal=False),
    batch=st.integers(1, 4),
)
@settings(max_examples=100, deadline=None)
def test_a_pointwise_function_sees_no_chunks(total, chunk, share, batch):
    overlap, shapes = int(chunk * share), []

    def function(c):
        shapes.append(c.shape)
        return torch.stack([c.sin(), -2 * c], 1)

    x = torch.randn(2, total, dtype=torch.float64)
    y = overlap_add(function, x, chunk, overlap, batch=batch)
    torch.testing.assert_close(y, torch.stack([x.sin(), -2 * x]))
    *whole, last = shapes
    assert all(n <= batch and time == chunk for n, _, time in whole)
    assert last[2] == min(chunk, total) or last[0] == 1  # a shorter chunk goes alone


def test_the_seam_is_a_linear_cross_fade_and_sums_to_one():
    levels = iter([0.0, 1.0])
    y = overlap_add(lambda c: c + next(levels), torch.zeros(1, 12), chunk=8, overlap=4)
    expected = torch.tensor([0, 0, 0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1, 1, 1])
    torch.testing.assert_close(y[0], expected)
    y = overlap_add(torch.ones_like, torch.zeros(1, 50), chunk=10, overlap=5)
    torch.testing.assert_close(y, torch.ones(1, 50))


def test_only_the_chunks_of_a_call_are_read_ahead():
    chunk, overlap, before, after, batch = 30, 10, 3, 5, 3
    reads = []

    def read(start, stop):
        reads.append(stop - start)
        return torch.arange(start, stop, dtype=torch.float64)[None]

    blocks = []
    for block in separate_chunks(
        lambda z: z[..., before:],
        read,
        1000,
        chunk,
        overlap,
        None,
        lambda _: (before, after),
        batch,
    ):
        blocks.append(block)
        assert len(reads) <= len(blocks) + batch - 1
    assert max(reads) <= before + chunk + after
    torch.testing.assert_close(torch.cat(blocks, -1)[0], torch.arange(1000.0).double())


@pytest.mark.parametrize(("chunk", "overlap", "batch"), [(200, 0, 1), (30, 10, 1), (30, 10, 2)])
def test_a_network_without_padding_sees_the_signal_around_a_chunk(chunk, overlap, batch):
    """With context, chunks give what the whole signal gives. Chunks begin where its levels fall."""
    torch.manual_seed(0)
    model = WaveUNet(depth=2, channels=2).eval()
    chunk, overlap = 8 * chunk, 8 * overlap
    total = next(n for n in range(1500, 1600) if model.valid_length(n) == n + model.margin)
    x = 0.3 * torch.randn(2, total)
    with torch.no_grad():
        whole = model(x[None])[0]
        chunked = overlap_add(
            model.forward_with_context, x, chunk, overlap, model.needed_context, batch
        )
    torch.testing.assert_close(chunked, whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "wrong", [(0, 0, 1), (10, 6, 1), (10, -1, 1), (10, 0, 0)], ids=lambda wrong: str(wrong)
)
def test_impossible_chunks_are_refused(wrong):
    chunk, overlap, batch = wrong
    with pytest.raises(ValueError, match=r"must be at least 1"):
        overlap_add(lambda c: c, torch.zeros(1, 30), chunk, overlap, batch=batch)


def hums(x):
    """Has a tone that stays where it is, and a filter that sees to the left."""
    tone = torch.arange(x.shape[-1]) % 4 == 0
    return x + 0.5 * torch.nn.functional.pad(x, (1, 0))[..., :-1] + tone


def test_shifts_give_the_mean_over_delayed_signals():
    """Against delays written out: put zeros before, run, and take as many samples away."""
    x, longest, shifts = torch.randn(3, 2, 40), 6, 9
    delays = torch.randint(longest + 1, (shifts,), generator=torch.Generator().manual_seed(3))
    assert len(set(delays.tolist())) > 3
    expected = 0
    for delay in delays.tolist():
        delayed = torch.nn.functional.pad(x, (delay, longest - delay))
        expected = expected + hums(delayed)[..., delay : delay + 40] / shifts
    average = shift_averaged(hums, shifts, longest, seed=3)
    torch.testing.assert_close(average(torch.nn.functional.pad(x, (longest, longest))), expected)


def test_shifts_average_a_tone_away_that_does_not_move_with_the_signal():
    x = torch.zeros(1, 1, 4000)
    y = shift_averaged(hums, 400, 399)(x)
    assert hums(x).std() > 0.4
    assert y.std() < 0.05
    assert y.mean() == pytest.approx(0.25, abs=0.01)


def test_shifts_of_chunks_see_the_signal_around_them():
    """A function that moves with the signal isn't changed, whatever the delays and chunks."""
    x = torch.randn(2, 100)
    average = shift_averaged(torch.cos, 3, 7)
    y = overlap_add(average, x, 30, 10, shifted_context(no_context, 7), batch=2)
    torch.testing.assert_close(y, x.cos())
