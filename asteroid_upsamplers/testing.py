"""The tests that every upsampler passes: ``docs/write-an-upsampler.md``. PYTEST_DONT_REWRITE"""

from __future__ import annotations

import contextlib
import copy
import inspect
import json
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from .errors import UsageError, one_line
from .layers import FoldedUpsampler, Upsampler, linear_system, measured_system
from .layers.measured import double_copy

IN, OUT = 2, 3
STRIDES = (1, 2, 3, 4)
TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-5, torch.bfloat16: 5e-2}


def check_upsampler(
    cls: type[Upsampler], settings: dict[str, Any] | None = None, compiled: bool = True
) -> None:
    """Put a family of layers through every law of the contract (:class:`layers.Upsampler`).

    The weights are random, and the caller's random state stays as it was.

    Args:
        cls: The class; it need not be registered.
        settings: Further settings of the constructor to test it with, such as ``{"tone_free":
            True}``.
        compiled: Whether to test ``torch.compile``, ``torch.export`` and tracing as well, which
            takes some seconds.

    Raises:
        AssertionError: With the law that is broken, and the case.

    Example:
        >>> from asteroid_upsamplers import layers
        >>> check_upsampler(layers.Nearest, compiled=False)
    """
    for law in [*LAWS, *(PROGRAMS if compiled else [])]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            try:
                law(cls, dict(settings or {}))
            except Exception as error:
                said = f"{cls.__name__} breaks the law {law.__name__!r}: {one_line(error)}"
                raise AssertionError(said) from error


def possible_strides(cls: type[Upsampler], among: Sequence[int] = STRIDES) -> list[int]:
    """The strides that a family can do: those that its constructor does not refuse."""
    found = []
    for stride in among:
        with contextlib.suppress(UsageError):
            found.append(cls(1, 1, stride).stride)
    return found


def _layer(cls: type[Upsampler], settings: dict, **more: Any) -> Upsampler:
    return cls(IN, OUT, **{"stride": 4, **settings, **more})


def _refusal(call: Callable[[], Any], what: str) -> str:
    """What the ``ValueError`` of a call says."""
    try:
        call()
    except ValueError as error:
        return str(error)
    raise AssertionError(f"{what} is not refused")


def _input(time: int, batch: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(batch, IN, time, dtype=dtype)


def lengths_are_exact(cls: type[Upsampler], settings: dict[str, Any]) -> None:
    """``time * stride`` samples, or what ``output_length`` says; with and without a batch."""
    for stride in possible_strides(cls):
        default = cls(IN, OUT, stride).kernel_size
        for kernel_size in (default, default + 1, default + 4):
            layer = _layer(cls, settings, stride=stride, kernel_size=kernel_size)
            for time in (kernel_size // stride + 2, 7, 20):
                y = layer(_input(time))
                wanted = (2, OUT, layer.output_length(time))
                assert y.shape == wanted, f"{layer}: {tuple(y.shape)} instead of {wanted}"
                x = _input(time)
                assert torch.allclose(layer(x[0]), layer(x)[0], atol=1e-6), f"{layer}: no batch"


def impossible_settings_are_refused(cls: type[Upsampler], settings: dict[str, Any]) -> None:
    """One line that names the setting and its value."""
    wrong: dict[str, Any] = {"in_channels": 0, "out_channels": -1, "stride": 2.5, "bias": "no"}
    for name, value in (wrong | {"kernel_size": 0}).items():
        given = {"in_channels": IN, "out_channels": OUT, "stride": 4, **settings, name: value}
        said = _refusal(partial(cls, **given), f"{name}={value!r}")
        assert name in said and repr(value) in said and "\n" not in said, f"{name}: {said}"


def wrong_inputs_are_refused(cls: type[Upsampler], settings: dict[str, Any]) -> None:
    """Another number of channels or dimensions is an error, not a broadcast."""
    for shape in ((IN + 1, 9), (1, IN + 1, 9), (1, 1, IN, 9)):
        call = partial(_layer(cls, settings), torch.zeros(shape))
        said = _refusal(call, f"an input of shape {shape}")
        assert str(IN) in said, f"{shape}: {said}"


def configuration_rebuilds_the_layer(cls: type[Upsampler], settings: dict[str, Any]) -> None:
    """``cls(**get_config())`` is the same layer, and the configuration is plain values."""
    for more in ({}, {"kernel_size": 6}, {"bias": False}):
        layer = _layer(cls, settings, **more)
        config = layer.get_config()
        assert json.loads(json.dumps(config)) == config, f"not plain values: {config}"
        assert config.keys() == inspect.signature(cls).parameters.keys(), f"{config}"
        twin = cls(**config)
        twin.load_state_dict(layer.state_dict())
        x = _input(9)
        assert torch.equal(twin(x), layer(x)), f"{layer}: rebuilt, it computes something else"
        assert torch.equal(copy.deepcopy(layer)(x), layer(x)), f"{layer}: its copy differs"


def it_is_linear(cls: type[Upsampler], settings: dict[str, Any]) -> None:
    """Without a bias zeros give zeros, and impulse responses tell what any input becomes."""
    layer = _layer(cls, settings, bias=False)
    assert torch.count_nonzero(layer(torch.zeros(1, IN, 9))) == 0, "zeros do not give zeros"
    assert not any("bias" in name for name in layer.state_dict()), "a bias in spite of bias=False"
    layer = _layer(cls, settings)
    system, measured, exact = linear_system(layer), measured_system(layer), double_copy(layer)
    assert system.before == measured.before, f"{layer}: its known_system begins elsewhere"
    assert torch.allclose(system.responses, measured.responses, atol=1e-9), f"{layer}: known_system"
    x = _input(60, batch=1, dtype=torch.float64)
    y, stride = exact(x)[0], layer.stride
    taps = system.low_rate_taps()
    past = taps.shape[-1] - 1 - system.before
    for middle in (30, 31):
        seen = x[0, :, middle - past : middle - past + taps.shape[-1]]
        predicted = torch.einsum("osit,it->os", taps, seen) + system.offsets
        found = y[:, middle * stride : (middle + 1) * stride]
        assert torch.allclose(found, predicted, atol=1e-9), f"{layer}: another response elsewhere"


def gradients_are_exact(cls: type[Upsampler], settings: dict[str, Any]) -> None:
    """Those of input and parameters equal finite differences in float64."""
    for stride in possible_strides(cls, (2, 3)):
        layer = _layer(cls, settings, stride=stride).double()
        named = {name: p for name, p in layer.named_parameters() if p.numel()}

        def function(x: Tensor, *values: Tensor, layer: Any = layer, named: Any = named) -> Tensor:
            return torch.func.functional_call(layer, dict(zip(named, values, strict=True)), (x,))

        values = [p.detach().clone().requires_grad_() for p in named.values()]
        x = _input(6, batch=1, dtype=torch.float64).requires_grad_()
        assert torch.autograd.gradcheck(function, (x, *values), fast_mode=True)


def precisions_are_kept(cls: type[Upsampler], settings: dict[str, Any]) -> None:
    """float64, float32, bfloat16 and autocast come near the float64 result, in their precision."""
    layer = _layer(cls, settings)
    x = _input(40)
    exact = copy.deepcopy(layer).double()(x.double())
    for dtype, tolerance in TOLERANCES.items():
        y = copy.deepcopy(layer).to(dtype)(x.to(dtype))
        assert y.dtype == dtype, f"{y.dtype} comes out for {dtype}"
        assert torch.allclose(y.double(), exact, rtol=tolerance, atol=tolerance), f"{dtype}"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    assert torch.allclose(y.double(), exact, rtol=5e-2, atol=5e-2), "autocast"
    y.float().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, f"no gradient reaches {name} under autocast"
    once = copy.deepcopy(layer).bfloat16().double()
    twin = _layer(cls, settings).double()
    twin.load_state_dict(once.state_dict())
    assert torch.equal(once(x.double()), twin(x.double())), "half precision leaves a trace"


def any_input_is_taken(cls: type[Upsampler], settings: dict[str, Any]) -> None:
    """No samples, no examples, views: all work, and gradients of zero reach every parameter."""
    layer = _layer(cls, settings)
    for batch, time in ((2, 0), (0, 5)):
        y = layer(_input(time, batch))
        assert y.shape == (batch, OUT, layer.output_length(time))
        y.sum().backward()
        assert all(p.grad is not None and not p.grad.any() for p in layer.parameters())
        layer.zero_grad()
    x = _input(30)
    for view in (x.mT.contiguous().mT, x.repeat(1, 1, 2)[..., ::2], x.flip(0)[:, [1, 0]]):
        assert torch.allclose(layer(view), layer(view.clone().contiguous()), atol=1e-6)


def weights_count_as_they_are(cls: type[Upsampler], settings: dict[str, Any]) -> None:
    """Whatever changes a weight changes the output: nothing is kept from the call before."""
    layer, twin, x = _layer(cls, settings), _layer(cls, settings), _input(30)

    def write() -> None:
        for parameter in layer.parameters():
            parameter.data.view(-1)[0] += 10

    def write_through_numpy() -> None:
        for parameter in layer.parameters():
            parameter.detach().numpy().reshape(-1)[-1] += 10

    for change in (write, write_through_numpy):
        with torch.no_grad():
            layer(x)
            change()
            twin.load_state_dict(layer.state_dict())
            assert torch.equal(layer(x), twin(x)), f"{layer}: an old weight after {change.__name__}"


def parametrizations_work(cls: type[Upsampler], settings: dict[str, Any]) -> None:
    """Weight norm, spectral norm and pruning from outside: it runs, learns, copies, is redrawn."""
    if "weight" not in dict(_layer(cls, settings).named_parameters(recurse=False)):
        return  # its parameters are those of modules of its own
    changes: list[Callable[[nn.Module], Any]] = [
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        torch.nn.utils.weight_norm,
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    ]
    x = _input(20)
    for change in changes:
        layer = _layer(cls, settings)
        change(layer)
        target = torch.randn_like(layer(x))
        optimizer = torch.optim.Adam(layer.parameters(), 1e-2)
        losses = []
        for _ in range(5):
            loss = (layer(x) - target).square().mean()
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert losses[-1] < losses[0], f"{layer}: it does not learn with {change}"
        layer.eval()
        twin = _layer(cls, settings)
        layer(x)  # what computes the weight has run with the last parameters
        state = {n: p.detach() for n, p in layer.named_parameters() if n in twin.state_dict()}
        twin.load_state_dict(twin.state_dict() | state | {"weight": layer.weight.detach()})
        assert torch.allclose(layer(x), twin.eval()(x), atol=1e-5), f"{layer}: other weights"
        same = measured_system(layer).responses
        assert torch.allclose(same, measured_system(twin).responses, atol=1e-6), "other responses"
        layer.reset_parameters()
        assert torch.isfinite(layer(x)).all()  # it also computes the weight
        assert (layer.weight - twin.weight).any(), f"{layer}: reset_parameters() leaves the weight"


def folded_it_is_the_same(cls: type[Upsampler], settings: dict[str, Any]) -> None:
    """``fold_for_inference`` changes nothing but the cost, near the edges too."""
    layer = _layer(cls, settings).double()
    folded = FoldedUpsampler(layer)
    for time in (5, 6, 9, 50, 200):
        x = _input(time, dtype=torch.float64)
        assert torch.allclose(folded(x), layer(x), atol=1e-9), f"{layer}: folded, at {time} samples"


def one_program_serves_all_lengths(cls: type[Upsampler], settings: dict[str, Any]) -> None:
    """``torch.export`` with a free time axis and tracing give programs for every length;
    ``torch.compile`` makes at most two graphs of the whole layer, folded or not."""
    from torch._dynamo.testing import CompileCounter

    layer = _layer(cls, settings).eval()
    lengths = 64, layer.kernel_size // layer.stride + 2, 200, 2000
    inputs = [_input(time, batch=1) for time in lengths]  # of few numbers: torch counts them, too
    free = {"x": {2: torch.export.Dim("time", min=2, max=10**6)}}
    for module in (layer, FoldedUpsampler(layer)):
        exported = torch.export.export(module, (inputs[0],), dynamic_shapes=free).module()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # the check of the shape
            traced = torch.jit.trace(module, inputs[0])
        torch._dynamo.reset()
        counter = CompileCounter()
        compiled = torch.compile(module, backend=counter, fullgraph=True)
        for x in inputs:
            for program in (exported, traced, compiled):
                assert torch.allclose(program(x), module(x), atol=1e-5), f"{module}: {x.shape[-1]}"
        assert counter.frame_count <= 2, f"{module}: {counter.frame_count} graphs"


LAWS = [
    lengths_are_exact,
    impossible_settings_are_refused,
    wrong_inputs_are_refused,
    configuration_rebuilds_the_layer,
    it_is_linear,
    gradients_are_exact,
    precisions_are_kept,
    any_input_is_taken,
    weights_count_as_they_are,
    parametrizations_work,
    folded_it_is_the_same,
]
PROGRAMS = [one_program_serves_all_lengths]
