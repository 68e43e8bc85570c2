"""Where the numbers of a tensor stood before they were moved: moves of indices in their place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from .growth import LENGTHENING, MOVES, VIEWS, origin
from .operations import INDEXING, WRITE, Op, Shape, Source

COPIES = {"clone", "_to_copy", "detach", "alias"}
REPEATED = MOVES | COPIES | INDEXING | LENGTHENING
REPEATED |= {"stack", "pixel_shuffle", "unbind", "split", "unsafe_split", "as_strided"}
ZEROS = {"zeros", "new_zeros", "zeros_like"}
NEUTRAL = {"mul": (1, {"ones", "new_ones", "ones_like"}), "add": (0, ZEROS)}
"""Operations that change nothing with such a number, and what makes tensors of it."""


Leaves = list[tuple[int | None, int]]
"""Operations, each with one of its outputs."""

APART = 2**40
"""Places in one tensor are so far from those in the next."""

NOTHING = -1
"""The place of zeros that came from nowhere."""


def moved_from(ops: list[Op], index: int) -> tuple[Tensor, list[int]]:
    """The place of each number of an operation's output, and the operations that made them.

    Places count the numbers of the first of these operations from 0, of the second from 2**40, and
    so on; that of zeros is negative.
    """
    leaves: Leaves = []
    places = _places(ops, Source(index, ops[index].shapes[0]), leaves)
    return places, [op for op, _ in leaves if op is not None]


def fraction_repeated(places: Tensor) -> float:
    """How many samples are the one before once more, along the last axis."""
    return float((places.diff(dim=-1) == 0).double().mean())


def shuffled_rows(places: Tensor, origin: Shape) -> Tensor | None:
    """The channel that makes each phase, ``(out_channels, stride)``, if this is a shuffle.

    Args:
        places: ``(batch, out_channels, time * stride)``, in a tensor of shape ``origin``.
        origin: ``(batch, channels, time)``.
    """
    channels, time = origin[1:]
    if places.shape[2] <= time or places.shape[2] % time:
        return None
    stride = places.shape[2] // time
    if places.shape[1] * stride != channels:
        return None
    channel, sample = places[0] // time, places[0] % time
    frames = torch.arange(places.shape[2]) // stride
    rows = channel[:, :stride]
    same = bool((sample == frames).all()) and bool((channel == rows.repeat(1, time)).all())
    return rows if same else None


def _places(ops: list[Op], source: Source, leaves: Leaves) -> Tensor:
    op = ops[source.op] if source.op is not None else None
    if op is not None and op.name in ZEROS:
        return torch.full(source.shape, NOTHING)
    if op is not None and op.name == WRITE:
        offset, strides, _ = op.arguments
        part, whole = (_places(ops, s, leaves) for s in op.sources)
        whole = whole.clone(memory_format=torch.contiguous_format)
        whole.as_strided(part.shape, strides, offset).copy_(part)
        return whole
    if op is not None and op.name == "copy_":
        return _places(ops, op.sources[1], leaves).expand(source.shape)
    repeated = _times_one(ops, op) if op is not None else None
    if repeated is not None:
        return _places(ops, repeated, leaves).expand(source.shape)
    if op is not None and op.name in REPEATED and op.sources:
        return _repeated(ops, op, source, leaves)
    leaf = source.op, source.output
    if leaf not in leaves:
        leaves.append(leaf)
    first = APART * leaves.index(leaf)
    count = torch.Size(source.shape).numel()
    return torch.arange(first, first + count).view(source.shape)


def _times_one(ops: list[Op], op: Op) -> Source | None:
    """What an operation repeats by broadcasting, as ``torch.kron`` with ones does."""
    if op.name not in NEUTRAL or len(op.sources) != 2:
        return None
    value, factories = NEUTRAL[op.name]
    heard = [s.op is not None and ops[s.op].heard for s in op.sources]
    if sum(heard) != 1:
        return None
    argument, constant = op.arguments[heard.index(False)], op.sources[heard.index(False)]
    path = origin(ops, constant)
    plain = bool(path) and ops[path[-1]].name in factories
    if isinstance(argument, Tensor):
        plain = bool((argument == value).all())
    return op.sources[heard.index(True)] if plain else None


def _repeated(ops: list[Op], op: Op, source: Source, leaves: Leaves) -> Tensor:
    def moved(value: Any) -> Any:
        if isinstance(value, Source):
            return _places(ops, value, leaves)
        return value.cpu() if isinstance(value, Tensor) else value

    arguments = tree_map(moved, op.arguments)
    if op.name in COPIES:
        return arguments[0]
    if op.name in VIEWS:
        return arguments[0].reshape(source.shape)
    if op.name == "constant_pad_nd":
        arguments = (*arguments[:2], NOTHING)
    if op.name == "as_strided":
        arguments = (arguments[0].contiguous(), *arguments[1:])
    output = op.function(*arguments)
    return output if isinstance(output, Tensor) else output[source.output]
