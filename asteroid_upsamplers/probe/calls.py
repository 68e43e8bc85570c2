"""Find every upsampling layer of a network, whoever wrote it, by watching it run.

Modules tell little: weights may be normalised, the decoders of Asteroid call functions, and a
subpixel layer's shuffle is a reshape. So the calls themselves are watched: transposed
convolutions, interpolations together with the convolution that follows, and reshapes that move the
channels of a convolution into time. Upsamplers of this package are taken as they are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ..artifacts.system import UpsamplingSystem, system_of, transposed_filters
from ..artifacts.tones import ToneLevels, tone_levels, tones_of_period
from ..layers import Upsampler
from .call_systems import (
    BY_FAMILY,
    KERNELS,
    convolved_filters,
    interpolation_filters,
    subpixel_filters,
    sums_2d,
)

SHAPES = {"view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "contiguous", "clone"}
ORDERS = {"permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims", "__get__"}
MOVES = SHAPES | ORDERS
"""Functions that only move numbers (``__get__`` is that of ``.mT``, ``.T`` and ``.data``)."""

KEEPS = frozenset(["pad", "contiguous", "clone", "to", "float", "double", "_pad"])
"""Functions after which an interpolated signal is still that."""


@dataclass(eq=False)
class UpsamplingCall:
    """One upsampling layer, as it was seen running.

    Args:
        name: Of the module that did it; numbered where it did several.
        kind: Name of the family, with ``2d`` where it upsamples images or spectrograms.
        stride: Upsampling factor in time, the last dimension.
        time: Length of its output.
        filters: As a linear system; ``None`` in two dimensions and where no weights were seen.
        layer: The upsampler of this package, if it is one.
        sums: Steady response to ones, ``(out_channels, other stride, stride)``, in two dimensions.
    """

    name: str
    kind: str
    stride: int
    time: int
    filters: UpsamplingSystem | None = None
    layer: Upsampler | None = None
    sums: Tensor | None = None

    def tones(self) -> ToneLevels | None:
        """What a constant becomes, from the weights; ``None`` where none were seen."""
        if self.layer is not None:
            return tone_levels(self.layer)
        if self.filters is not None:
            return tone_levels(self.filters)
        if self.sums is None:
            return None
        levels = tones_of_period(self.sums.flatten(0, 1))  # row by row, for the levels in time
        mean, power = self.sums.mean((1, 2)).square().sum(), self.sums.square().mean((1, 2)).sum()
        fraction = float((1 - mean / power).clamp(min=0).nan_to_num(nan=0.0))
        return ToneLevels(levels.levels_db, levels.per_channel_db, fraction)

    def as_filters(self) -> UpsamplingSystem | None:
        """The layer as a linear system, if it is one in one dimension."""
        return system_of(self.layer) if self.layer is not None else self.filters


Change = Callable[[int, UpsamplingCall, Tensor], Tensor]


@contextmanager
def watching(
    network: Callable[..., Any], change: Change | None = None
) -> Iterator[list[UpsamplingCall]]:
    """Watch the calls that a network makes inside the block.

    Args:
        network: The network that will be called.
        change: Called with the number of each upsampling layer, in the order of the calls, the call
            and its output; what it returns goes on through the network.

    Yields:
        The calls, filled while the block runs.
    """
    watch = _Watch(network, change)
    before = nn.modules.module.register_module_forward_pre_hook(watch.enter)
    after = nn.modules.module.register_module_forward_hook(watch.leave)
    try:
        with watch:
            yield watch.calls
    finally:
        before.remove()
        after.remove()


@dataclass(eq=False)
class _Convolution:
    """The convolution that a tensor comes from, and where its numbers went."""

    weight: Tensor
    bias: Tensor | None
    groups: int
    channels: int
    time: int
    places: Tensor = field(repr=False)


class _Watch(TorchFunctionMode):
    def __init__(self, network: Callable[..., Any], change: Change | None):
        super().__init__()
        modules = network.named_modules() if isinstance(network, nn.Module) else []
        self.names = {id(module): name for name, module in modules}
        self.change = change
        self.calls: list[UpsamplingCall] = []
        self.stack: list[nn.Module] = []

    def enter(self, module: nn.Module, args: Any) -> None:
        self.stack.append(module)

    def leave(self, module: nn.Module, args: Any, output: Any) -> Any:
        while self.stack and self.stack.pop() is not module:
            pass  # a module that left by an exception which was caught
        if isinstance(module, Upsampler) and not self._inside() and module.stride > 1:
            return self._found(module.name, module.stride, output, layer=module)
        return None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if self._inside() or not isinstance(output, Tensor):
            return output
        source = args[0] if args and isinstance(args[0], Tensor) else kwargs.get("input")
        name = getattr(func, "__name__", "")
        if func is F.interpolate:
            return self._interpolate(output, *args, **kwargs)
        if func in _CONVOLUTIONS:
            given = inspect.Signature(_CONVOLUTIONS[func]).bind(*args, **kwargs)
            given.apply_defaults()
            return self._convolution(func, output, **given.arguments)
        if isinstance(source, Tensor):
            if name in KEEPS and hasattr(source, "_upsampled"):
                output._upsampled = source._upsampled  # type: ignore[attr-defined]
            if name in MOVES and hasattr(source, "_convolved") and output.is_floating_point():
                return self._moved(func, output, source, args, kwargs)
        return output

    def _inside(self) -> bool:
        """Whether one of our upsamplers is at work: what it calls is its own affair."""
        return any(isinstance(module, Upsampler) for module in self.stack)

    def _found(self, kind: str, stride: int, output: Tensor, **facts: Any) -> Tensor:
        name = self.names.get(id(facts.get("layer")), "")
        if not name:
            named = [self.names[id(m)] for m in reversed(self.stack) if self.names.get(id(m))]
            name = named[0] if named else kind
        taken = [call.name for call in self.calls]
        if name in taken:
            count = sum(other.split("#")[0] == name for other in taken)
            name = f"{name}#{count + 1}"
        call = UpsamplingCall(name, kind, stride, output.shape[-1], **facts)
        self.calls.append(call)
        if self.change is not None:
            output = self.change(len(self.calls) - 1, call, output)
        output._upsampled = call  # type: ignore[attr-defined]
        return output

    def _convolution(
        self, func: Any, output: Tensor, input: Tensor, weight: Tensor, bias: Any, **how: Any
    ) -> Tensor:
        stride = how["stride"] if isinstance(how["stride"], (tuple, list)) else (how["stride"],)
        dilation = (
            how["dilation"] if isinstance(how["dilation"], (tuple, list)) else (how["dilation"],)
        )
        groups = how["groups"]
        if func is torch.conv1d:
            call = getattr(input, "_upsampled", None)
            plain = stride[0] == 1 and dilation[0] == 1
            if plain and call is not None and call.layer is None and call.kind in BY_FAMILY:
                call.filters = convolved_filters(call.kind, call.stride, weight, bias, groups)
            places = torch.empty(0)
            if stride[0] == 1 and output.dim() == 3:
                facts = (weight, bias, groups, *output.shape[1:], places)
                output._convolved = _Convolution(*facts)  # type: ignore[attr-defined]
            return output
        if stride[-1] == 1 and max(stride) == 1:
            return output
        if func is torch.conv_transpose1d:
            filters = transposed_filters(weight, bias, stride[0], groups, dilation[0])
            return self._found("transposed", stride[0], output, filters=filters)
        stride = stride * 2 if len(stride) == 1 else stride
        sums = sums_2d(weight, bias, tuple(stride), groups)
        return self._found("transposed2d", stride[1], output, sums=sums)

    def _interpolate(self, output: Tensor, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        mode = kwargs.get("mode", args[2] if len(args) > 2 else "nearest")
        aligned = kwargs.get("align_corners", args[3] if len(args) > 3 else None)
        factors = [o / i for o, i in zip(output.shape[2:], input.shape[2:], strict=True)]
        if max(factors) <= 1 or mode not in KERNELS or aligned:
            return output
        if any(factor != round(factor) for factor in factors):
            return output
        kind = KERNELS[mode][0]
        stride = round(factors[-1])
        if len(factors) > 1:
            ones = torch.ones(1, round(factors[0]), stride, dtype=torch.float64)
            return self._found(f"{kind}2d", stride, output, sums=ones)
        filters = interpolation_filters(kind, stride, output.shape[1])
        return self._found(kind, stride, output, filters=filters)

    def _moved(
        self, func: Any, output: Tensor, source: Tensor, args: tuple, kwargs: dict[str, Any]
    ) -> Tensor:
        """Move the places of the numbers as the numbers were moved, and look at them."""
        origin: _Convolution = source._convolved  # type: ignore[attr-defined]
        places = origin.places
        if not places.numel():
            places = torch.arange(source.numel(), device=source.device).view(source.shape)
        if any(argument is source for argument in args):
            args = tuple(places if argument is source else argument for argument in args)
        else:
            kwargs = {key: places if v is source else v for key, v in kwargs.items()}
        moved = func(*args, **kwargs)
        rows = _shuffled_rows(moved, origin)
        if rows is not None:
            filters = subpixel_filters(origin.weight, origin.bias, rows)
            return self._found("subpixel", rows.shape[1], output, filters=filters)
        facts = (origin.weight, origin.bias, origin.groups, origin.channels, origin.time, moved)
        output._convolved = _Convolution(*facts)  # type: ignore[attr-defined]
        return output


def _signature(*names: str, **defaults: Any) -> list[inspect.Parameter]:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    required = [inspect.Parameter(name, kind) for name in names]
    return required + [inspect.Parameter(n, kind, default=v) for n, v in defaults.items()]


_TRANSPOSED = _signature(
    "input", "weight", bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
)
_CONVOLUTIONS = {
    torch.conv1d: _signature(
        "input", "weight", bias=None, stride=1, padding=0, dilation=1, groups=1
    ),
    torch.conv_transpose1d: _TRANSPOSED,
    torch.conv_transpose2d: _TRANSPOSED,
}


def _shuffled_rows(moved: Tensor, origin: _Convolution) -> Tensor | None:
    """The channel that makes each phase, ``(out_channels, stride)``, if this is a shuffle."""
    if moved.dim() != 3 or moved.shape[2] <= origin.time or moved.shape[2] % origin.time:
        return None
    stride = moved.shape[2] // origin.time
    if moved.shape[1] * stride != origin.channels:
        return None
    channel, time = moved[0] // origin.time, moved[0] % origin.time
    frames = torch.arange(moved.shape[2], device=moved.device) // stride
    rows = channel[:, :stride]
    same = bool((time == frames).all()) and bool((channel == rows.repeat(1, origin.time)).all())
    return rows if same else None
