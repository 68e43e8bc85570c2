"""Layers fitted to given responses: what they sound like, how near they come, what is refused."""

import pytest
import torch

from asteroid_upsamplers import layers
from asteroid_upsamplers.layers import Responses, fit_responses, responses, tap_responses
from tests.contracts import strides

STRIDES = (2, 3, 4, 8)
EXACT = ("haar", "lazy_wavelet", "stretch", "subpixel", "transposed")
"""Families that can have any response their kernel covers."""


def each(among=STRIDES):
    return [(name, s) for name in layers.available() for s in strides(layers.get(name), among)]


@pytest.mark.parametrize(("name", "stride"), each())
def test_responses_are_where_they_are_heard(name, stride):
    """Superposed at their places they are what the layer makes of any frames amid silence."""
    torch.manual_seed(0)
    layer = layers.get(name)(3, 1, stride, bias=True).double()
    found = responses(layer)
    margin = max(-found.start, found.stop) // stride + 2
    x = torch.nn.functional.pad(torch.randn(1, 3, 5).double(), (margin, margin))
    expected = torch.zeros(1, 1, x.shape[-1] * stride, dtype=torch.float64)
    for frame in range(margin, margin + 5):
        start = frame * stride + found.start
        samples = x[0, :, frame] @ found.values
        expected[0, 0, start : start + len(samples)] += samples
    heard = (layer(x) - layer(torch.zeros_like(x))).detach()
    torch.testing.assert_close(heard, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize(("name", "stride"), each())
def test_taps_add_up_to_the_response(name, stride):
    torch.manual_seed(0)
    layer = layers.get(name)(1, 1, stride, bias=False).double()
    taps, whole = tap_responses(layer), responses(layer)
    made = layer.stored("weight").detach().flatten() @ taps.values
    torch.testing.assert_close(
        made, whole.between(taps.start, taps.stop)[0], atol=1e-12, rtol=1e-12
    )


@pytest.mark.parametrize(("name", "stride"), each((2, 4, 8)))
def test_what_a_layer_can_do_it_is_fitted_to(name, stride):
    """Responses of one layer are found again by another of the same settings."""
    torch.manual_seed(0)
    wanted = responses(layers.get(name)(stride, 1, stride, bias=False))  # as many channels as rows
    layer = layers.get(name)(stride, 1, stride)
    error = fit_responses(layer, wanted)
    assert error < (1e-10 if name in (*EXACT, "nearest") else 1e-3)
    found = responses(layer).between(wanted.start, wanted.stop)
    difference = (found - wanted.values).square().sum() / wanted.values.square().sum()
    assert float(difference) == pytest.approx(error, abs=1e-6)
    assert layer.bias is not None
    assert not layer.bias.any()


@pytest.mark.parametrize(("name", "stride"), each((4, 8)))
def test_no_other_taps_come_nearer(name, stride):
    """Around the solution every change of the taps makes the error larger."""
    torch.manual_seed(0)
    layer = layers.get(name)(2, 1, stride, bias=False).double()
    wanted = Responses(torch.randn(2, 2 * stride), tap_responses(layer).start)
    reported = fit_responses(layer, wanted)

    def error():
        start, stop = -40 * stride, 40 * stride
        miss = responses(layer).between(start, stop) - wanted.between(start, stop)
        return float(miss.square().sum() / wanted.values.square().sum())

    least = error()
    assert least == pytest.approx(reported, abs=1e-6)
    assert (least < 1e-20) == (name in EXACT)
    weight, best = layer.stored("weight"), layer.stored("weight").detach().clone()
    for _ in range(5):
        with torch.no_grad():
            weight.copy_(best + 0.1 * best.std() * torch.randn_like(best))
        assert error() > least


def test_a_tone_free_layer_is_fitted_within_what_it_may_do():
    layer = layers.Transposed(2, 1, 4, bias=False, tone_free=True)
    error = fit_responses(layer, Responses(torch.randn(2, 8), -2))
    assert 1e-3 < error < 1
    assert layer.phase_sums().std(-1).max() < 1e-6


@pytest.mark.parametrize("name", [name for name in layers.available() if name != "transposed"])
@pytest.mark.parametrize(("stride", "samples"), [(8, 16), (4, 16), (8, 64), (2, 3)])
def test_covering_kernels_cover_and_no_shorter_ones_do(name, stride, samples):
    family = layers.get(name)

    def span(kernel_size):
        return tap_responses(family(1, 1, stride, kernel_size)).values.shape[1]

    kernel_size = layers.covering_kernel_size(family, stride, samples)
    default = family.default_kernel_size(stride)
    assert span(kernel_size) >= samples
    assert kernel_size == default or span(kernel_size - 2) < samples


def test_random_numbers_are_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    layer = layers.Nearest(1, 1, 2)
    torch.manual_seed(0)
    fit_responses(layer, Responses(torch.ones(1, 2), 0))
    layers.covering_kernel_size(layers.Sinc, 2, 8)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(("outputs", "rows"), [(2, 3), (1, 2)])
def test_other_numbers_of_channels_are_refused(outputs, rows):
    with pytest.raises(ValueError, match="one for each input, and one output"):
        fit_responses(layers.Nearest(3, outputs, 2), Responses(torch.ones(rows, 2), 0))
