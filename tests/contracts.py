"""The battery that every registered upsampler and every model passes.

A new upsampler is tested by being registered: ``tests/layers/test_contracts.py`` runs each law
below over all names and settings.
"""

from __future__ import annotations

import copy
import io
import json
from typing import Any

import pytest
import torch
from asteroid.models import get as asteroid_get

from asteroid_upsamplers import layers

STRIDES = range(1, 17)


def kernel_sizes(cls: type[layers.Upsampler], stride: int) -> list[int]:
    """An even and an odd kernel beside the default, none shorter than the family allows."""
    least = cls.least_kernel_size(stride)
    return sorted({cls.default_kernel_size(stride), least, least + 1, least + 5})


def exact_length(cls: type[layers.Upsampler], stride: int) -> None:
    """The output has ``time * stride`` samples for every kernel size and time."""
    for kernel_size in kernel_sizes(cls, stride):
        layer = cls(2, 3, stride, kernel_size)
        for time in (1, 2, 7, 20):
            y = layer(torch.randn(2, 2, time))
            assert y.shape == (2, 3, time * stride) == (2, 3, layer.output_length(time))


def gradients_are_exact(cls: type[layers.Upsampler], stride: int, kernel_size: int | None) -> None:
    """Gradients with respect to input, weight and bias equal finite differences in float64."""
    layer = cls(2, 2, stride, kernel_size).double()
    parameters = dict(layer.named_parameters())

    def function(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, dict(zip(parameters, values, strict=True)), (x,))

    x = torch.randn(1, 2, 5, dtype=torch.float64, requires_grad=True)
    values = [p.detach().clone().requires_grad_() for p in parameters.values()]
    assert torch.autograd.gradcheck(function, (x, *values))


def config_round_trip(cls: type[layers.Upsampler], **settings: Any) -> None:
    """``cls(**get_config())`` is the same layer; the configuration is plain values."""
    layer = cls(2, 3, 4, **settings)
    config = layer.get_config()
    assert json.loads(json.dumps(config)) == config
    twin = cls(**config)
    twin.load_state_dict(layer.state_dict())
    x = torch.randn(1, 2, 9)
    assert twin.get_config() == config
    assert torch.equal(twin(x), layer(x))


def bias_is_optional(cls: type[layers.Upsampler]) -> None:
    """Without a bias there is no such parameter, and zeros give zeros."""
    layer = cls(2, 3, 4, bias=False)
    assert layer.bias is None
    assert list(layer.state_dict()) == ["weight"]
    assert torch.count_nonzero(layer(torch.zeros(1, 2, 9))) == 0


def is_linear(cls: type[layers.Upsampler]) -> None:
    """Without a bias the layer is a linear map, and delaying the input by one delays the output."""
    layer = cls(2, 3, 4, bias=False).double()
    x, z = torch.randn(2, 1, 2, 40, dtype=torch.float64)
    torch.testing.assert_close(layer(2 * x - z), 2 * layer(x) - layer(z))
    later = layer(torch.nn.functional.pad(x, (1, 0)))
    inside = slice(60, 100)
    torch.testing.assert_close(later[..., 64:104], layer(x)[..., inside])


def runs_in(cls: type[layers.Upsampler], dtype: torch.dtype) -> None:
    """The layer keeps its precision and comes near the float64 result."""
    layer = cls(2, 3, 4)
    x = torch.randn(1, 2, 12)
    exact = copy.deepcopy(layer).double()(x.double())
    y = layer.to(dtype)(x.to(dtype))
    assert y.dtype == dtype
    tolerance = {torch.float64: 1e-6, torch.float32: 1e-5, torch.bfloat16: 5e-2}[dtype]
    torch.testing.assert_close(y.double(), exact, rtol=tolerance, atol=tolerance)


def compiles(cls: type[layers.Upsampler]) -> None:
    """``torch.compile`` traces the layer into one graph, with the same output and gradients."""
    layer = cls(2, 3, 4)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.randn(1, 2, 12)
    torch.testing.assert_close(compiled(x), layer(x))
    compiled(x).square().sum().backward()
    assert layer.weight.grad is not None
    expected = copy.deepcopy(layer)
    expected.zero_grad()
    expected(x).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, expected.weight.grad)


IMPOSSIBLE: list[dict[str, Any]] = [
    {"in_channels": 0},
    {"out_channels": -1},
    {"stride": 0},
    {"stride": 2.5},
    {"stride": True},
    {"kernel_size": 0},
    {"kernel_size": "9"},
    {"bias": "no"},
]


def refuses(cls: type[layers.Upsampler], setting: dict[str, Any]) -> None:
    """An impossible setting is refused with the setting, its value and what is allowed."""
    good: dict[str, Any] = {"in_channels": 2, "out_channels": 3, "stride": 4}
    ((name, value),) = setting.items()
    with pytest.raises(ValueError, match=name) as caught:
        cls(**{**good, **setting})
    message = str(caught.value)
    assert repr(value) in message
    assert "allowed" in message
    assert "\n" not in message


def phase_sums_are_the_steady_response(cls: type[layers.Upsampler], stride: int) -> None:
    """The closed form equals what comes out for ones, up to a rotation of the period."""
    for kernel_size in kernel_sizes(cls, stride):
        layer = cls(2, 3, stride, kernel_size).double()
        y = layer(torch.ones(1, 2, 60, dtype=torch.float64))[0]
        period = y[:, 30 * stride : 31 * stride]
        rotations = [period.roll(shift, -1) for shift in range(stride)]
        difference = min((layer.phase_sums() - r).abs().max().item() for r in rotations)
        assert difference < 1e-12


def refuses_wrong_input(cls: type[layers.Upsampler]) -> None:
    """An input of another shape is refused with both shapes."""
    for shape in ((2, 9), (1, 3, 9), (1, 1, 2, 9)):
        with pytest.raises(ValueError, match="in_channels=2"):
            cls(2, 3, 4)(torch.zeros(shape))


def model_round_trip(model: torch.nn.Module) -> None:
    """``serialize`` -> file -> Asteroid, by name, under ``weights_only`` loading."""
    file = io.BytesIO()
    torch.save(model.serialize(), file)
    file.seek(0)
    package = torch.load(file, weights_only=True)
    cls = asteroid_get(type(model).__name__)
    assert cls is type(model)
    twin = cls.from_pretrained(package)
    assert twin.get_model_args() == model.get_model_args()
    x = torch.randn(1, model.in_channels, 500)
    with torch.no_grad():
        assert torch.equal(twin.eval()(x), model.eval()(x))


def model_keeps_length(model: torch.nn.Module, times: list[int]) -> None:
    """Any length goes in, the same length comes out, for every source and channel."""
    with torch.no_grad():
        for time in times:
            y = model(torch.randn(2, model.in_channels, time))
            assert y.shape == (2, len(model.sources), model.in_channels, time)
            assert torch.isfinite(y).all()


def model_learns(model: torch.nn.Module) -> None:
    """A gradient reaches every parameter, and a few steps on one batch lower the loss."""
    torch.manual_seed(0)
    x = 0.1 * torch.randn(2, model.in_channels, 4000)
    target = torch.stack([x * gain for gain in torch.linspace(-1, 1, len(model.sources))], 1)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    losses = []
    for _ in range(20):
        loss = (model(x) - target).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        if len(losses) == 1:
            for name, parameter in model.named_parameters():
                assert parameter.grad is not None, name
                assert parameter.grad.abs().max() > 0, name
        optimizer.step()
    assert losses[-1] < 0.98 * losses[0]
