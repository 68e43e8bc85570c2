"""Record every operation of a running network: what it takes, what it gives, and in which module.

Modules tell little: weights may be normalised, decoders may call functions, and the shuffle of a
subpixel layer is a reshape. So what is recorded is what reaches torch's dispatcher, which every
operation passes, those of TorchScript and ``torch.export`` programs included. Which operation made
a tensor is noted on its memory; after a change in place it is the operation that changed it.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from ..layers import Upsampler
from ..layers.inference import FoldedUpsampler
from .operations import INPUT, MOST_KEPT, WRITE, Op, Record, Source, is_factory
from .state import roots_of

OPAQUE = (Upsampler, FoldedUpsampler, nn.RNNBase)
"""Modules that count as one operation; recurrent ones take many, one a frame."""

INFINITE = {
    "full",
    "full_like",
    "new_full",
    "masked_fill",
    "masked_fill_",
    "where",
    "fill_",
    "triu",
}
"""Operations that make masks, which hold infinities on purpose."""

Change = Callable[[Tensor], Tensor]

Key = tuple[str, str, int]
"""Name and place of an operation, and how many such operations ran before it: what stays as it is
if a network does other things in its first run, such as to compute what it keeps."""


class Trace(TorchDispatchMode, Record):
    """What a network did; see :func:`tracing`.

    Attributes:
        ops: In the order in which they ran.
        keys: Of the operations.
        called: Positional arguments of each call of the network, if it is a module.
        broken: Index of the first operation whose output has NaN or infinities.
    """

    def __init__(
        self, network: Callable[..., Any], changes: Mapping[Key, Change], check: bool, inside: bool
    ):
        super().__init__()
        roots = roots_of(network)
        named = [pair for root in roots for pair in root.named_modules()]
        self.names = {
            id(module): name.replace("_orig_mod", "").strip(".") for name, module in named
        }
        self._owners = {
            tensor.data_ptr(): name.rpartition(".")[0].partition(".parametrizations")[0]
            for root in roots
            for name, tensor in (*root.named_buffers(), *root.named_parameters())
            if _is_tensor(tensor) and not is_lazy(tensor)
        }
        self.network, self.changes, self.check, self.inside = network, changes, check, inside
        self.ops: list[Op] = []
        self.keys: list[Key] = []
        self._counts: Counter[tuple[str, str]] = Counter()
        self.called: list[tuple[Any, ...]] = []
        self._marked = False
        self.broken: int | None = None
        self._stack: list[nn.Module] = []

    def mark_input(self, values: Any) -> None:
        """Note that the network will be called with these tensors."""
        self._marked = True
        self._add_input(values)

    def _add_input(self, values: Any) -> None:
        for tensor in _tensors(values):
            self._add(Op(INPUT, "", [], [tuple(tensor.shape)], True), [tensor])

    def made_by(self, tensor: Tensor) -> int | None:
        """Index of the operation that made a tensor."""
        return self._source(tensor).op

    def heard(self, sources: list[Source]) -> bool:
        """Whether any of them depends on the network's input."""
        return any(source.op is not None and self.ops[source.op].heard for source in sources)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        outside = self.inside and not self._stack
        if outside or any(isinstance(module, OPAQUE) for module in self._stack):
            return func(*args, **kwargs)
        if torch.is_inference_mode_enabled():  # then functions come whole, not as operations
            with self:
                output = func.decompose(*args, **kwargs)
            if output is not NotImplemented:
                return output
        given = _tensors((args, kwargs))
        sources = [self._source(tensor) for tensor in given]
        arguments, named = tree_map(self._kept, args), tree_map(self._kept, kwargs)
        written = [
            args[k] if k < len(args) else kwargs.get(argument.name)
            for k, argument in enumerate(func._schema.arguments)
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        output = func(*args, **kwargs)
        name = func._schema.name.split("::")[1]
        heard = not is_factory(name) and self.heard(sources)
        place = self._place() or self._owner(given, sources)
        op = Op(name, place, sources, [], heard, arguments, named, func)
        for tensor in _tensors(written):
            self._written(op, tensor)
        return output if written else self._made(op, output)

    def _enter(self, module: nn.Module, args: Any) -> None:
        if module is self.network:
            self.called.append(args)
            if not self._marked:
                self._add_input(args)
        self._stack.append(module)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> Any:
        while self._stack and self._stack[-1] is not module:
            self._stack.pop()  # a module that was left by an exception
        changed = None
        if isinstance(module, OPAQUE) and not any(isinstance(m, OPAQUE) for m in self._stack[:-1]):
            sources = [self._source(tensor) for tensor in _tensors(args)]
            op = Op(type(module).__name__, self._place(), sources, [], self.heard(sources))
            changed = self._made(op.__class__(**{**vars(op), "function": module}), output)
        del self._stack[-1:]
        return changed

    def _made(self, op: Op, output: Any) -> Any:
        """Note what made the output; gives the output, changed where that was asked for."""
        tensors = _tensors(output)
        change = self.changes.get(self._key_of(op.name, op.place))
        if change is not None and tensors:
            changed = change(tensors[0]).to(tensors[0])
            output = tree_map(lambda value: changed if value is tensors[0] else value, output)
            tensors[0] = changed
        op.shapes.extend(tuple(tensor.shape) for tensor in tensors)
        self._add(op, tensors)
        return output

    def _written(self, op: Op, tensor: Tensor) -> None:
        """The whole of what shares the tensor's memory was made anew."""
        key = _key(tensor)
        made = self._notes(tensor) or {key: (None, 0)}
        whole = next(iter(made))
        part = _count(whole) > tensor.numel()
        change = self.changes.get(self._key_of(WRITE if part else op.name, op.place))
        if change is not None:
            base = tensor.as_strided(whole[1], whole[2], whole[0]) if part else tensor
            base.copy_(change(base.clone()))
        op = Op(op.name, op.place, op.sources, [key[1]], *list(vars(op).values())[4:])
        index = self._add(op, [])
        last = index
        if part:
            old, output = made.get(WRITE, made[whole])
            both = [Source(index, key[1]), Source(old, whole[1], output=output)]
            strides = (tensor.storage_offset() - whole[0], tensor.stride(), whole[2])
            last = self._add(Op(WRITE, op.place, both, [whole[1]], self.heard(both), strides), [])
        made.clear()
        made.update({whole: (last, 0), key: (index, 0), WRITE: (last, 0)})
        tensor.untyped_storage()._notes = self, made  # type: ignore[attr-defined]

    def _add(self, op: Op, tensors: list[Tensor]) -> int:
        index = len(self.ops)
        self.ops.append(op)
        self.keys.append(self._key_of(op.name, op.place))
        self._counts[op.name, op.place] += 1
        for output, tensor in enumerate(tensors):
            made = self._notes(tensor)
            if made is None:
                made = {}
                tensor.untyped_storage()._notes = self, made  # type: ignore[attr-defined]
            made[_key(tensor)] = index, output
            if self.check and self.broken is None and op.name not in INFINITE:
                self.broken = None if bool(torch.isfinite(tensor).all()) else index
        return index

    def _key_of(self, name: str, place: str) -> Key:
        return name, place, self._counts[name, place]

    def _notes(self, tensor: Tensor) -> dict[Any, Any] | None:
        """What made each view of the tensor's memory, the whole first."""
        trace, made = getattr(tensor.untyped_storage(), "_notes", (None, None))
        return made if trace is self else None

    def _source(self, tensor: Tensor) -> Source:
        shape, made = tuple(tensor.shape), self._notes(tensor)
        if made is None:
            return Source(None, shape, isinstance(tensor, nn.Parameter))
        whole = made.get(WRITE, next(iter(made.values())))
        op, output = made.get(_key(tensor), whole)
        return Source(op, shape, output=output)

    def _kept(self, value: Any) -> Any:
        if not _is_tensor(value):
            return value
        source = self._source(value)
        op = self.ops[source.op] if source.op is not None else None
        zeros = op is not None and (is_factory(op.name) or not op.sources)
        signal = op is not None and (op.heard or (zeros and value.is_floating_point()))
        return source if signal or value.numel() > MOST_KEPT else value.detach()

    def _place(self) -> str:
        names = (self.names.get(id(module)) for module in reversed(self._stack))
        return next((name for name in names if name), "")

    def _owner(self, given: list[Tensor], sources: list[Source]) -> str:
        """The module whose weights an operation of a program takes, which runs no modules."""
        for tensor, source in zip(given, sources, strict=True):
            op = self.ops[source.op] if source.op is not None else None
            name = op.place if op and not op.heard else self._owners.get(tensor.data_ptr(), "")
            if name:
                return name
        return ""


@contextlib.contextmanager
def tracing(
    network: Callable[..., Any],
    changes: Mapping[Key, Change] | None = None,
    check: bool = False,
    inside: bool = False,
) -> Iterator[Trace]:
    """Record what a network does inside the block; compiled networks run as they were written.

    Args:
        network: The network that will be called.
        changes: By the key of an operation: called with its output, and what it returns goes on
            through the network.
        check: Whether to look for NaN and infinities.
        inside: Whether to leave out what is done while no module runs.
    """
    trace = Trace(network, changes or {}, check, inside)
    before = nn.modules.module.register_module_forward_pre_hook(trace._enter)
    after = nn.modules.module.register_module_forward_hook(trace._leave)
    try:
        plain = torch.jit.optimized_execution(False)  # else the same run has other operations later
        with torch.compiler.set_stance("force_eager"), plain, trace:
            yield trace
    finally:
        before.remove()
        after.remove()


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_flatten(values)[0] if _is_tensor(value)]


def _key(tensor: Tensor) -> Any:
    """What tells the views of one memory apart."""
    return tensor.storage_offset(), tuple(tensor.shape), tuple(tensor.stride())


def _count(key: Any) -> int:
    """Numbers that a view has in its memory: those that an expansion repeats count once."""
    count = 1
    for size, stride in zip(key[1], key[2], strict=True):
        count *= size if stride else 1
    return count
