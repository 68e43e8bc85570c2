"""A network's operations in two runs, on inputs of two lengths: which axis of a tensor is time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from typing import NamedTuple

from .operations import INPUT, WRITE, Op, Record, Shape, is_factory
from .written_out import joined


class Lengthened(NamedTuple):
    """The time axis of a tensor, and how many samples more the longer input gives it."""

    axis: int
    change: int


class Taken(NamedTuple):
    """A tensor that an operation takes, as the network's signal.

    Args:
        op: Index of the operation that made it.
        time: Its time axis; ``None`` if it has none.
        hidden: Whether what happened between that operation and this one was not seen.
    """

    op: int
    time: Lengthened | None
    hidden: bool = False


class Lengths:
    """The operations of a run, paired with those of a run on an input of another length.

    They are paired in their order from the start and from the end. In between, where a loop over
    frames has more steps for a longer input, those are paired that are equally many in both runs.

    Attributes:
        ops: Of the first run.
        heard: Indices of those whose output depends on the network's input; all if what that is
            was not seen.
        consumers: By the index of an operation: those that take its output.
    """

    def __init__(self, trace: Record, other: Record):
        self.ops, others = joined(trace.ops), joined(other.ops)
        self.partners = _pairs(self.ops, others)
        self.consumers: dict[int, list[int]] = defaultdict(list)
        marked = any(op.name == INPUT for op in self.ops)
        self.heard = set() if marked else set(range(len(self.ops)))
        self._last: dict[int, int] = {}
        last = None
        for index, op in enumerate(self.ops):
            if last is not None:
                self._last[index] = last
            taken = self.taken(index)
            for one in taken:
                self.consumers[one.op].append(index)
            if taken or op.heard:
                self.heard.add(index)
                last = index if self.output(index) else last

    def output(self, index: int) -> Lengthened | None:
        """The time axis of an operation's output."""
        partner = self.partners.get(index)
        if partner is None:
            return None
        pairs = zip(self.ops[index].shapes, partner.shapes, strict=False)
        return next((found for long, short in pairs if (found := time_axis(long, short))), None)

    def taken(self, index: int) -> list[Taken]:
        """What an operation takes of the signal.

        A tensor with a time axis that no operation made came from outside of torch: it stands for
        the last operation before. One that was made by operations without a partner stands for what
        these took.
        """
        op, partner = self.ops[index], self.partners.get(index)
        found: list[Taken] = []
        if is_factory(op.name):
            return found
        for place, source in enumerate(op.sources):
            other = partner.sources[place].shape if partner else source.shape
            time = time_axis(source.shape, other)
            if source.op is None:
                if time is not None and not source.weight and index in self._last:
                    found.append(Taken(self._last[index], time, True))
            elif source.op in self.heard:
                hidden = source.op not in self.partners and partner is not None
                found.append(Taken(source.op, time, hidden))
        return found

    def before(self, index: int) -> list[Lengthened]:
        """The last signals with a time axis that went into an operation without a partner."""
        found, seen, waiting = [], {index}, [index]
        while waiting:
            current = waiting.pop()
            time = self.output(current)
            if time is not None and not self._filled(current):
                found.append(time)
                continue
            new = {one.op for one in self.taken(current)} - seen
            seen |= new
            waiting.extend(new)
        return found

    def _filled(self, index: int) -> bool:
        """Whether a frame was written into a whole signal, as in a loop over frames."""
        parts = self.taken(index)[:1]
        return self.ops[index].name == WRITE and not any(part.time for part in parts)

    def used(self, output: int | None) -> set[int]:
        """Operations between the network's input and one of them, or all that follow its input."""
        if output is None:
            return self.heard
        found, waiting = {output}, [output]
        while waiting:
            new = {one.op for one in self.taken(waiting.pop())} - found
            found |= new
            waiting.extend(new)
        return found


def time_axis(long: Shape, short: Shape) -> Lengthened | None:
    """The one axis whose size differs; ``None`` if there is none, or if there are several."""
    if len(long) != len(short):
        return None
    pairs = enumerate(zip(long, short, strict=True))
    found = [Lengthened(axis, abs(a - b)) for axis, (a, b) in pairs if a != b]
    return found[0] if len(found) == 1 else None


def _pairs(long: list[Op], short: list[Op]) -> dict[int, Op]:
    keys, others = [_key(op) for op in long], [_key(op) for op in short]
    least = min(len(keys), len(others))
    head = _equal(zip(keys, others, strict=False))
    tail = min(least - head, _equal(zip(reversed(keys), reversed(others), strict=False)))
    pairs = dict(enumerate(short[:head]))
    pairs |= {len(long) - k: short[len(short) - k] for k in range(1, tail + 1)}
    middle = range(head, len(long) - tail)
    partners: dict[Hashable, list[int]] = defaultdict(list)
    for k in range(head, len(short) - tail):
        partners[others[k]].append(k)
    counts = Counter(keys[k] for k in middle)
    for k in middle:
        if counts[keys[k]] == len(partners[keys[k]]):
            pairs[k] = short[partners[keys[k]].pop(0)]
            counts[keys[k]] -= 1
    return pairs


def _key(op: Op) -> Hashable:
    dimensions = tuple(len(shape) for shape in op.shapes[:1])
    return op.name, op.place, len(op.shapes), len(op.sources), dimensions


def _equal(pairs: Iterable[tuple[Hashable, Hashable]]) -> int:
    count = 0
    for one, other in pairs:
        if one != other:
            break
        count += 1
    return count
