"""Modules as upsampling layers that can be repaired, or the reason why they cannot.

Where each tap of a layer is kept is not written down for every kind of layer: the layer's linear
system is asked for with the numbers 1, 2, 3 ... in the place of its weights, and the impulse
responses then show which number stands where.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import type_before_parametrizations

from ..artifacts.system import transposed_system
from ..artifacts.tones import tone_levels
from ..dsp import UpsamplingSystem
from ..errors import UsageError
from ..layers import (
    FoldedUpsampler,
    Haar,
    Interpolation,
    Learned,
    Lifting,
    Stretch,
    Subpixel,
    Transposed,
    Upsampler,
)
from ..layers.measured import damaged_tensor
from ..layers.wavelet import InverseWavelet, inverse_steps
from .report import HAS_NONE
from .site import Site, numbers_of
from .weights import computed_by, effective

EQUAL = 1e-12
"""Share of a constant's power in tones that is rounding."""

System = Callable[[Tensor, Tensor | None], UpsamplingSystem]
"""From a weight and a bias to what a layer is with them."""

Users = Mapping[int, Sequence[str]]
"""Names of the modules that have a parameter, by its :func:`identity`."""


def site_of_module(name: str, module: nn.Module, users: Users) -> Site | None:
    """A module as a site; ``None`` if it does not upsample.

    Raises:
        UsageError: If it does, and cannot be repaired.
    """
    kind = type_before_parametrizations(module).__name__
    if isinstance(module, torch.jit.ScriptModule):
        if getattr(module, "original_name", kind).startswith("ConvTranspose"):
            raise UsageError("is TorchScript: repair the network that it was made of")
        return None
    if kind.startswith("ConvTranspose") and "quantized" in type(module).__module__:
        raise UsageError("is quantised: repair the network in float32, then quantise it again")
    if isinstance(module, FoldedUpsampler):
        raise UsageError("is folded for inference: repair the model before fold_for_inference")
    if isinstance(module, nn.ConvTranspose1d) and module.stride[0] > 1:
        settings = module.stride[0], module.groups, module.dilation[0]
        return numbered(
            Site(name, "transposed", module),
            lambda weight, bias: transposed_system(weight, bias, *settings),
            users,
        )
    if isinstance(module, (nn.ConvTranspose2d, nn.ConvTranspose3d)) and max(module.stride) > 1:
        raise UsageError("works on images or spectrograms: layers of signals only are repaired")
    if isinstance(module, Upsampler) and module.stride > 1:
        return _ours(name, module, users)
    return None


def _ours(name: str, layer: Upsampler, users: Users) -> Site:
    if not isinstance(layer, (Transposed, Stretch, Subpixel, InverseWavelet, Lifting)):
        if isinstance(layer, (Interpolation, Learned)) or tone_levels(layer).tonal_fraction < EQUAL:
            raise UsageError(f"{HAS_NONE}: the phases of {layer.name} have equal sums")
        raise UsageError(f"{layer.name}: it is unknown which of its weights make its phases")
    site = Site(name, layer.name, layer)
    if isinstance(layer, (Haar, Lifting)):
        # whatever lifting filters learn, a constant goes through them as through Haar's steps with
        # phases in the reverse order: the rows take the place of phases
        eye = torch.eye(layer.stride, dtype=torch.float64)[None, :, None]
        site.mix = inverse_steps(eye, layer.stride, Haar.step)[0]
        site.most_order = int(isinstance(layer, Haar))
        size = effective(layer, "weight").shape[-1]
        twin: Any = Subpixel(1, layer.out_channels, layer.stride, size, layer.has_bias)
    else:
        twin = type_before_parametrizations(layer)(**layer.get_config()).double()
    twin.tone_free = False

    def system(weight: Tensor, bias: Tensor | None) -> UpsamplingSystem:
        for key in ("weight", "bias"):
            twin.__dict__.pop(key, None)
            twin._parameters.pop(key, None)
        twin.__dict__.update(weight=weight, bias=bias)
        return twin.known_system()

    return numbered(site, system, users)


def numbered(site: Site, system: System, users: Users) -> Site:
    """The site with the places of its taps.

    Raises:
        UsageError: If it cannot be repaired.
    """
    _refuse_weights(site.module, (site.weight, site.bias), users)
    weight, bias = effective(site.module, site.weight), getattr(site.module, site.bias, None)
    numbers = torch.arange(1, weight.numel() + 1, dtype=torch.float64).view(weight.shape)
    offsets = None if bias is None else torch.arange(1, len(bias) + 1, dtype=torch.float64)
    site.numbers, places, site.groups = numbers_of(system(numbers, offsets))
    site.bias_numbers = None if bias is None else places
    return site


def identity(parameter: Tensor) -> int:
    """The same of two parameters only if they share their numbers."""
    plain = type(parameter) is nn.Parameter and parameter.layout == torch.strided
    return (parameter.data_ptr() if plain else 0) or id(parameter)


def _refuse_weights(module: nn.Module, names: Sequence[str], users: Users) -> None:
    """Refuse weights that cannot be written, or that another layer has as well."""
    if any(is_lazy(p) or p.is_meta for p in module.parameters()):
        raise UsageError("has no weights yet: load them, or run the network once")
    if any(p.is_inference() for p in module.parameters()):
        raise UsageError("was made in torch.inference_mode: nobody can change its weights in place")
    if damage := damaged_tensor(module):
        raise UsageError(f"its {damage}: training diverged, or the file is damaged")
    for name in names:
        if (maker := computed_by(module, name)) is not None:
            raise UsageError(
                f"its {name} is computed by {maker}: make it a plain parameter first, with "
                "torch.nn.utils.parametrize.remove_parametrizations or its like"
            )
        value = getattr(module, name, None)
        if value is not None and type(value) not in (Tensor, nn.Parameter):
            raise UsageError(f"its {name} is a {type(value).__name__}, not a plain tensor")
        if value is not None and not value.is_floating_point():
            raise UsageError(f"its {name} holds {value.dtype}, not real numbers")
    for parameter in module.parameters():
        if len(sharing := users.get(identity(parameter), [])) > 1:
            raise UsageError(
                f"shares a weight with another layer ({' and '.join(sharing)} have "
                "the same): a repair would change both; give each its own copy first"
            )
