"""Where the sample rate of a network's signals rises, measured from their lengths.

An operation whose output gains more samples from a longer input than what it takes has raised the
sample rate by that factor. No list of layers is needed for that. Only operations that make a
signal longer at the same rate need a rule: those that put samples before, behind or beside others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from .lengths import Lengthened, Lengths
from .operations import CONVOLUTIONS, INDEXING, MATRICES, WRITE, Op, Shape, Source

VIEWS = {"view", "_unsafe_view", "_reshape_alias"}
"""Operations that keep the order of the numbers, and give them another shape."""

MOVES = VIEWS | {"permute", "transpose", "transpose_", "t", "numpy_T", "clone", "expand", "alias"}
MOVES |= {"unsqueeze", "unsqueeze_", "squeeze", "squeeze_", "detach", "slice", "select"}
"""Operations that only move numbers."""

LENGTHENING = {"cat", "constant_pad_nd", "repeat", "roll", "slice", "slice_scatter"}
LENGTHENING |= {f"{kind}_pad{n}d" for kind in ("reflection", "replication") for n in (1, 2, 3)}
"""Operations that make a signal longer or shorter, at the same rate."""

SCATTERING = {
    f"{name}{end}" for name in ("index_add", "index_put", "index_copy") for end in ("", "_")
}
SCATTERING |= {f"scatter{name}{end}" for name in ("", "_add", "_reduce") for end in ("", "_")}
SCATTERING |= {"_index_put_impl_", "_unsafe_index_put", "put_", "index_reduce"}
"""Operations that put numbers at places that an index says."""

LEAST = Fraction(1, 25)
"""The rate rises if it rises by more than this; from 44.1 to 48 kHz it is twice as much."""

FOURIER = {"_fft_r2c", "_fft_c2c", "_fft_c2r"}


@dataclass(frozen=True)
class Growth:
    """An operation that raises the sample rate.

    Args:
        op: Its index.
        factor: By how much.
        time: The time axis of its output.
        seen: Whether that is the work of this operation; else what did it is unknown.
    """

    op: int
    factor: Fraction
    time: Lengthened
    seen: bool = True


def growths(lengths: Lengths, output: int | None) -> list[Growth]:
    """Where the sample rate rises on the way to an operation, or anywhere if that is ``None``."""
    used = lengths.used(output)
    of_signals = spectra(lengths)
    found: dict[int, Growth] = {}
    for index in sorted(used):
        found |= {hidden.op: hidden for hidden in _hidden(lengths, index)}
        if (growth := _growth(lengths, index, of_signals)) is not None:
            for replaced in _replaced(lengths.ops, index):
                found.pop(replaced, None)
            found[index] = growth
    return [found[k] for k in sorted(found) if not _undone(lengths, found[k], used)]


def comes_back(lengths: Lengths, growth: Growth) -> bool:
    """Whether the rate falls again by the same factor, before anything mixes channels.

    So it does around the nonlinearity of an anti-aliased activation (BigVGAN, StyleGAN 3).
    """
    waiting, seen = [growth.op], set()
    low = growth.time.change / float(growth.factor)
    while waiting and low:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        if not lengths.consumers[current]:
            return False
        for index in lengths.consumers[current]:
            time = lengths.output(index)
            if time is not None and time.change > 1.2 * low:
                if lengths.ops[index].name in CONVOLUTIONS | MATRICES:
                    return False
                waiting.append(index)
    return low > 0


def origin(ops: list[Op], source: Source) -> list[int]:
    """The operations behind a tensor, from the last back to one that does not only move numbers."""
    path = []
    while source.op is not None:
        path.append(source.op)
        if ops[source.op].name not in MOVES:
            break
        source = ops[source.op].sources[0]
    return path


def _growth(lengths: Lengths, index: int, of_signals: set[int]) -> Growth | None:
    op, time = lengths.ops[index], lengths.output(index)
    taken = [one.time.change for one in lengths.taken(index) if one.time]
    if time is None or not taken:
        return None
    ratio = Fraction(time.change, max(taken))
    spectrum = any(source.op in of_signals for source in op.sources)
    if op.name in VIEWS:
        before = next(one.time for one in lengths.taken(index) if one.time)
        ratio = Fraction(_below(op.sources[0].shape, before.axis), _below(op.shapes[0], time.axis))
    elif op.name == WRITE:
        ratio = _written(lengths, index, time)
    elif op.name in SCATTERING:
        ratio = _scattered(lengths, index, time, ratio)
    elif op.name == "_fft_c2r" and index not in of_signals and spectrum:
        ratio /= 2  # a spectrum of real numbers is given by half of it
    same_rate = _in_step(op, time.axis) if op.name in INDEXING else op.name in LENGTHENING
    if same_rate and not spectrum:
        return None
    if spectrum:  # half as many numbers as the signal that it stands for
        time = Lengthened(time.axis, 2 * time.change)
    return Growth(index, ratio, time) if _rises(ratio, max(taken)) else None


def _hidden(lengths: Lengths, index: int) -> list[Growth]:
    """Growth between the operations that made what this one takes, and this one."""
    found = []
    for one in lengths.taken(index):
        if one.hidden and one.time:
            before = max((time.change for time in lengths.before(one.op)), default=None)
            if before and _rises(ratio := Fraction(one.time.change, before), before):
                made_by = index if one.op in lengths.partners else one.op
                found.append(Growth(made_by, ratio, one.time, False))
    return found


def _rises(ratio: Fraction, change: int) -> bool:
    """Whether it is more than padding, which differs from one length to the next."""
    return ratio > 1 + max(Fraction(2, change), LEAST)


def _written(lengths: Lengths, index: int, time: Lengthened) -> Fraction:
    """How far apart the samples of the part that was written lie in the whole."""
    _, part, whole = lengths.ops[index].arguments
    first = lengths.ops[index].sources[0].op
    written = next((one.time for one in lengths.taken(index) if one.op == first), None)
    return Fraction(part[written.axis], whole[time.axis]) if written else Fraction(1)


def _scattered(lengths: Lengths, index: int, time: Lengthened, ratio: Fraction) -> Fraction:
    """Against frames, if it is frames that were flattened to be put somewhere."""
    for source in lengths.ops[index].sources[1:]:
        path = origin(lengths.ops, source)
        frames = lengths.output(path[-1]) if path and path[-1] in lengths.heard else None
        if frames is not None:
            return Fraction(time.change, frames.change)
    return ratio


def _replaced(ops: list[Op], index: int) -> list[int]:
    """Operations that a growth takes the place of: the moves before it, and earlier writing."""
    op = ops[index]
    if op.name == WRITE:
        return [source.op for source in op.sources[1:] if source.op is not None]
    if op.name in SCATTERING:
        return [k for source in op.sources for k in origin(ops, source)[:-1]]
    return []


def _in_step(op: Op, axis: int) -> bool:
    """Whether an index goes through the signal at its own rate, as one that repeats all of it."""
    given = [v for v in _flat(op.arguments[1:]) if isinstance(v, Tensor) and v.numel() > 1]
    if not given or given[-1].is_floating_point() or given[-1].dtype == torch.bool:
        return False
    places = given[-1].movedim(axis, -1) if given[-1].dim() == len(op.shapes[0]) else given[-1]
    steps = places.flatten(0, -2)[0].diff() if places.dim() > 1 else places.diff()
    ahead = steps[steps >= 0].double()
    return not len(ahead) or float(ahead.mean()) > 0.75


def _flat(values: object) -> list[object]:
    return (
        [v for item in values for v in _flat(item)]
        if isinstance(values, (list, tuple))
        else [values]
    )


def _below(shape: Shape, axis: int) -> int:
    """How far one sample along an axis moves in memory."""
    return math.prod(shape[axis + 1 :])


def spectra(lengths: Lengths) -> set[int]:
    """Operations whose output is a spectrum of the whole signal, frequency along its time axis."""
    found: set[int] = set()
    for index in sorted(lengths.heard):
        op = lengths.ops[index]
        spectrum = any(one.op in found for one in lengths.taken(index))
        time = next((one.time for one in lengths.taken(index) if one.time), None)
        if (
            op.name in FOURIER
            and time
            and time.axis in [d % len(op.shapes[0]) for d in op.arguments[1]]
        ):
            spectrum = not spectrum
        if spectrum:
            found.add(index)
    return found


def _undone(lengths: Lengths, growth: Growth, used: set[int]) -> bool:
    """Whether a signal that was flattened gets its old shape back, as for a norm over all of it."""
    op = lengths.ops[growth.op]
    if op.name not in VIEWS:
        return False
    waiting = [growth.op]
    while waiting:
        current = waiting.pop()
        consumers = [k for k in lengths.consumers[current] if k in used]
        if not consumers:
            return False
        for index in consumers:
            after, time = lengths.ops[index], lengths.output(index)
            if time is None:
                continue  # a sum over all samples, for example
            if after.shapes[0] == op.shapes[0]:
                waiting.append(index)
            elif after.name not in VIEWS or time.change * growth.factor != growth.time.change:
                return False
    return True
