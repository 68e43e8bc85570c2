"""The upsampling layers of a network whose taps can be changed, whatever they are made of.

Where each tap of a layer is kept is not written down for every kind of layer: the layer's linear
system is asked for with the numbers 1, 2, 3 ... in the place of its weights, and the impulse
responses then show which number stands where. Modules are known by their class; the shuffles and
functions of others are seen when the network runs (:mod:`..probe`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import type_before_parametrizations

from ..artifacts.system import transposed_system
from ..dsp import UpsamplingSystem
from ..errors import UsageError
from ..layers import FoldedUpsampler, Haar, Stretch, Subpixel, Transposed, Upsampler
from ..layers.measured import damaged_tensor, double_copy
from ..layers.wavelet import InverseWavelet, inverse_steps
from ..probe.calls import UpsamplingCall, subpixel_system
from ..registry import nearest_names
from .heads import Head, find_heads
from .report import HAS_NONE
from .site import Site, numbers_of
from .weights import computed_by, effective, norm_of

MOST_NAMED = 5
"""Layers, in an error about all of them."""

System = Callable[[Tensor, Tensor | None], UpsamplingSystem]
"""From a weight and a bias to what a layer is with them."""


@dataclass(eq=False)
class Survey:
    """What upsamples in a network.

    Args:
        sites: The layers that can be repaired.
        others: Of the other upsampling layers why not, by name; it begins with ``"has none"`` if
            they cannot have unequal phases.
        warnings: What to know about all of it.
        heads: Inverse STFT heads.
    """

    sites: list[Site] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)

    def add(self, name: str, make: Callable[[], Site | None]) -> None:
        """Add what ``make`` gives, or why it gives nothing."""
        try:
            site = make()
        except UsageError as error:
            self.others[name] = str(error)
        else:
            self.sites += [] if site is None else [site]

    def chosen(self, layers: str | Sequence[str] | None) -> tuple[list[Site], list[Head]]:
        """The layers of these names, or within modules of these names; all for ``None``.

        Raises:
            UsageError: (a ``ValueError``) if there are none.
        """
        wanted = [layers] if isinstance(layers, str) else layers
        known = [found.name for found in (*self.sites, *self.heads)]
        if wanted is not None and not len(wanted):
            raise UsageError("layers is empty: name at least one, or leave it out to take all")
        for name in wanted or ():
            if name in self.others:
                raise UsageError(f"layer {name} cannot be repaired: {self.others[name]}")
            if not any(_within(one, name) for one in known):
                listed = nearest_names(name, known) if known else "the network has none"
                raise UsageError(f"layers: no layer {name!r} to repair: {listed}")
        if not known:
            reasons = [f"{name}: {reason}" for name, reason in self.others.items()]
            more = len(reasons) - MOST_NAMED
            reasons = reasons[:MOST_NAMED] + ([f"and {more} more"] if more > 0 else [])
            reasons = reasons or ["no upsampling layer was found", *self.warnings]
            raise UsageError(f"nothing to repair: {'; '.join(reasons)}")
        names = wanted if wanted is not None else known
        return (
            [site for site in self.sites if any(_within(site.name, name) for name in names)],
            [head for head in self.heads if any(_within(head.name, name) for name in names)],
        )


NOT_WATCHED = (
    "without an example input only modules are known as layers: pass example, an input or its "
    "shape, to find convolutions with a shuffle, functions and inverse STFTs"
)


def find_sites(
    network: nn.Module,
    layers: str | Sequence[str] | None = None,
    example: Tensor | Sequence[int] | None = None,
) -> list[Site]:
    """The layers of a network that can be repaired.

    Args:
        network: Any network.
        layers: Names of those that are wanted, or of modules that hold them; all if ``None``.
        example: An input of the network, or its shape. With it the network is run, and layers
            that are no modules are found as well.

    Raises:
        UsageError: (a ``ValueError``) if there are none, or one of ``layers`` is none.
    """
    return survey(network, example).chosen(layers)[0]


def survey(network: nn.Module, example: Tensor | Sequence[int] | None = None) -> Survey:
    """The layers that can be repaired, and of the other upsampling layers why they cannot.

    Args:
        network: Any network.
        example: As in :func:`find_sites`.
    """
    found = Survey()
    users = _users(network)
    for path, module in network.named_modules():
        name = plain(path) or type_before_parametrizations(module).__name__
        found.add(name, lambda name=name, module=module: _site(name, module, users))
    if example is not None:
        _watch(found, network, example, users)
    else:
        found.warnings.append(NOT_WATCHED)
    return found


def plain(path: str) -> str:
    """The path of a module without the wrappers of ``torch.compile``."""
    return ".".join(part for part in path.split(".") if part != "_orig_mod")


def _within(site: str, name: str) -> bool:
    return site == name or site.startswith(f"{name}.")


def _site(name: str, module: nn.Module, users: dict[int, list[str]]) -> Site | None:
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
        return _numbered(
            Site(name, "transposed", module),
            lambda weight, bias: transposed_system(weight, bias, *settings),
            users,
        )
    if isinstance(module, (nn.ConvTranspose2d, nn.ConvTranspose3d)) and max(module.stride) > 1:
        raise UsageError("works on images or spectrograms: layers of signals only are repaired")
    if isinstance(module, Upsampler) and module.stride > 1:
        return _ours(name, module, users)
    return None


def _ours(name: str, layer: Upsampler, users: dict[int, list[str]]) -> Site:
    if not isinstance(layer, (Transposed, Stretch, Subpixel, InverseWavelet)):
        raise UsageError(
            f"{HAS_NONE} (the phases of {layer.name} have equal sums, whatever the weights)"
        )
    site = Site(name, layer.name, layer)
    size = layer.in_channels, layer.out_channels, layer.stride, layer.kernel_size, layer.has_bias
    if isinstance(layer, Haar):  # its rows, in the place of phases
        eye = torch.eye(layer.stride, dtype=torch.float64)
        site.mix = inverse_steps(eye[None, :, None], layer.stride, Haar.step)[0]

    def system(weight: Tensor, bias: Tensor | None) -> UpsamplingSystem:
        twin: Any = Subpixel(*size) if isinstance(layer, Haar) else double_copy(layer)
        twin.tone_free = False
        for key in ("weight", "bias"):
            twin.__dict__.pop(key, None)
            twin._parameters.pop(key, None)
        twin.__dict__.update(weight=weight, bias=bias)
        return twin.known_system()

    return _numbered(site, system, users)


def _numbered(site: Site, system: System, users: dict[int, list[str]]) -> Site:
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


def _refuse_weights(module: nn.Module, names: Sequence[str], users: dict[int, list[str]]) -> None:
    """Refuse weights that cannot be written, or that another layer has as well."""
    if any(is_lazy(p) or p.is_meta for p in module.parameters()):
        raise UsageError("has no weights yet: load them, or run the network once")
    if damage := damaged_tensor(module):
        raise UsageError(f"its {damage}: training diverged, or the file is damaged")
    for name in names:
        if (maker := computed_by(module, name)) is not None:
            raise UsageError(
                f"its {name} is computed by {maker}: make it a plain parameter first, with "
                "torch.nn.utils.parametrize.remove_parametrizations or its like"
            )
        value = getattr(module, name, None)
        plain_type = value is None or type(value) in (Tensor, nn.Parameter)
        if not plain_type or (value is not None and not value.is_floating_point()):
            kind = type(value).__name__ if not plain_type else value.dtype
            raise UsageError(f"its {name} is {kind}, but must be a tensor of real numbers")
    for parameter in module.parameters():
        if len(users.get(id(parameter), [])) > 1:
            raise UsageError(
                f"shares a weight with another layer ({' and '.join(users[id(parameter)])} have "
                "the same): a repair would change both; give each its own copy first"
            )


def _users(network: nn.Module) -> dict[int, list[str]]:
    """The modules that have a parameter, by its identity."""
    users: dict[int, list[str]] = {}
    for path, module in network.named_modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                users.setdefault(id(parameter), []).append(plain(path) or type(module).__name__)
    return users


def _watch(
    found: Survey,
    network: nn.Module,
    example: Tensor | Sequence[int],
    users: dict[int, list[str]],
) -> None:
    """Add the layers that are seen when the network runs, and warn of tones that cancel."""
    from ..probe import examine
    from ..probe.feed import white_noise

    shape = tuple(example.shape if isinstance(example, Tensor) else example)
    try:
        report, signals = examine(network, 1.0, shape)
        found.heads = find_heads(network, white_noise(network, shape, 0))
    except UsageError as error:
        found.warnings.append(f"layers that are no modules were not looked for: {error}")
        return
    for layer, call in zip(report.layers, signals.calls, strict=True):
        name = call.name.partition("#")[0] or call.kind
        if (layer.attribution_db or 0) < -1:
            found.warnings.append(
                f"other layers cancel a part of the tones of {name}: without its tones those of "
                f"the network rise by {-layer.attribution_db:.1f} dB; try to leave it out"
            )
        if name not in {*found.others, *(site.name for site in found.sites)}:
            found.add(name, lambda name=name, call=call: _called(name, call, network, users))


def _called(
    name: str, call: UpsamplingCall, network: nn.Module, users: dict[int, list[str]]
) -> Site:
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
    return _numbered(site, lambda weight, bias: make.func(weight, bias, *settings), users)


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
    same = parameter is not None and parameter.shape == seen.shape
    return same and parameter.data_ptr() == seen.data_ptr()
