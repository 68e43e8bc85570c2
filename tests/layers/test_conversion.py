"""Another form, the same function."""

import pytest
import torch

from asteroid_upsamplers import layers
from asteroid_upsamplers.layers import to_subpixel, to_transposed

TRANSPOSED = [(s, k) for s in (1, 2, 3, 4, 8) for k in (s, s + 1, 2 * s, 2 * s + 1, 3 * s + 2)]
SUBPIXEL = [(s, k) for s in (1, 2, 3, 4, 8) for k in (1, 2, 3, 4, 5)]


def same(layer, twin):
    assert twin.weight.dtype == layer.weight.dtype
    for time in (1, 2, 5, 30):
        x = torch.randn(2, 3, time, dtype=layer.weight.dtype)
        torch.testing.assert_close(twin(x), layer(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("stride", "kernel_size"), TRANSPOSED)
@pytest.mark.parametrize("bias", [True, False])
def test_transposed_to_subpixel_and_back(stride, kernel_size, bias):
    layer = layers.Transposed(3, 2, stride, kernel_size, bias).double()
    twin = to_subpixel(layer)
    assert isinstance(twin, layers.Subpixel)
    same(layer, twin)
    back = to_transposed(twin)
    same(layer, back)
    assert torch.equal(back.weight, layer.weight)


@pytest.mark.parametrize(("stride", "kernel_size"), SUBPIXEL)
def test_subpixel_to_transposed_and_back(stride, kernel_size):
    layer = layers.Subpixel(3, 2, stride, kernel_size).double()
    with torch.no_grad():
        layer.bias.copy_(torch.randn(2).repeat_interleave(stride))
    twin = to_transposed(layer)
    assert isinstance(twin, layers.Transposed)
    same(layer, twin)
    same(layer, to_subpixel(twin))


@pytest.mark.parametrize("name", ["nearest", "stretch"])
@pytest.mark.parametrize("stride", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("kernel_size", [1, 2, 5, 8, 9, 17])
def test_interpolation_to_subpixel(name, stride, kernel_size):
    layer = layers.get(name)(3, 2, stride, kernel_size).double()
    same(layer, to_subpixel(layer))
    same(layer, to_transposed(layer))


@pytest.mark.parametrize("name", ["transposed", "subpixel"])
def test_what_is_free_of_tones_stays_so(name):
    layer = layers.get(name)(3, 2, 4, tone_free=True).double()
    same(layer, to_subpixel(layer))
    same(layer, to_transposed(layer))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (lambda: layers.Linear(3, 2, 4), "linear: the borders .* allowed are transposed"),
        (lambda: layers.Nearest(3, 2, 4, padding_mode="replicate"), "nearest: the borders"),
        (lambda: layers.Transposed(3, 2, 4, trim=False), "allowed is trim=True"),
        (lambda: layers.Learned(3, 2, 4), "learned: no subpixel layer"),
    ],
)
def test_layers_without_a_twin_are_refused(layer, words):
    for convert in (to_subpixel, to_transposed):
        with pytest.raises(ValueError, match=words):
            convert(layer())


def test_biases_that_differ_by_phase_are_refused():
    with pytest.raises(ValueError, match="bias differs between phases, allowed is one value"):
        to_transposed(layers.Subpixel(3, 2, 4))
