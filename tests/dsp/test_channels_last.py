"""Channels last in memory: the same sums as torch's own, and chosen for compiled networks only."""

import pytest
import torch
from torch.nn import functional as F

from asteroid_upsamplers import layers
from asteroid_upsamplers.dsp import channels_last as order
from asteroid_upsamplers.models import DemucsLike


@pytest.fixture
def on_this_device(monkeypatch):
    """What a GPU prefers, here."""
    torch.compiler.reset()
    monkeypatch.setattr(order, "DEVICES", ("cpu",))
    yield
    torch.compiler.reset()


def is_channels_last(x):
    return x.stride(1) == 1 and x.stride(2) >= x.shape[1]


def distance(found, wanted):
    return float((found.detach().float() - wanted.detach()).norm() / wanted.detach().norm())


@pytest.mark.parametrize(
    ("stride", "kernel_size", "padding", "channels"),
    [
        (1, 1, 0, (2, 3)),
        (1, 3, 1, (8, 16)),
        (2, 8, 4, (10, 12)),
        (4, 9, 1, (2, 3)),
        (3, 3, 0, (9, 8)),
    ],
)
def test_convolutions_are_torchs(monkeypatch, stride, kernel_size, padding, channels):
    monkeypatch.setattr(order, "prefers_channels_last", lambda x: True)
    into, out = channels
    shapes = (2, into, 40), (out, into, kernel_size), (out,)
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    x, weight, bias = inputs
    wanted = F.conv1d(x, weight, bias, stride, padding)
    found = order.convolve(order.channels_last(x), weight, bias, stride, padding)
    torch.testing.assert_close(found, wanted)
    towards = torch.randn_like(wanted)
    mine = torch.autograd.grad((found * towards).sum(), inputs)
    torchs = torch.autograd.grad((wanted * towards).sum(), inputs)
    torch.testing.assert_close(mine, torchs)
    assert mine[1].is_contiguous()


def test_samples_become_channels_and_back():
    x = torch.randn(2, 3, 12)
    y = order.channels_last(x)
    assert torch.equal(x, y) and is_channels_last(y) and not is_channels_last(x)
    deep = order.samples_as_channels(y, 4)
    assert deep.shape == (2, 12, 3) and deep.data_ptr() == y.data_ptr()
    assert torch.equal(deep[:, 3:6, 1], y[..., 5])
    assert torch.equal(order.channels_as_samples(deep, 4), y)


def test_it_is_preferred_in_compiled_half_precision_on_a_gpu(on_this_device, monkeypatch):
    def asked(x):
        return x + order.prefers_channels_last(x)

    compiled, x = torch.compile(asked, backend="eager"), torch.zeros(1)
    assert not asked(x.bfloat16()) and not compiled(x) and compiled(x.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        assert not asked(x) and compiled(x)
    monkeypatch.undo()
    torch.compiler.reset()
    assert not torch.compile(asked, backend="eager")(x.bfloat16())


@pytest.mark.parametrize("name", ["transposed", "nearest", "cubic", "subpixel", "learned"])
def test_a_compiled_layer(on_this_device, name):
    """Same output and gradients as in float32, but for the rounding to 8 bits; no tones of it."""
    torch.manual_seed(0)
    layer, x = layers.get(name)(6, 3, 4), torch.randn(2, 6, 50)
    wanted = layer(x)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16):
        found = compiled(order.channels_last(x))
        period = compiled(order.channels_last(torch.ones(2, 6, 50)))[..., 100:104]
    assert found.dtype == torch.bfloat16
    assert is_channels_last(found)
    assert distance(found, wanted) < 0.01
    if name in ("nearest", "cubic"):  # every phase adds the same rounded products up
        assert torch.equal(period, period[..., :1].expand_as(period))
    towards = torch.randn_like(wanted)
    theirs = torch.autograd.grad((wanted * towards).sum(), list(layer.parameters()))
    (found.float() * towards).sum().backward()
    for parameter, gradient in zip(layer.parameters(), theirs, strict=True):
        assert distance(parameter.grad, gradient) < 0.02 and parameter.grad.is_contiguous()


@pytest.mark.parametrize(
    ("upsampler", "settings"),
    [("transposed", {"resample": True}), ("linear", {"channels": 5, "modified": True})],
)
def test_a_compiled_network_keeps_the_order(on_this_device, monkeypatch, upsampler, settings):
    seen, multiply = [], order.multiply

    def watched(x, weight, padding=0):
        seen.append(is_channels_last(x))
        return multiply(x, weight, padding)

    monkeypatch.setattr(order, "multiply", watched)
    torch.manual_seed(0)
    model = DemucsLike(upsampler=upsampler, depth=2, **{"channels": 12, **settings})
    x = torch.randn(2, 2, 1501)
    wanted = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.compile(model, backend="aot_eager")(x)
    assert found.shape == wanted.shape and distance(found, wanted) < 0.02
    assert len(seen) >= 6 and all(seen)
    found.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
