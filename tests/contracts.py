"""The battery that every registered upsampler and every model passes.

A new upsampler is tested by being registered: ``tests/layers/test_contracts.py`` runs each law
below over all names and settings.
"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from asteroid.models import get as asteroid_get

from asteroid_upsamplers import layers
from asteroid_upsamplers.artifacts import edge_effects, measure_edge_effects

FORMS = ("plain", "folded", "commuted")
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "transposed": [
        {"init": "constant"},
        {"tone_free": True},
        {"tone_free": True, "form": "folded"},
    ],
    "subpixel": [{"init": "icnr"}, {"tone_free": True}],
    "cubic": [{"coefficient": -0.5}],
    "sinc": [{"zeros": 4, "rolloff": 0.8}],
    "linear": [{"padding_mode": "replicate"}, {"padding_mode": "reflect", "form": "folded"}],
}
"""Further settings that a family goes through the battery with."""


def members() -> list[Any]:
    """Every registered name as it comes, in each form it has, and with its further settings."""
    cases = []
    for name in layers.available():
        cls = layers.get(name)
        settings: list[dict[str, Any]] = [{}, *OPTIONS.get(name, [])]
        if issubclass(cls, layers.PolyphaseUpsampler):
            settings += [{"form": form} for form in FORMS]
        for options in settings:
            words = "-".join(f"{key}={value}" for key, value in options.items())
            cases.append(pytest.param(cls, options, id=f"{name}-{words}" if words else name))
    return cases


def strides(cls: type[layers.Upsampler], among: Iterable[int] = range(1, 17)) -> list[int]:
    """Those that the family can do."""
    return [stride for stride in among if cls.allows_stride(stride)]


def kernel_sizes(cls: type[layers.Upsampler], stride: int) -> list[int]:
    """An even and an odd kernel beside the default, none shorter than the family allows."""
    least = cls.least_kernel_size(stride)
    return sorted({cls.default_kernel_size(stride), least, least + 1, least + 5})


def settled(layer: layers.Upsampler, time: int) -> torch.Tensor:
    """An input of two channels, long enough for any border the layer has."""
    least = layer.convolution.least_time if isinstance(layer, layers.PolyphaseUpsampler) else 1
    return torch.randn(2, 2, max(time, least), dtype=layer.weight.dtype)


def exact_length(cls: type[layers.Upsampler], options: dict[str, Any]) -> None:
    """The output has ``time * stride`` samples for every stride, kernel size and time."""
    for stride in strides(cls):
        for kernel_size in kernel_sizes(cls, stride):
            layer = cls(2, 3, stride, kernel_size, **options)
            for time in (1, 2, 7, 20):
                if options.get("padding_mode") == "reflect" and time * stride <= kernel_size // 2:
                    continue
                y = layer(torch.randn(2, 2, time))
                assert y.shape == (2, 3, time * stride) == (2, 3, layer.output_length(time))


def gradients_are_exact(cls: type[layers.Upsampler], options: dict[str, Any]) -> None:
    """Gradients with respect to input, weight and bias equal finite differences in float64."""
    for stride in strides(cls, (1, 2, 3, 4)):
        for kernel_size in (None, 6, 7):
            layer = cls(2, 2, stride, kernel_size, **options).double()
            x = settled(layer, 5)[:1].requires_grad_()
            parameters = {k: v for k, v in layer.named_parameters() if v.numel()}

            def function(
                x: torch.Tensor, *values: torch.Tensor, layer: Any = layer, names: Any = parameters
            ) -> torch.Tensor:
                tensors = dict(zip(names, values, strict=True))
                return torch.func.functional_call(layer, tensors, (x,))

            values = [p.detach().clone().requires_grad_() for p in parameters.values()]
            assert torch.autograd.gradcheck(function, (x, *values), fast_mode=True)


def form_is_plain(
    cls: type[layers.PolyphaseUpsampler], stride: int, options: dict[str, Any]
) -> None:
    """Output and gradients are those of the plain form, at every sample and tap."""
    for kernel_size in kernel_sizes(cls, stride):
        layer = cls(2, 3, stride, kernel_size, **options).double()
        oracle = cls(2, 3, stride, kernel_size, **{**options, "form": "plain"}).double()
        oracle.load_state_dict(layer.state_dict())
        x = settled(layer, 11)
        assert layer.form_for(x) == options.get("form", layer.form_for(x))
        weights, results = torch.randn_like(layer(x)), []
        for module in (layer, oracle):
            z = x.clone().requires_grad_()
            y = module(z)
            (y * weights).sum().backward()
            results.append([y, z.grad, *(p.grad for p in module.parameters())])
        for mine, plain in zip(*results, strict=True):
            torch.testing.assert_close(mine, plain, rtol=1e-9, atol=1e-9)


def config_round_trip(cls: type[layers.Upsampler], options: dict[str, Any]) -> None:
    """``cls(**get_config())`` is the same layer; the configuration is plain values."""
    for settings in ({}, {"kernel_size": 6}, {"bias": False}):
        layer = cls(2, 3, 4, **settings, **options)
        config = layer.get_config()
        assert json.loads(json.dumps(config)) == config
        assert options.items() <= config.items()
        twin = cls(**config)
        twin.load_state_dict(layer.state_dict())
        x = settled(layer, 9)
        assert twin.get_config() == config
        assert torch.equal(twin(x), layer(x))
        assert torch.equal(copy.deepcopy(layer)(x), layer(x))


def bias_is_optional(cls: type[layers.Upsampler], options: dict[str, Any]) -> None:
    """Without a bias there is no such parameter, and zeros give zeros."""
    layer = cls(2, 3, 4, bias=False, **options)
    assert layer.bias is None
    assert not any("bias" in name for name in layer.state_dict())
    assert torch.count_nonzero(layer(torch.zeros(1, 2, 9))) == 0


def is_linear(cls: type[layers.Upsampler], options: dict[str, Any]) -> None:
    """Without a bias the layer is a linear map, and delaying the input by one delays the output."""
    layer = cls(2, 3, 4, bias=False, **options).double()
    x, z = torch.randn(2, 1, 2, 140, dtype=torch.float64)
    torch.testing.assert_close(layer(2 * x - z), 2 * layer(x) - layer(z))
    later = layer(torch.nn.functional.pad(x, (1, 0)))
    torch.testing.assert_close(later[..., 264:304], layer(x)[..., 260:300])


def runs_in(cls: type[layers.Upsampler], options: dict[str, Any], dtype: torch.dtype) -> None:
    """The layer keeps its precision and comes near the float64 result."""
    layer = cls(2, 3, 4, **options)
    x = settled(layer, 12)
    exact = copy.deepcopy(layer).double()(x.double())
    y = layer.to(dtype)(x.to(dtype))
    assert y.dtype == dtype
    tolerance = {torch.float64: 1e-6, torch.float32: 1e-5, torch.bfloat16: 5e-2}[dtype]
    torch.testing.assert_close(y.double(), exact, rtol=tolerance, atol=tolerance)


def precision_survives_casts(cls: type[layers.Upsampler], options: dict[str, Any]) -> None:
    """Having been in half precision costs the weights some digits, and nothing else any."""
    layer = cls(2, 3, 4, **options).bfloat16().double()
    twin = cls(2, 3, 4, **options).double()
    twin.load_state_dict(layer.state_dict())
    x = settled(layer, 12)
    assert torch.equal(layer(x), twin(x))


def runs_under_autocast(cls: type[layers.Upsampler], options: dict[str, Any]) -> None:
    """bfloat16 comes out, gradients are float32, and ones make no tone where none was before."""
    layer = cls(2, 3, 4, **options)
    x = settled(layer, 40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
        ones = layer(torch.ones_like(x))[..., 60:100].unflatten(-1, (-1, 4)).detach()
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), layer(x), rtol=5e-2, atol=5e-2)
    y.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in layer.parameters())
    steady = layer.phase_sums()
    rounded = options.get("form") == "folded" or options.get("tone_free")
    if torch.allclose(steady, steady[:, :1], rtol=1e-6) and not rounded:
        last_bit = 2**-8 * float(ones.abs().max())  # a sinc's sums may fall on either side of a tie
        assert ones.float().std(-1).max() <= (last_bit if cls is layers.Sinc else 1e-6)


def takes_any_input(cls: type[layers.Upsampler], options: dict[str, Any]) -> None:
    """No samples, no examples, one sample, views, inputs without a gradient: all work."""
    layer = cls(2, 3, 4, **options)
    for batch, time in ((2, 0), (0, 5), (0, 0)):
        x = torch.randn(batch, 2, time, requires_grad=True)
        y = layer(x)
        assert y.shape == (batch, 3, layer.output_length(time))
        y.sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() == 0 for p in layer.parameters())
        layer.zero_grad()
    if options.get("padding_mode") != "reflect":
        assert torch.isfinite(layer(torch.randn(1, 2, 1))).all()
    x = settled(layer, 30)
    for view in (x.mT.contiguous().mT, x.repeat(1, 1, 2)[..., ::2], x.flip(0)[:, [1, 0]]):
        torch.testing.assert_close(layer(view), layer(view.clone().contiguous()))


def traces(cls: type[layers.Upsampler], options: dict[str, Any]) -> None:
    """``torch.jit.trace`` with one length gives a module for all lengths."""
    layer = cls(2, 3, 4, **options)
    with torch.no_grad():
        layer(settled(layer, 30))
        traced = torch.jit.trace(layer, torch.randn(1, 2, 30))
        for time in (3, 9, 200):
            x = torch.randn(2, 2, time)
            torch.testing.assert_close(traced(x), layer(x))


def compiles(cls: type[layers.Upsampler], options: dict[str, Any]) -> None:
    """``torch.compile`` traces the layer into one graph, with the same output and gradients."""
    torch._dynamo.reset()  # the other members count towards its limit of recompilations
    layer = cls(2, 3, 4, **options)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = settled(layer, 12)
    torch.testing.assert_close(compiled(x), layer(x))
    compiled(x).square().sum().backward()
    expected = copy.deepcopy(layer)
    expected.zero_grad()
    expected(x).square().sum().backward()
    for mine, other in zip(layer.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


def forgets_stale_weights(cls: type[layers.Upsampler], options: dict[str, Any]) -> None:
    """What is kept between calls without a gradient follows every way to change a parameter."""
    layer = cls(2, 3, 4, **options)
    donor = cls(2, 3, 4, **options)
    x = settled(layer, 30)

    def change_data() -> None:
        for parameter in layer.parameters():
            parameter.data.mul_(2)

    def step() -> None:
        layer(x).square().sum().backward()
        torch.optim.SGD(layer.parameters(), 0.1).step()

    def to_double_and_back() -> None:
        layer.double()(x.double())
        layer.float()

    changes = [
        change_data,
        step,
        lambda: layer.load_state_dict(donor.state_dict()),
        to_double_and_back,
    ]
    for change in changes:
        with torch.no_grad():
            layer(x)
        change()
        expected = layer(x).detach()
        with torch.no_grad():
            torch.testing.assert_close(layer(x), expected)
        with torch.inference_mode():
            torch.testing.assert_close(layer(x), expected)


def states_its_artifacts(cls: type[layers.Upsampler]) -> None:
    """The docstring says which artifacts the layer can cause, with the paper's section."""
    words = [vars(c).get("__doc__") or "" for c in cls.__mro__ if issubclass(c, layers.Upsampler)]
    stated = [doc for doc in words if "rtifacts" in doc and "[1] Sec" in doc]
    assert stated, cls
    assert "artifacts" in words[0].lower()


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
IMPOSSIBLE_OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("nearest", {"form": "fastest"}),
    ("linear", {"padding_mode": "circular"}),
    ("linear", {"form": None}),
    ("cubic", {"coefficient": 1}),
    ("cubic", {"coefficient": "sharp"}),
    ("sinc", {"zeros": 0}),
    ("sinc", {"rolloff": 0}),
    ("sinc", {"rolloff": 1.1}),
    ("transposed", {"trim": 1}),
    ("transposed", {"init": "ones"}),
    ("transposed", {"tone_free": "yes"}),
    ("transposed", {"kernel_size": 3}),
    ("subpixel", {"init": "constant"}),
    ("haar", {"stride": 6}),
    ("lazy_wavelet", {"stride": 3}),
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


def phase_sums_are_the_steady_response(
    cls: type[layers.Upsampler], options: dict[str, Any]
) -> None:
    """The closed form equals what comes out for ones, up to a rotation of the period."""
    for stride in strides(cls, (1, 2, 3, 4, 8)):
        for kernel_size in kernel_sizes(cls, stride):
            layer = cls(2, 3, stride, kernel_size, **options).double()
            y = layer(torch.ones(1, 2, 60, dtype=torch.float64))[0]
            period = y[:, 30 * stride : 31 * stride]
            rotations = [period.roll(shift, -1) for shift in range(stride)]
            difference = min((layer.phase_sums() - r).abs().max().item() for r in rotations)
            assert difference < 1e-12


def impulse_responses_are_what_comes_out(
    cls: type[layers.Upsampler], options: dict[str, Any]
) -> None:
    """An impulse in one channel gives the closed form, somewhere; its phases are the tap sums'."""
    for stride in strides(cls, (1, 2, 3, 4)):
        for kernel_size in kernel_sizes(cls, stride):
            layer = cls(2, 3, stride, kernel_size, **options).double()
            responses = layer.impulse_responses().detach()
            assert responses.shape[:2] == (3, 2)
            reach = 2 * (responses.shape[2] // stride) + 8
            x = torch.zeros(1, 2, 2 * reach, dtype=torch.float64)
            silence = layer(x)
            x[0, 1, reach] = 1
            y = (layer(x) - silence)[0].detach()
            start = int((y.abs() > 1e-12).any(0).nonzero()[0]) if y.any() else 0
            mine = int((responses[:, 1].abs() > 1e-12).any(0).nonzero()[0])
            length = min(responses.shape[2] - mine, y.shape[1] - start)
            heard = y[:, start : start + length]
            assert torch.allclose(heard, responses[:, 1, mine : mine + length], atol=1e-12)
            assert float(heard.abs().sum()) == pytest.approx(float(y.abs().sum()), abs=1e-9)
            missing = -responses.shape[2] % stride
            padded = torch.nn.functional.pad(responses.sum(1), (0, missing))
            sums = padded.unflatten(1, (-1, stride)).sum(1)
            assert torch.allclose(sums, layer.tap_sums(), atol=1e-12)


def borders_are_where_they_are_heard(cls: type[layers.Upsampler], options: dict[str, Any]) -> None:
    """The closed form of the borders, in samples and in dB, is what comes out for ones."""
    for stride in strides(cls, (1, 2, 3, 4)):
        for kernel_size in kernel_sizes(cls, stride):
            layer = cls(2, 3, stride, kernel_size, **options).double()
            predicted, measured = edge_effects(layer), measure_edge_effects(layer, 2, stride)
            assert (predicted.start, predicted.end) == (measured.start, measured.end)
            assert max(predicted.differences(measured).values()) < 1e-6


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
            learned = ((n, p) for n, p in model.named_parameters() if p.requires_grad)
            for name, parameter in learned:
                assert parameter.grad is not None, name
                assert parameter.grad.abs().max() > 0, name
        optimizer.step()
    assert losses[-1] < 0.98 * losses[0]
