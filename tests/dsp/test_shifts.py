"""The shift trick: what moves with the signal stays, what does not is averaged."""

import pytest
import torch

from asteroid_upsamplers.dsp import no_context, overlap_add, shift_averaged, shifted_context


def seeded():
    return torch.Generator().manual_seed(3)


def test_a_function_that_moves_with_the_signal_is_not_changed():
    x = torch.randn(1, 2, 60, dtype=torch.float64)
    for max_shift in (0, 1, 10):
        average = shift_averaged(torch.sin, 5, max_shift, seeded())
        torch.testing.assert_close(average(x), x[..., max_shift : 60 - max_shift].sin())


def test_it_is_the_mean_over_delayed_signals():
    """Against delays written out: put zeros before, run, and take as many samples away."""

    def function(x):  # a tone of its own, and a filter that sees to the left
        tone = torch.arange(x.shape[-1]) % 4 == 0
        return x + 0.5 * torch.nn.functional.pad(x, (1, 0))[..., :-1] + tone

    x, longest, shifts = torch.randn(1, 2, 40), 6, 9
    average = shift_averaged(function, shifts, longest, seeded())
    delays = torch.randint(longest + 1, (shifts,), generator=seeded()).tolist()
    assert len(set(delays)) > 3
    expected = 0
    for delay in delays:
        delayed = torch.nn.functional.pad(x, (delay, longest - delay))
        expected = expected + function(delayed)[..., delay : delay + 40] / shifts
    y = average(torch.nn.functional.pad(x, (longest, longest)))
    torch.testing.assert_close(y, expected)


def test_all_delays_average_a_tone_away():
    """A tone of period 4 that does not move with the signal leaves its mean."""

    def hums(x):
        return x + (torch.arange(x.shape[-1]) % 4 == 0)

    x = torch.zeros(1, 1, 4000)
    y = shift_averaged(hums, 400, 399, seeded())(x)
    assert hums(x).std() > 0.4
    assert y.std() < 0.05
    assert y.mean() == pytest.approx(0.25, abs=0.01)


def test_in_chunks_the_signal_around_them_is_seen():
    x = torch.randn(2, 100)
    average = shift_averaged(torch.cos, 3, 7, seeded())
    y = overlap_add(average, x, 30, 10, shifted_context(no_context, 7))
    torch.testing.assert_close(y, x.cos())


def test_sources_in_any_order_are_matched():
    calls = []

    def swaps(x):
        calls.append(x)
        both = torch.stack([x, -x], 1)
        return both.flip(1) if len(calls) % 2 else both

    def match(reference, y):
        return y if torch.allclose(reference, y) else y.flip(0)

    x = torch.randn(1, 1, 50)
    y = shift_averaged(swaps, 4, 5, seeded(), match)(x)
    torch.testing.assert_close(y, torch.stack([-x, x], 1)[..., 5:45])
