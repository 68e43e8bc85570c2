"""What is recorded of a running network: its operations, and the tensors between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

INPUT, WRITE = "input", "write"
"""Names of operations that are none of torch's: the network's input, and a whole tensor after one
of its parts was changed in place."""

FACTORIES = ("new_", "_like")
"""Start or end of the names of operations that take no more than the kind of a tensor."""

INDEXING = {"index", "index_select", "gather", "take", "_unsafe_index"}
"""Operations that take numbers from places that an index says."""

CONVOLUTIONS = {"convolution", "_convolution"}
MATRICES = {"mm", "bmm", "addmm", "baddbmm", "mv", "_scaled_dot_product_flash_attention_for_cpu"}

MOST_KEPT = 2**26
"""Weights and indices of more numbers are not kept."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Source:
    """A tensor that an operation takes.

    Args:
        op: Index of the operation that made it; ``None`` for what no operation of torch made.
        shape: Of the tensor.
        weight: Whether it is a parameter.
        output: Which of the operation's outputs it is.
    """

    op: int | None
    shape: Shape
    weight: bool = False
    output: int = 0


@dataclass(frozen=True, eq=False)
class Op:
    """One operation.

    Args:
        name: In torch's dispatcher, such as ``convolution``; of the class, for a whole module.
        place: Name of the innermost module that ran it.
        sources: The tensors that it takes.
        shapes: Of the tensors that it gives.
        heard: Whether its output depends on the network's input.
        arguments: As they were passed. What depends on the network's input is a :class:`Source`;
            weights and indices are tensors.
        named: The arguments that were passed by name, in the same way.
        function: What was called: an operation of torch, or a module.
    """

    name: str
    place: str
    sources: list[Source]
    shapes: list[Shape]
    heard: bool
    arguments: tuple[Any, ...] = ()
    named: Mapping[str, Any] | None = None
    function: Any = None


@dataclass(eq=False)
class Record:
    """What a network did.

    Args:
        ops: In the order in which they ran.
        broken: Index of the first operation whose output has NaN or infinities.
        keys: What tells the operations from each other in another run.
    """

    ops: list[Op]
    broken: int | None = None
    keys: list[tuple[str, str, int]] = field(default_factory=list)


def is_factory(name: str) -> bool:
    """Whether an operation takes no more of a tensor than its kind."""
    return name.startswith(FACTORIES[0]) or name.endswith(FACTORIES[1])
