"""Find every upsampling layer of a network, whoever wrote it, by watching it run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from ..layers import Upsampler
from ..layers.inference import FoldedUpsampler
from .calls import UpsamplingCall
from .growth import Growth, comes_back, growths
from .kinds import call_of
from .lengths import Lengthened, Lengths
from .operations import CONVOLUTIONS, Record
from .trace import Trace, tracing


@contextmanager
def watching(network: Callable[..., Any]) -> Iterator[list[UpsamplingCall]]:
    """Watch the calls that a network makes inside the block.

    Args:
        network: The network that will be called. A module is run once more at the end, on the
            first half of its input: that tells which axis is time. Of
            others only transposed convolutions, interpolations and layers of this package are
            found, with time as the last axis.

    Yields:
        The upsampling layers, filled when the block ends.
    """
    calls: list[UpsamplingCall] = []
    with tracing(network, inside=isinstance(network, nn.Module)) as trace:
        yield calls
    calls += upsampling_calls(trace, _shorter(network, trace.called))


def upsampling_calls(
    trace: Record, other: Record | None, output: int | None = None
) -> list[UpsamplingCall]:
    """The upsampling layers of a run.

    Args:
        trace: The run.
        other: A run on an input of another length, if there is one.
        output: Index of the operation that gave the output; layers that it does not depend on are
            left out.
    """
    lengths = Lengths(trace, other or trace)
    found = growths(lengths, output)
    found += _assumed(lengths, lengths.used(output) - {growth.op for growth in found})
    found.sort(key=lambda growth: growth.op)
    calls = [call_of(lengths, growth) for growth in found]
    names = [call.name or call.kind for call in calls]
    for index, (call, name) in enumerate(zip(calls, names, strict=True)):
        before = names[:index].count(name)
        call.name = f"{name}#{before + 1}" if before else name
        if other is not None and not call.change and names.count(name) > 1:
            call.group = name  # it runs on one part of the signal after the other
    _group([call for call, growth in zip(calls, found, strict=True) if comes_back(lengths, growth)])
    return calls


def _group(calls: list[UpsamplingCall]) -> None:
    """Name the groups of layers whose names differ in their numbers only."""
    names = [(re.sub(r"\d+", "*", call.name), call.kind, call.stride) for call in calls]
    for call, name in zip(calls, names, strict=True):
        call.group = name[0] if names.count(name) > 1 else ""


def _assumed(lengths: Lengths, indices: set[int]) -> list[Growth]:
    """Layers of known stride whose lengths do not change; time is taken to be the last axis."""
    found = []
    for index in indices:
        op, factor = lengths.ops[index], Fraction(1)
        if isinstance(op.function, (Upsampler, FoldedUpsampler)):
            factor = Fraction(op.function.stride)
        elif op.name in CONVOLUTIONS and op.arguments[6]:
            factor = Fraction(op.arguments[3][-1])
        elif "upsample_" in op.name:
            factor = Fraction(op.shapes[0][-1], op.sources[0].shape[-1])
        if factor > 1 and lengths.output(index) is None:
            found.append(Growth(index, factor, Lengthened(len(op.shapes[0]) - 1, 0)))
    return found


def _shorter(network: Callable[..., Any], called: list[tuple[Any, ...]]) -> Trace | None:
    """The same calls on the first half of their inputs."""
    inputs = [args[0] for args in called if len(args) == 1 and isinstance(args[0], Tensor)]
    if not inputs or len(inputs) < len(called):
        return None
    try:
        with torch.no_grad(), torch.random.fork_rng(), tracing(network, inside=True) as trace:
            for x in inputs:
                network(x[..., : x.shape[-1] // 2])
    except (Exception, SystemExit):  # whatever it raises: it takes inputs of one length
        return None
    return trace
