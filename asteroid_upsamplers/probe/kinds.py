"""What kind of layer an operation is that raises the sample rate, and its linear system."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from ..artifacts.system import AnyLayer, transposed_system
from ..layers import Upsampler
from ..layers.inference import FoldedUpsampler
from .calls import (
    UpsamplingCall,
    convolved_system,
    fraction_of,
    interpolation_system,
    subpixel_system,
    transposed_system_2d,
)
from .growth import MOVES, SCATTERING, Growth, origin
from .lengths import Lengths
from .moves import fraction_repeated, moved_from, shuffled_rows
from .operations import CONVOLUTIONS, INDEXING, MATRICES, WRITE, Op

KEEPS = {"constant_pad_nd", "clone", "_to_copy", "detach", "alias", "reflection_pad1d"}
KEEPS |= {"replication_pad1d", "squeeze", "unsqueeze"}
"""Operations after which an interpolated signal still counts as that."""

FAMILIES = {"nearest": "nearest", "avg_pool": "nearest", "linear": "linear", "cubic": "cubic"}
"""Words in the names of torch's interpolations, and the families that they are."""

LINEAR, ADDING = {"mm", "addmm", "bmm"}, {"add", "add_"}
"""What ``nn.Linear`` calls for its weight, and may call for its bias."""

UNKNOWN = "unknown"

Layer = Callable[[], AnyLayer]


def call_of(lengths: Lengths, growth: Growth) -> UpsamplingCall:
    """An upsampling layer, from the operation that makes its output."""
    op, axis = lengths.ops[growth.op], growth.time.axis
    stride = _stride(growth)
    kind, layer = _kind(lengths, growth, stride) if growth.seen else (UNKNOWN, None)
    shape = next((s for s in op.shapes if -len(s) <= axis < len(s)), op.shapes[0])
    return UpsamplingCall(
        op.place, kind, stride, shape[axis], layer, growth.op, axis, growth.time.change
    )


def _stride(growth: Growth) -> int | float:
    """A whole number if the lengths allow it: they are rounded to whole samples."""
    whole = round(growth.factor)
    rounding = max(0.01, 1.5 * float(growth.factor) / max(growth.time.change, 1))
    exact = growth.factor == whole or abs(growth.factor / whole - 1) < min(rounding, 0.1)
    return whole if exact else float(fraction_of(growth.factor, 1 / max(growth.time.change, 1)))


def _kind(lengths: Lengths, growth: Growth, stride: int | float) -> tuple[str, Layer | None]:
    op, axis = lengths.ops[growth.op], growth.time.axis
    dimensions = len(op.shapes[0]) - 2
    if isinstance(op.function, Upsampler):
        return op.function.name, lambda: op.function
    if isinstance(op.function, FoldedUpsampler):
        return "folded", partial(_folded, op.function)
    if op.name in CONVOLUTIONS:
        return "transposed" + _in_two(dimensions), _transposed(op, axis)
    family = next((FAMILIES[word] for word in FAMILIES if word in op.name), None)
    if family is not None and ("upsample" in op.name or "pool" in op.name):
        if op.shapes[0][-2] == 1:  # an image of one row
            dimensions = 1
        layer = _interpolation(op, family, stride, axis)
        if dimensions == 1 and layer is not None:
            layer = _convolved(lengths, growth.op, family, stride, layer)
        return family + _in_two(dimensions), layer
    if op.name in MOVES | INDEXING | {WRITE, "pixel_shuffle"}:
        return _moved(lengths, growth, stride)
    if op.name in MATRICES:
        return "matrix", None
    if op.name == "constant_pad_nd":
        return "spectrum", None
    if op.name in SCATTERING | {"col2im", "unfold_backward", "im2col_backward"}:
        return "overlap-add", None
    return op.name, None


def _in_two(dimensions: int) -> str:
    return f"{dimensions}d" if dimensions > 1 else ""


def _folded(layer: FoldedUpsampler) -> AnyLayer:
    rows = torch.arange(len(layer.weight)).view(-1, layer.stride)
    return subpixel_system(layer.weight, layer.bias, 1, 1, rows)


def _transposed(op: Op, axis: int) -> Layer | None:
    _, weight, bias, strides, _, dilations, _, _, groups = op.arguments[:9]
    if not isinstance(weight, Tensor) or not isinstance(bias, Tensor | None):
        return None
    if weight.dim() == 3:
        return partial(transposed_system, weight, bias, strides[0], groups, dilations[0])
    if weight.dim() != 4 or max(dilations) > 1:
        return None
    if axis % 4 == 2:  # time before frequency
        weight, strides = weight.mT, strides[::-1]
    return partial(transposed_system_2d, weight, bias, strides, groups)


def _interpolation(op: Op, family: str, stride: int | float, axis: int) -> Layer | None:
    """``None`` with corners aligned or between odd rates: then its filter changes with time."""
    corners = any(value is True for value in op.arguments)
    before = op.sources[0].shape
    if corners or op.shapes[0][axis] != stride * before[axis]:
        return None
    return partial(interpolation_system, family, int(stride), op.shapes[0][1])


def _convolved(
    lengths: Lengths, index: int, family: str, stride: int | float, alone: Layer
) -> Layer:
    """The interpolation with the one convolution that follows it; of several none is its own."""
    found = list(_convolutions(lengths, index))
    if len(found) != 1:
        return alone
    _, weight, bias, strides, _, dilations, transposed, _, groups = found[0].arguments[:9]
    plain = weight.dim() == 3 if isinstance(weight, Tensor) else False
    if transposed or max(strides) > 1 or not plain or not isinstance(bias, Tensor | None):
        return alone
    return partial(convolved_system, family, int(stride), weight, bias, groups, dilations[0])


def _convolutions(lengths: Lengths, index: int) -> Iterator[Op]:
    for k in lengths.consumers[index]:
        op = lengths.ops[k]
        if op.name in CONVOLUTIONS:
            yield op
        elif op.name in KEEPS:
            yield from _convolutions(lengths, k)


def _moved(lengths: Lengths, growth: Growth, stride: int | float) -> tuple[str, Layer | None]:
    """Numbers that were put side by side: the same, zeros, or those of several channels."""
    ops = lengths.ops
    op, axis = ops[growth.op], growth.time.axis
    places, leaves = moved_from(ops, growth.op)
    places = places.movedim(axis, -1)
    dimensions = _in_two(2 if op.name == "pixel_shuffle" else 1)
    repeated, zeros = fraction_repeated(places), float((places < 0).double().mean())
    expected = 1 - 1 / float(stride)
    if abs(zeros - expected) < 0.02:
        return "stretch", None
    if abs(repeated - expected) < 0.02:
        if places.dim() != 3 or stride != round(stride):
            return "nearest", None
        alone = partial(interpolation_system, "nearest", int(stride), places.shape[1])
        layer = _convolved(lengths, growth.op, "nearest", stride, alone)
        return "nearest", layer
    if len(set(leaves)) > 1:
        return "interleaved", None
    return "subpixel" + dimensions, _subpixel(ops, places, leaves)


def _subpixel(ops: list[Op], places: Tensor, leaves: list[int]) -> Layer | None:
    """The shuffled convolution, if it is one and nothing else stands between."""
    op = ops[leaves[0]]
    if len(leaves) != 1:
        return None
    if op.name not in CONVOLUTIONS:
        return _shuffled_frames(ops, op, places)
    _, weight, bias, strides, _, dilations, transposed, _, groups = op.arguments[:9]
    plain = isinstance(weight, Tensor) and isinstance(bias, Tensor | None) and weight.dim() == 3
    rows = shuffled_rows(places, op.shapes[0]) if plain and places.dim() == 3 else None
    if not plain or transposed or max(strides) > 1 or rows is None:
        return None
    return partial(subpixel_system, weight, bias, groups, dilations[0], rows)


def _shuffled_frames(ops: list[Op], op: Op, places: Tensor) -> Layer | None:
    """The same of a linear layer, channels last in memory: a convolution of length 1."""
    bias, product = None, op
    if op.name in ADDING and len(op.sources) == 2:
        bias, product = op.arguments[1], ops[(origin(ops, op.sources[0]) or [0])[-1]]
    elif op.name == "addmm":
        bias = op.arguments[0]
    weight = product.arguments[-1] if product.name in LINEAR else None
    if not isinstance(weight, Tensor) or not isinstance(bias, Tensor | None):
        return None
    if weight.dim() == 3 and (len(weight) == 1 or not weight.stride(0)):  # the same for a batch
        weight = weight[0]
    places = places[:, None] if places.dim() == 2 else places
    channels = weight.shape[-1]
    time = torch.Size(op.shapes[0]).numel() // channels // len(places)
    if places.dim() != 3 or weight.dim() != 2 or (bias is not None and len(bias) != channels):
        return None
    moved = places[:1] % channels * time + places[:1] // channels
    rows = shuffled_rows(moved, (1, channels, time))
    if rows is None:
        return None
    return partial(subpixel_system, weight.T[:, :, None], bias, 1, 1, rows)
