"""Another form, the same function."""

import pytest
import torch
from torch import nn

from asteroid_upsamplers import layers
from asteroid_upsamplers.layers import fold_for_inference, to_subpixel, to_transposed


def same(layer, twin):
    assert twin.weight.dtype == layer.weight.dtype
    for time in (1, 2, 5, 30):
        x = torch.randn(2, 3, time, dtype=layer.weight.dtype)
        torch.testing.assert_close(twin(x), layer(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "stride", "kernel", "settings"),
    [
        ("transposed", 1, 3, {}),
        ("transposed", 3, 3, {"bias": False}),
        ("transposed", 4, 9, {}),
        ("transposed", 4, 14, {"bias": False}),
        ("transposed", 4, 8, {"tone_free": True}),
        ("subpixel", 1, 2, {"init": "icnr"}),
        ("subpixel", 2, 3, {"init": "icnr"}),
        ("subpixel", 3, 4, {"init": "icnr"}),
        ("subpixel", 4, 3, {"tone_free": True}),
        ("nearest", 2, 1, {}),
        ("nearest", 4, 9, {}),
        ("nearest", 3, 17, {"bias": False}),
        ("stretch", 4, 8, {}),
        ("haar", 4, 3, {"bias": False}),
    ],
)
def test_there_and_back(name, stride, kernel, settings):
    layer = layers.get(name)(3, 2, stride, kernel, **settings).double()
    subpixel, transposed = to_subpixel(layer), to_transposed(layer)
    assert isinstance(subpixel, layers.Subpixel) and isinstance(transposed, layers.Transposed)
    same(layer, subpixel)
    same(layer, transposed)
    same(layer, to_transposed(subpixel))
    same(layer, to_subpixel(transposed))


def test_conversion_loses_no_digit():
    layer = layers.Transposed(3, 2, 4, 9)
    back = to_transposed(to_subpixel(layer))
    assert torch.equal(back.weight, layer.weight) and torch.equal(back.bias, layer.bias)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (lambda: layers.Linear(3, 2, 4), "linear: the edges"),
        (lambda: layers.Nearest(3, 2, 4, padding_mode="replicate"), "nearest: the edges"),
        (lambda: layers.Learned(3, 2, 4), "learned: the edges"),
        (lambda: layers.Transposed(3, 2, 4, trim=False), "trim=True"),
    ],
)
def test_layers_without_a_twin_are_refused(layer, words):
    for convert in (to_subpixel, to_transposed):
        with pytest.raises(ValueError, match=words):
            convert(layer())


def test_biases_that_differ_by_phase_are_refused():
    with pytest.raises(ValueError, match="bias differs between phases"):
        to_transposed(layers.Subpixel(3, 2, 4))


def test_a_network_is_folded_for_inference():
    """Every upsampler, at any depth, also one that stands in two places; nothing else."""
    shared = layers.Linear(3, 3, 2)
    inner = nn.Sequential(nn.Conv1d(3, 3, 3), layers.Sinc(3, 3, 2), shared)
    network = nn.ModuleDict({"a": inner, "b": shared, "c": layers.Transposed(3, 1, 4, trim=False)})

    def run(x):
        return network["c"](network["b"](network["a"](x)))

    lengths = (5, 40, 400)
    inputs = [torch.randn(2, 3, time) for time in lengths]
    before = [run(x).detach() for x in inputs]
    assert fold_for_inference(network) is network
    assert network["b"] is network["a"][2]
    assert not any(isinstance(m, layers.Upsampler) for m in network["c"].modules())
    assert all(isinstance(network[k], layers.FoldedUpsampler) for k in "bc")
    for x, wanted in zip(inputs, before, strict=True):
        torch.testing.assert_close(run(x), wanted, rtol=1e-5, atol=1e-5)
    fold_for_inference(network)  # once more changes nothing
    for stale in (network.state_dict, lambda: network.load_state_dict({"b.weight": torch.ones(1)})):
        with pytest.raises(ValueError, match="before fold_for_inference"):
            stale()
    torch.testing.assert_close(run(inputs[1]), before[1], rtol=1e-5, atol=1e-5)
    assert not network["c"].weight.requires_grad


def test_damaged_weights_are_an_error_and_no_measurement():
    layer = layers.Nearest(3, 2, 4)
    with torch.no_grad():
        layer.weight[0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="nearest: its output is NaN or infinite"):
        layers.measured_system(layer)
