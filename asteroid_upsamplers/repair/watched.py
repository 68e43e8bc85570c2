"""Upsampling layers that are no modules: seen when the network runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..artifacts.system import transposed_system
from ..dsp import UpsamplingSystem
from ..errors import UsageError
from ..probe.calls import UpsamplingCall, subpixel_system
from .modules import EQUAL, Users, numbered
from .report import HAS_NONE
from .site import Site
from .weights import effective, norm_of


def site_of_call(
    name: str, call: UpsamplingCall, network: nn.Module, users: Users, known: Sequence[Site]
) -> Site | None:
    """An upsampling layer that was seen running, as a site; ``None`` if it is one of the known."""
    if call.kind.removesuffix("2d") in ("nearest", "linear", "cubic"):
        raise UsageError(f"{HAS_NONE}: {call.kind} interpolation has phases with equal sums")
    make: Any = call.layer
    if getattr(make, "func", None) not in (subpixel_system, transposed_system):
        raise UsageError(f"is {call.kind}: which weights make its phases is unknown")
    seen, bias, *settings = make.args
    owner = _owner(network, seen)
    if owner is None:
        found = call.tones()
        if found is not None and found.tonal_fraction < EQUAL:
            raise UsageError(f"{HAS_NONE}: the phases of its filter have equal sums")
        raise UsageError("its weight is no parameter (it is fixed, or computed of others)")
    module, key = owner
    same = next((one for one in known if one.module is module and one.weight == key), None)
    site = Site(name, call.kind, module, weight=key, bias="")
    if bias is not None:
        own = module._parameters.items()
        site.bias = next((name for name, value in own if _is_same(value, bias)), "")
        if not site.bias:
            raise UsageError("its bias is no parameter of its own")

    def system(weight: Tensor, bias: Tensor | None) -> UpsamplingSystem:
        return make.func(weight.view(seen.shape), bias, *settings)

    numbered(site, system, users)
    if same is None:
        return site
    if torch.equal(site.numbers, same.numbers):
        return None
    raise UsageError(
        f"its weight is that of {same.name}, too: only the phases of that are repaired"
    )


def _owner(network: nn.Module, weight: Tensor) -> tuple[nn.Module, str] | None:
    """The module and the name of a weight that was seen running; ``None`` if it is no parameter."""
    for module in network.modules():
        for name, value in module._parameters.items():
            if _is_same(value, weight):
                return module, name
        if norm_of(module, "weight") is not None:
            own = effective(module, "weight")
            if own.numel() == weight.numel() and torch.equal(own.view(weight.shape), weight):
                return module, "weight"
    return None


def _is_same(parameter: Tensor | None, seen: Tensor) -> bool:
    """Whether a tensor that was seen is a parameter, or one that was given further axes."""
    if parameter is None or parameter.numel() != seen.numel():
        return False
    return parameter.data_ptr() == seen.data_ptr() and torch.equal(parameter.view(seen.shape), seen)
