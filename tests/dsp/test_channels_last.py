"""Channels last in memory: the same sums as torch's own, and chosen for compiled networks only."""

import pytest
import torch
from torch.nn import functional as F

from asteroid_upsamplers import layers
from asteroid_upsamplers.dsp import channels_last as order
from asteroid_upsamplers.layers import polyphase
from asteroid_upsamplers.models import DemucsLike


@pytest.fixture
def on_this_device(monkeypatch):
    """What a GPU prefers, here."""
    torch.compiler.reset()
    monkeypatch.setattr(order, "DEVICES", ("cpu",))
    yield
    torch.compiler.reset()


@pytest.fixture
def always(monkeypatch):
    """Without compiling, and in any precision."""
    monkeypatch.setattr(order, "prefers_channels_last", lambda x: True)


def is_channels_last(x):
    return x.stride(1) == 1 and x.stride(2) >= x.shape[1]


def test_the_shape_stays_and_the_memory_order_changes():
    x = torch.randn(2, 3, 5)
    y = order.channels_last(x)
    assert torch.equal(x, y) and is_channels_last(y) and not is_channels_last(x)


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel_size", [1, 3, 8, 9])
@pytest.mark.parametrize("padding", [0, 1, 4])
@pytest.mark.parametrize("channels", [(2, 3), (8, 16), (100, 12)])
def test_convolutions_are_torchs(always, stride, kernel_size, padding, channels):
    into, out = channels
    x = torch.randn(2, into, 40, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(out, into, kernel_size, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(out, dtype=torch.float64, requires_grad=True)
    wanted = F.conv1d(x, weight, bias, stride, padding)
    found = order.convolve(order.channels_last(x), weight, bias, stride, padding)
    torch.testing.assert_close(found, wanted)
    towards = torch.randn_like(wanted)
    inputs = (x, weight, bias)
    mine = torch.autograd.grad((found * towards).sum(), inputs)
    torchs = torch.autograd.grad((wanted * towards).sum(), inputs)
    for one, other in zip(mine, torchs, strict=True):
        torch.testing.assert_close(one, other)
    assert mine[1].is_contiguous()


def test_samples_become_channels_and_back():
    x = order.channels_last(torch.randn(2, 3, 12))
    deep = order.samples_as_channels(x, 4)
    assert deep.shape == (2, 12, 3)
    assert torch.equal(deep[:, 3:6, 1], x[..., 5])
    assert torch.equal(order.channels_as_samples(deep, 4), x)
    assert deep.data_ptr() == x.data_ptr()


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("half", [False, True])
def test_compiled_half_precision_prefers_it(on_this_device, compiled, half):
    def asked(x):
        return x + order.prefers_channels_last(x)

    asked = torch.compile(asked, backend="eager") if compiled else asked
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        assert bool(asked(torch.zeros(1))) == (compiled and half)


def test_no_cpu_prefers_it():
    compiled = torch.compile(lambda x: x + order.prefers_channels_last(x), backend="eager")
    assert not compiled(torch.zeros(1, dtype=torch.bfloat16))


@pytest.mark.parametrize("name", layers.available())
def test_compiled_layers(on_this_device, name):
    """Same output and gradients as in float32, but for the rounding to 8 bits."""
    layer = layers.get(name)(6, 3, 4)
    x = torch.randn(2, 6, 50)
    wanted = layer(x)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16):
        found = compiled(order.channels_last(x))
    assert found.dtype == torch.bfloat16
    assert distance(found, wanted) < 0.01
    towards = torch.randn_like(wanted)
    theirs = torch.autograd.grad((wanted * towards).sum(), list(layer.parameters()))
    (found.float() * towards).sum().backward()
    for parameter, gradient in zip(layer.parameters(), theirs, strict=True):
        assert distance(parameter.grad, gradient) < 0.02
        assert parameter.grad.is_contiguous()


@pytest.mark.parametrize(
    ("name", "form", "taken"),
    [
        ("nearest", "auto", True),
        ("linear", "auto", True),
        ("transposed", "auto", True),
        ("sinc", "auto", False),  # its response is long
        ("nearest", "plain", False),
        ("nearest", "folded", False),
    ],
)
def test_which_forms_give_way(monkeypatch, name, form, taken):
    monkeypatch.setattr(polyphase, "prefers_channels_last", lambda x: True)
    layer = layers.get(name)(6, 3, 4, form=form)
    assert (layer.form_for(torch.empty(2, 6, 80)) == "channels_last") == taken


@pytest.mark.parametrize("name", ["nearest", "linear", "cubic"])
def test_constants_make_no_tones(on_this_device, name):
    """Every phase adds the same rounded products up."""
    torch.manual_seed(0)
    layer = layers.get(name)(64, 32, 4, bias=False)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        period = compiled(order.channels_last(torch.ones(1, 64, 100)))[0, :, 200:204].float()
    assert torch.equal(period, period[:, :1].expand_as(period))


@pytest.mark.parametrize(
    ("upsampler", "settings"),
    [
        ("transposed", {}),
        ("transposed", {"resample": True}),
        ("linear", {"modified": True}),
        ("linear", {"channels": 5}),
    ],
)
def test_a_compiled_network(on_this_device, monkeypatch, upsampler, settings):
    seen = []
    multiply = order.multiply

    def watched(x, weight, padding=0):
        seen.append(is_channels_last(x))
        return multiply(x, weight, padding)

    monkeypatch.setattr(order, "multiply", watched)
    model = DemucsLike(upsampler=upsampler, depth=2, **{"channels": 12, **settings})
    x = torch.randn(2, 2, 1501)
    wanted = model(x)
    compiled = torch.compile(model, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16):
        found = compiled(x)
    assert found.shape == wanted.shape
    assert distance(found, wanted) < 0.02
    assert len(seen) >= 6 and all(seen)
    found.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def distance(found, wanted):
    return float((found.detach().float() - wanted.detach()).norm() / wanted.detach().norm())
