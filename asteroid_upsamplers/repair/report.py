"""What a repair did, and how to undo it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..artifacts.result import Result
from ..errors import UsageError
from .weights import refresh

REPAIRED, HAS_NONE, LEFT = "repaired", "has none", "left as it is"


@dataclass(frozen=True)
class LayerRepair(Result):
    """One upsampling layer.

    Args:
        name: Of the module.
        kind: Name of the family; ``""`` where it was not looked at.
        stride: Upsampling factor; 0 where it was not looked at.
        status: ``"repaired"``; ``"has none"``, its phases were equal already; ``"left as it is"``.
        change: Of the weight and the bias: norm of the difference over the norm before.
        tone_db_before: Loudest tone that the layer alone adds to ones, against the rms of its
            output; -400 for none. ``None`` where it was not looked at.
        tone_db_after: The same after the repair.
        weight_norm: ``"kept"`` if its weight is still made of a norm and a direction.
        remark: Why it was left, and what else to know.
    """

    name: str
    kind: str
    stride: int
    status: str
    change: float = 0.0
    tone_db_before: float | None = None
    tone_db_after: float | None = None
    weight_norm: str | None = None
    remark: str = ""


@dataclass(eq=False)
class RepairReport:
    """A repaired network, and what was done to it.

    Args:
        network: The repaired one: a copy, unless the repair was asked for in place.
        method: How it was repaired.
        order: 0 if constants make no tone any more, 1 if ramps make none either.
        layers: One entry for each upsampling layer.
        warnings: What to know before using it.
        originals: Each parameter and buffer that was changed, as it was, by its name in the
            state dict; a model file can keep it, and :func:`restore` takes it.
        replaced: Modules in whose place the method put others, by their path.
    """

    network: nn.Module
    method: str
    order: int
    layers: list[LayerRepair]
    warnings: list[str] = field(default_factory=list)
    originals: dict[str, Tensor] = field(default_factory=dict)
    replaced: dict[str, nn.Module] = field(default_factory=dict)

    def undo(self) -> nn.Module:
        """Give :attr:`network` its original weights, bit for bit.

        Returns:
            The network.
        """
        return restore(self.network, self.originals, self.replaced)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "method": self.method,
            "order": self.order,
            "layers": [layer.to_dict() for layer in self.layers],
            "warnings": list(self.warnings),
        }


@torch.no_grad()
def restore(
    network: nn.Module,
    originals: Mapping[str, Tensor],
    replaced: Mapping[str, nn.Module] | None = None,
) -> nn.Module:
    """Write original weights back, in place.

    Args:
        network: Whose weights were changed.
        originals: As :attr:`RepairReport.originals`.
        replaced: As :attr:`RepairReport.replaced`.

    Raises:
        UsageError: (a ``ValueError``) if they are of another network.
    """
    for name, module in (replaced or {}).items():
        if name and dict(network.named_modules(remove_duplicate=False)).get(name) is not module:
            network.set_submodule(name, module)
    state = tensors_of(network)
    for name, value in originals.items():
        if name not in state or state[name].shape != value.shape:
            raise UsageError(f"cannot undo: {name} is of another network, or has another shape")
    for name, value in originals.items():
        state[name].copy_(value)
    refresh(network)
    return network


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers that are there, by their name in the state dict."""
    named = [
        *network.named_parameters(remove_duplicate=False),
        *network.named_buffers(remove_duplicate=False),
    ]
    return {name: value for name, value in named if not (is_lazy(value) or value.is_meta)}


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same bits: zeros have signs, and NaN are what they are."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    x, y = (t.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for t in (a, b))
    return torch.equal(x, y)
