"""Find every upsampling layer of a network, whoever wrote it, by watching it run.

Modules tell little: weights may be normalised, decoders may call functions, and the shuffle of a
subpixel layer is a reshape. So the calls of torch's functions are watched:

- transposed convolutions, of one and two dimensions;
- interpolations, each together with the one convolution that follows it;
- moves (reshapes, transpositions) that bring the channels of a convolution side by side in time.

Upsamplers of this package are recognised as modules. What a tensor comes from is noted on the
tensor itself; a note no longer counts once its tensor was changed in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ..artifacts.system import AnyLayer, transposed_system
from ..layers import Upsampler
from .calls import (
    UpsamplingCall,
    convolved_system,
    interpolation_system,
    subpixel_system,
    transposed_system_2d,
)

CONVOLUTION = "input weight bias stride padding dilation groups"
TRANSPOSED = "input weight bias stride padding output_padding groups dilation"
INTERPOLATION = "input size scale_factor mode align_corners"
"""Names of the arguments, in torch's order."""

MOVES = {"view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "contiguous", "clone"}
MOVES |= {"permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims", "__get__"}
"""Functions that only move numbers (``__get__`` is that of ``.mT``, ``.T`` and ``.data``)."""

KEEPS = {"pad", "_pad", "contiguous", "clone", "to", "float", "double"}
"""Functions after which an interpolated signal still counts as that."""

FAMILIES = {"nearest": "nearest", "nearest-exact": "nearest", "area": "nearest"}
FAMILIES |= {"linear": "linear", "bilinear": "linear", "bicubic": "cubic"}
"""Modes of ``F.interpolate``, and the families that they are."""

Layer = Callable[[], AnyLayer]
Change = Callable[[int, UpsamplingCall, Tensor], Tensor]


@contextmanager
def watching(
    network: Callable[..., Any], change: Change | None = None
) -> Iterator[list[UpsamplingCall]]:
    """Watch the calls that a network makes inside the block.

    Args:
        network: The network that will be called.
        change: Called with the index of each upsampling layer (in the order of the calls), the call
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
class _Interpolated:
    """Noted on an interpolated signal, which may be convolved next."""

    call: UpsamplingCall
    alone: Layer
    convolutions: int = 0


@dataclass(frozen=True, eq=False)
class _Convolved:
    """Noted on the output of a convolution: its system once it is known which channel makes which
    phase, its size, and where each of its numbers went."""

    system: Callable[[Tensor], AnyLayer]
    channels: int
    time: int
    places: Tensor | None = None


class _Watch(TorchFunctionMode):
    def __init__(self, network: Callable[..., Any], change: Change | None):
        super().__init__()
        modules = network.named_modules() if isinstance(network, nn.Module) else []
        self.names = {id(module): name for name, module in modules}
        self.change = change
        self.calls: list[UpsamplingCall] = []
        self.stack: list[nn.Module] = []
        self.handlers = {
            torch.conv1d: (self._convolved, CONVOLUTION),
            torch.conv_transpose1d: (self._transposed, TRANSPOSED),
            torch.conv_transpose2d: (self._transposed, TRANSPOSED),
            F.interpolate: (self._interpolated, INTERPOLATION),
        }

    def enter(self, module: nn.Module, args: Any) -> None:
        self.stack.append(module)

    def leave(self, module: nn.Module, args: Any, output: Any) -> Any:
        while self.stack and self.stack[-1] is not module:
            self.stack.pop()  # a module that was left by an exception
        changed = None
        if isinstance(module, Upsampler) and module.stride > 1 and self._upsamplers() == 1:
            changed = self._found(module.name, module.stride, output, lambda: module)
        del self.stack[-1:]
        return changed

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if self._upsamplers() or not isinstance(output, Tensor):
            return output
        if func in self.handlers:
            handler, names = self.handlers[func]
            given = dict(zip(names.split(), args, strict=False)) | kwargs
            return handler(output, given)
        source: Any = args[0] if args else kwargs.get("input")
        note, name = _note_on(source), getattr(func, "__name__", "")
        if isinstance(note, _Interpolated) and name in KEEPS:
            _put_note(output, note)
        if isinstance(note, _Convolved) and name in MOVES and output.is_floating_point():
            return self._moved(func, output, source, note, args, kwargs)
        return output

    def _upsamplers(self) -> int:
        """How many of our own upsamplers are running; what they call is their own affair."""
        return sum(isinstance(module, Upsampler) for module in self.stack)

    def _found(self, kind: str, stride: int, output: Tensor, layer: Layer | None) -> Tensor:
        names = [self.names[id(m)] for m in reversed(self.stack) if self.names.get(id(m))]
        name = names[0] if names else kind
        count = sum(call.name.split("#")[0] == name for call in self.calls)
        name = f"{name}#{count + 1}" if count else name
        call = UpsamplingCall(name, kind, stride, output.shape[-1], layer)
        self.calls.append(call)
        return output if self.change is None else self.change(len(self.calls) - 1, call, output)

    def _transposed(self, output: Tensor, given: dict[str, Any]) -> Tensor:
        weight, bias, groups = given["weight"], given.get("bias"), given.get("groups", 1)
        dimensions = weight.dim() - 2
        strides = _tuple(given.get("stride", 1), dimensions)
        dilations = _tuple(given.get("dilation", 1), dimensions)
        kind, layer = "transposed", None
        if max(strides) == 1:
            return output
        if dimensions == 1:
            layer = partial(transposed_system, weight, bias, strides[0], groups, dilations[0])
        else:
            kind = "transposed2d"
            if max(dilations) == 1:
                layer = partial(transposed_system_2d, weight, bias, strides, groups)
        return self._found(kind, strides[-1], output, layer)

    def _interpolated(self, output: Tensor, given: dict[str, Any]) -> Tensor:
        family, sizes = FAMILIES.get(given.get("mode", "nearest")), given["input"].shape[2:]
        factors = [after / before for before, after in zip(sizes, output.shape[2:], strict=True)]
        whole = all(factor == round(factor) for factor in factors)
        if max(factors) <= 1 or not whole or family is None:
            return output
        kind, stride, layer = family + "2d" * (len(factors) > 1), round(factors[-1]), None
        if not given.get("align_corners"):
            layer = partial(interpolation_system, family, stride, output.shape[1])
        output = self._found(kind, stride, output, layer)
        if kind == family and layer is not None:
            _put_note(output, _Interpolated(self.calls[-1], layer))
        return output

    def _convolved(self, output: Tensor, given: dict[str, Any]) -> Tensor:
        weight, bias, groups = given["weight"], given.get("bias"), given.get("groups", 1)
        (stride,), (dilation,) = (_tuple(given.get(key, 1), 1) for key in ("stride", "dilation"))
        note = _note_on(given["input"])
        if isinstance(note, _Interpolated):
            note.convolutions += 1
            call, note.call.layer = note.call, note.alone
            if stride == 1 and note.convolutions == 1:  # of several none is the layer's own
                how = (weight, bias, groups, dilation)
                call.layer = partial(convolved_system, call.kind, call.stride, *how)
        if stride == 1 and output.dim() == 3:
            system = partial(subpixel_system, weight, bias, groups, dilation)
            _put_note(output, _Convolved(system, *output.shape[1:]))
        return output

    def _moved(
        self, func: Any, output: Tensor, source: Tensor, note: _Convolved, args: tuple, kwargs: Any
    ) -> Tensor:
        """Move the places of the numbers as the numbers were moved, and look at them."""
        places = note.places
        if places is None:
            places = torch.arange(source.numel(), device=source.device).view(source.shape)
        args = tuple(places if value is source else value for value in args)
        kwargs = {key: places if value is source else value for key, value in kwargs.items()}
        moved = func(*args, **kwargs)
        rows = _shuffled_rows(moved, note)
        if rows is None:
            _put_note(output, replace(note, places=moved))
            return output
        return self._found("subpixel", rows.shape[1], output, partial(note.system, rows))


def _shuffled_rows(moved: Tensor, origin: _Convolved) -> Tensor | None:
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


def _tuple(value: Any, length: int) -> tuple[int, ...]:
    """A setting of torch's convolutions, which is a number or a list of one or more."""
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * (length // len(values))


def _put_note(tensor: Tensor, note: _Interpolated | _Convolved) -> None:
    tensor._upsampling_note = note, _version(tensor)  # type: ignore[attr-defined]


def _note_on(value: Any) -> _Interpolated | _Convolved | None:
    """The note, unless the tensor was changed in place since it was made."""
    if not isinstance(value, Tensor):
        return None
    note, version = getattr(value, "_upsampling_note", (None, None))
    return note if version == _version(value) else None


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version
