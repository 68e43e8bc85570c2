"""Weights as a module uses them, whatever it makes them of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils.weight_norm import WeightNorm

from ..layers import Subpixel, Transposed, equal_phase_biases, equal_phase_gains

NUDGES = (0, 0.5, -0.5, 1, -1, 1.5, -1.5, 2, -2)
"""By so many of its last digits a norm is tried to be another."""


def computed_by(module: nn.Module, name: str) -> str | None:
    """What computes a parameter of others, weight norm aside."""
    if parametrize.is_parametrized(module, name):
        found = list(module.parametrizations[name])  # type: ignore[index]
        normed = len(found) == 1 and isinstance(found[0], parametrizations._WeightNorm)
        return None if normed else " and ".join(type(p).__name__ for p in found)
    for hook in module._forward_pre_hooks.values():
        own = getattr(hook, "name", getattr(hook, "_tensor_name", None))
        computes = hasattr(hook, "compute_weight") or hasattr(hook, "apply_mask")
        if own == name and computes and not isinstance(hook, WeightNorm):
            return type(hook).__name__
    return None


def norm_of(module: nn.Module, name: str) -> tuple[Tensor, Tensor] | None:
    """Norm and direction of a weight that torch's weight norm, old or new, makes of them."""
    if computed_by(module, name) is not None:
        return None
    if parametrize.is_parametrized(module, name):
        found: Any = module.parametrizations[name]  # type: ignore[index]
        return found.original0, found.original1
    if f"{name}_g" in module._parameters:
        return getattr(module, f"{name}_g"), getattr(module, f"{name}_v")
    return None


def effective(module: nn.Module, name: str) -> Tensor:
    """A weight or bias as the module uses it: old-style weight norm and ``tone_free`` layers
    compute it when the module runs."""
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm) and hook.name == name:
            return hook.compute_weight(module)
    value = getattr(module, name)
    if not (isinstance(module, (Subpixel, Transposed)) and module.tone_free):
        return value
    if name == "weight":
        return equal_phase_gains(value, module.stride, isinstance(module, Subpixel))
    return equal_phase_biases(value, module.stride) if isinstance(module, Subpixel) else value


@torch.no_grad()
def set_weight(module: nn.Module, name: str, weight: Tensor) -> None:
    """Give a module a weight, through weight norm if it has that.

    The direction becomes the weight itself, and the norm the one by which torch divides it: both
    cancel. As norms are summed in another order for other shapes, its last digits are tried.
    """
    parts = norm_of(module, name)
    if parts is None:
        getattr(module, name).copy_(weight)
        return
    gain, direction = parts
    axes = [axis for axis, size in enumerate(gain.shape) if size == 1] if gain.dim() else None
    start = torch.linalg.vector_norm(weight, dim=axes, keepdim=True).view(gain.shape)
    direction.copy_(torch.where(start == 0, 1, weight))
    gain.copy_(start)

    def summed(values: Tensor) -> Tensor:
        return values.double().sum(axes, keepdim=True).view(gain.shape)

    ratio = summed(effective(module, name) * weight) / summed(weight.square())
    start = torch.where(start == 0, 0, start / ratio)
    best, least = start, torch.full_like(start, torch.inf)
    for nudge in NUDGES:
        gain.copy_(start * (1 + nudge * torch.finfo(gain.dtype).eps))
        error = summed((effective(module, name) - weight).abs())
        better = error < least
        best, least = torch.where(better, gain, best), torch.where(better, error, least)
    gain.copy_(best)
    if not parametrize.is_parametrized(module, name):
        setattr(module, name, effective(module, name))


@torch.no_grad()
def refresh(network: nn.Module) -> None:
    """Compute the weights of old-style weight norm anew, as running the network would."""
    for module in network.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm):
                setattr(module, hook.name, hook.compute_weight(module))
