"""The shift trick: what moves with the signal stays, what does not is averaged."""

import pytest
import torch

from asteroid_upsamplers.separation import no_context, overlap_add, shift_averaged, shifted_context


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


@pytest.mark.parametrize("own_delays", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
def test_sources_in_any_order_are_matched(batch, own_delays):
    """Each signal of a batch with its own first answer."""
    answers = []

    def swaps(x):
        both = torch.stack([x, -x], 1)
        for row in range(batch):
            answers.append(len(answers) % 2 == 0)
            both[row] = both[row].flip(0) if answers[-1] else both[row]
        return both

    def match(reference, y):
        assert reference.shape == y.shape == (2, 1, 40)
        return y if torch.allclose(reference, y) else y.flip(0)

    x = torch.randn(batch, 1, 50)
    y = shift_averaged(swaps, 4, 5, seeded(), match, own_delays)(x)
    first_was_swapped = answers[:batch]
    assert len(answers) == 4 * batch
    for signal, swapped, found in zip(x, first_was_swapped, y, strict=True):
        expected = torch.stack([-signal, signal] if swapped else [signal, -signal])
        torch.testing.assert_close(found, expected[..., 5:45])


def hums(x):
    """Has a tone that stays where it is."""
    return x + (torch.arange(x.shape[-1]) % 4 == 0)


@pytest.mark.parametrize("own_delays", [False, True])
def test_a_batch_has_one_set_of_delays_or_one_for_each_signal(own_delays):
    x = torch.randn(3, 2, 60)
    y = shift_averaged(hums, 5, 9, seeded(), own_delays=own_delays)(x)
    generator = seeded()
    for signal, found in zip(x, y, strict=True):
        generator = generator if own_delays else seeded()
        (expected,) = shift_averaged(hums, 5, 9, generator)(signal[None])
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("batch", [2, 3, 7])
@pytest.mark.parametrize(("total", "overlap"), [(10, 0), (100, 0), (100, 10), (110, 15)])
def test_the_delays_of_a_chunk_do_not_depend_on_the_batch(total, overlap, batch):
    x, context = torch.randn(2, total), shifted_context(no_context, 7)
    one, many = (
        overlap_add(
            shift_averaged(hums, 3, 7, seeded(), own_delays=True), x, 30, overlap, context, n
        )
        for n in (1, batch)
    )
    torch.testing.assert_close(one, many)
    plain = overlap_add(shift_averaged(hums, 3, 7, seeded()), x, 30, overlap, context)
    assert torch.equal(one, plain)  # as ever, chunk by chunk
