"""Upsampling layers that are no modules: seen when the network runs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..artifacts.system import transposed_system
from ..errors import UsageError
from ..probe.calls import UpsamplingCall, subpixel_system
from .modules import Users, numbered
from .report import HAS_NONE
from .site import Site
from .weights import effective, norm_of


def site_of_call(name: str, call: UpsamplingCall, network: nn.Module, users: Users) -> Site:
    """An upsampling layer that was seen running, as a site."""
    if call.kind.removesuffix("2d") in ("nearest", "linear", "cubic"):
        raise UsageError(f"{HAS_NONE} ({call.kind} interpolation has phases with equal sums)")
    make: Any = call.layer
    if getattr(make, "func", None) not in (subpixel_system, transposed_system):
        raise UsageError(f"is {call.kind}: which weights make its phases is unknown")
    weight, bias, *settings = make.args
    module, key = _owner(network, weight)
    site = Site(name, call.kind, module, weight=key, bias="")
    if bias is not None:
        own = module._parameters.items()
        site.bias = next((name for name, value in own if _is_same(value, bias)), "")
        if not site.bias:
            raise UsageError(f"is {call.kind}: its bias is no parameter of its own")
    return numbered(site, lambda weight, bias: make.func(weight, bias, *settings), users)


def _owner(network: nn.Module, weight: Tensor) -> tuple[nn.Module, str]:
    """The module and the name of a weight that was seen running."""
    for module in network.modules():
        for name, value in module._parameters.items():
            if _is_same(value, weight):
                return module, name
        if norm_of(module, "weight") is not None:
            own = effective(module, "weight")
            if own.shape == weight.shape and torch.equal(own, weight):
                return module, "weight"
    raise UsageError("its weight is no parameter (it is fixed, or computed of others)")


def _is_same(parameter: Tensor | None, seen: Tensor) -> bool:
    if parameter is None or parameter.shape != seen.shape:
        return False
    return parameter.data_ptr() == seen.data_ptr()
