"""Linear interpolation that exporters write out: ``x[i] + (x[j] - x[i]) * w`` is one layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from .operations import INDEXING, Op, Source

NEAR = 1e-3
"""Of a sample: rounding of positions."""


def joined(ops: Sequence[Op]) -> list[Op]:
    """The same operations, of which sums that interpolate are ``upsample_linear1d``."""
    return [_interpolation(ops, op) or op for op in ops]


def _interpolation(ops: Sequence[Op], op: Op) -> Op | None:
    if op.name != "add" or len(op.sources) != 2:
        return None
    low, product = (_made(ops, source) for source in op.sources)
    if low is None or low.name not in INDEXING or product is None or product.name != "mul":
        return None
    factors = (ops[s.op] for s in product.sources if s.op is not None)
    difference = next((one for one in factors if one.name == "sub"), None)
    both = [_made(ops, source) for source in difference.sources] if difference else []
    if len(both) != 2 or both[1] is not low or both[0] is None or both[0].name not in INDEXING:
        return None
    data = _data(ops, low.sources[0], op.shapes[0])
    if data is None or both[0].sources[0] != low.sources[0]:
        return None
    other = not _between(low, product, data, op)
    return replace(
        op, name="upsample_linear1d", sources=[data], arguments=(data, other), function=None
    )


def _made(ops: Sequence[Op], source: Source) -> Op | None:
    """The operation behind a tensor, before its axes were put in another order."""
    op = ops[source.op] if source.op is not None else None
    return _made(ops, op.sources[0]) if op is not None and op.name == "permute" else op


def _data(ops: Sequence[Op], source: Source, shape: Sequence[int]) -> Source | None:
    """What is interpolated, with its axes in the order of the result."""
    while sum(a != b for a, b in zip(source.shape, shape, strict=False)) != 1:
        if source.op is None or ops[source.op].name != "permute":
            return None
        source = ops[source.op].sources[0]
    return source if len(source.shape) == len(shape) else None


def _between(low: Op, product: Op, data: Source, result: Op) -> bool:
    """Whether the samples lie where ``F.interpolate`` puts them by default."""
    found = [
        [v for v in tree_leaves(op.arguments) if isinstance(v, Tensor)] for op in (low, product)
    ]
    pairs = zip(data.shape, result.shapes[0], strict=True)
    short, long = next((a, b) for a, b in pairs if a != b)
    if not all(found) or any(values[-1].numel() != long for values in found):
        return False
    places = (found[0][-1].flatten() + found[1][-1].flatten()).double()
    expected = (torch.arange(long).double() + 0.5) * short / long - 0.5
    return bool((places - expected.clamp(min=0)).abs().max() < NEAR * max(1, long / 1000))
