"""The upsampling layers of a network whose taps can be changed, whatever they are made of.

Where each tap of a layer is kept is not written down for every kind of layer: the layer's linear
system is asked for with the numbers 1, 2, 3 ... in the place of its weights, and the impulse
responses then show which number stands where.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils.parametrize import type_before_parametrizations
from torch.nn.utils.weight_norm import WeightNorm

from ..artifacts.system import transposed_system
from ..artifacts.tones import ToneLevels, tones_of_period
from ..dsp import UpsamplingSystem
from ..errors import UsageError
from ..layers import FoldedUpsampler, Haar, Stretch, Subpixel, Transposed, Upsampler
from ..layers.measured import damaged_tensor, double_copy
from ..layers.wavelet import InverseWavelet, inverse_steps
from ..registry import nearest_names
from .phases import on_grid

NUDGES = (0, 0.5, -0.5, 1, -1, 1.5, -1.5, 2, -2)
"""By so many of its last digits a norm is tried to be another."""


@dataclass(eq=False)
class Site:
    """One upsampling layer whose taps can be read and changed.

    Args:
        name: Path of the module in the network; its class if it is the network itself.
        kind: Name of the family.
        stride: Upsampling factor.
        module: That holds the weight.
        numbers: ``(out, phase, in / groups, taps)``, where in the flattened weight each tap is; -1
            for taps that do not exist.
        bias_numbers: ``(out, phase)``, the same of the bias; ``None`` without one.
        groups: Blocks of channels that do not mix.
        mix: ``(phase, row)``, an orthogonal matrix, if the layer makes each phase of all its rows,
            as inverse Haar steps do; ``numbers`` are then of rows.
        weight: Name of the weight in the module.
        bias: Name of the bias.
    """

    name: str
    kind: str
    stride: int
    module: nn.Module
    numbers: Tensor
    bias_numbers: Tensor | None = None
    groups: int = 1
    mix: Tensor | None = None
    weight: str = "weight"
    bias: str = "bias"

    @property
    def mask(self) -> Tensor:
        """``(phase, taps)``, which taps exist: phases of a partial overlap have different ones."""
        return self.numbers[0, :, 0] >= 0

    @property
    def places(self) -> Tensor:
        """``(phase, taps)``, of each tap in the impulse response, in samples of the output."""
        stride, taps = self.numbers.shape[1], self.numbers.shape[3]
        frames = torch.arange(taps - 1, -1, -1, dtype=torch.float64)
        return frames * stride + torch.arange(stride, dtype=torch.float64)[:, None]

    @property
    def norm(self) -> str | None:
        """``"weight_norm"`` if the weight is made of a norm and a direction."""
        return None if norm_of(self.module, self.weight) is None else "weight_norm"

    @property
    def dtype(self) -> torch.dtype:
        """Of the weight."""
        return effective(self.module, self.weight).dtype

    @torch.no_grad()
    def taps(self) -> Tensor:
        """``(out, phase, in / groups, taps)``, float64, on the CPU; 0 where :attr:`mask` is not.

        Output sample ``j * stride + phase`` is the sum of tap ``q`` times input sample ``j + q``,
        up to a delay.
        """
        weight = effective(self.module, self.weight).detach().double().cpu().flatten()
        rows = weight[self.numbers.clamp(min=0)] * (self.numbers >= 0)
        return rows if self.mix is None else torch.einsum("pr,oriq->opiq", self.mix, rows)

    @torch.no_grad()
    def biases(self) -> Tensor | None:
        """``(out, phase)``, float64: what each phase is for an input of zeros."""
        bias = getattr(self.module, self.bias, None) if self.bias else None
        if bias is None or self.bias_numbers is None:
            return None
        rows = bias.detach().double().cpu()[self.bias_numbers]
        return rows if self.mix is None else rows @ self.mix.T

    @torch.no_grad()
    def assign(self, taps: Tensor, biases: Tensor | None = None) -> None:
        """Write taps, and biases where they are given, in place.

        They are rounded so that phases with equal sums have equal sums afterwards, exactly. A
        weight that is made of a norm and a direction stays so.

        Args:
            taps: As :meth:`taps` gives them.
            biases: As :meth:`biases` gives them.
        """
        weight = effective(self.module, self.weight).detach()
        rows = taps if self.mix is None else torch.einsum("pr,opiq->oriq", self.mix, taps)
        there = self.numbers >= 0
        flat = weight.double().cpu().flatten()
        flat[self.numbers[there]] = on_grid(rows, self.mask, weight.dtype)[there]
        set_weight(self.module, self.weight, flat.view(weight.shape).to(weight))
        if biases is not None and self.bias_numbers is not None:
            bias = getattr(self.module, self.bias)
            flat = bias.detach().double().cpu()
            rows = biases if self.mix is None else biases @ self.mix
            flat[self.bias_numbers.flatten()] = rows.flatten()
            bias.copy_(flat)

    def tones(self) -> ToneLevels:
        """What the layer alone makes of an input of ones."""
        gains = self.taps().sum((2, 3))
        biases = self.biases()
        return tones_of_period(gains if biases is None else gains + biases)


def find_sites(
    network: nn.Module,
    layers: str | Sequence[str] | None = None,
    example: Tensor | Sequence[int] | None = None,
) -> list[Site]:
    """The layers of a network that can be repaired.

    Args:
        network: Any network.
        layers: Names of those that are wanted, or of modules that hold them; all if ``None``.
        example: An input of the network, or its shape. With it the network is run once, and layers
            that are no modules are found as well.

    Raises:
        UsageError: (a ``ValueError``) if there are none, or one of ``layers`` is none.
    """
    return chosen(*survey(network, example), layers)


def chosen(
    sites: list[Site], others: dict[str, str], layers: str | Sequence[str] | None
) -> list[Site]:
    """Those of the sites that are wanted; for the arguments see :func:`survey`."""
    if layers is not None:
        wanted = [layers] if isinstance(layers, str) else list(layers)
        if not wanted:
            raise UsageError("layers is empty: name at least one, or leave it out to take all")
        known = {site.name: site for site in sites}
        for name in wanted:
            if name in others:
                raise UsageError(f"layer {name} cannot be repaired: {others[name]}")
            if not any(_within(site, name) for site in known):
                listed = nearest_names(name, known) if known else "there is none to repair"
                raise UsageError(f"layers: no layer {name!r} to repair: {listed}")
        sites = [site for site in sites if any(_within(site.name, name) for name in wanted)]
    if not sites:
        why = "; ".join(f"{name}: {reason}" for name, reason in others.items())
        raise UsageError(
            f"nothing to repair: {why}"
            if why
            else "nothing to repair: the network has no upsampling layer that is a module "
            "(pass an example input, so that it can be watched)"
        )
    return sites


def _within(site: str, name: str) -> bool:
    return site == name or site.startswith(f"{name}.")


def survey(
    network: nn.Module, example: Tensor | Sequence[int] | None = None
) -> tuple[list[Site], dict[str, str]]:
    """The layers that can be repaired, and of the other upsampling layers why they cannot.

    Args:
        network: Any network.
        example: As in :func:`find_sites`.
    """
    sites, others = [], {}
    users = _users(network)
    for path, module in network.named_modules():
        name = path.replace("_orig_mod.", "") or type_before_parametrizations(module).__name__
        try:
            site = _site(name, module)
            if site is not None:
                _refuse_weights(site, users)
                sites.append(site)
        except UsageError as error:
            others[name] = str(error)
    return sites, others


def _site(name: str, module: nn.Module) -> Site | None:
    """A module as a site; ``None`` if it does not upsample.

    Raises:
        UsageError: If it does, and cannot be repaired.
    """
    kind = type_before_parametrizations(module).__name__
    if isinstance(module, torch.jit.ScriptModule):
        kind = getattr(module, "original_name", kind)
        if kind.startswith("ConvTranspose"):
            raise UsageError("is TorchScript: repair the network that it was made of")
        return None
    if kind.startswith("ConvTranspose") and "quantized" in type(module).__module__:
        raise UsageError("is quantised: repair the network in float32, then quantise it again")
    if isinstance(module, FoldedUpsampler):
        raise UsageError("is folded for inference: repair the model before fold_for_inference")
    if isinstance(module, nn.ConvTranspose1d):
        stride, groups, dilation = module.stride[0], module.groups, module.dilation[0]
        _refuse_missing(module)

        def system(weight: Tensor, bias: Tensor | None) -> UpsamplingSystem:
            return transposed_system(weight, bias, stride, groups, dilation)

        return _numbered(name, "transposed", module, system) if stride > 1 else None
    if isinstance(module, Upsampler) and module.stride > 1:
        return _ours(name, module)
    return None


def _ours(name: str, layer: Upsampler) -> Site:
    if not isinstance(layer, (Transposed, Stretch, Subpixel, InverseWavelet)):
        raise UsageError(
            f"has none (the phases of {layer.name} have equal sums, whatever the weights)"
        )
    _refuse_missing(layer)
    haar = isinstance(layer, Haar)
    twin: Any = double_copy(layer)
    if haar:
        twin = Subpixel(
            layer.in_channels, layer.out_channels, layer.stride, layer.kernel_size, layer.has_bias
        ).double()
    if getattr(twin, "tone_free", False):
        twin.tone_free = False

    def system(weight: Tensor, bias: Tensor | None) -> UpsamplingSystem:
        for key in ("weight", "bias"):
            twin.__dict__.pop(key, None)
            twin._parameters.pop(key, None)
        twin.__dict__.update(weight=weight, bias=bias)
        return twin.known_system()

    site = _numbered(name, layer.name, layer, system)
    if not haar:
        return site
    eye = torch.eye(layer.stride, dtype=torch.float64)
    return replace(site, mix=inverse_steps(eye[None, :, None], layer.stride, Haar.step)[0])


def _numbered(
    name: str,
    kind: str,
    module: nn.Module,
    system_for: Callable[[Tensor, Tensor | None], UpsamplingSystem],
) -> Site:
    weight, bias = effective(module, "weight"), getattr(module, "bias", None)
    numbers = torch.arange(1, weight.numel() + 1, dtype=torch.float64).view(weight.shape)
    offsets = None if bias is None else torch.arange(1, len(bias) + 1, dtype=torch.float64)
    system = system_for(numbers, offsets).trimmed()
    taps = system.low_rate_taps().round().long() - 1
    if not (taps >= 0).any(3).all():
        raise UsageError(
            f"stride {system.stride} leaves phases without a tap (kernel_size is shorter): their "
            "output is 0 for any input, which no other weights change"
        )
    biases = None if bias is None else system.offsets.round().long() - 1
    return Site(name, kind, system.stride, module, taps, biases, system.groups)


def _refuse_missing(module: nn.Module) -> None:
    if any(is_lazy(p) or p.is_meta for p in module.parameters()):
        raise UsageError("has no weights yet: load them, or run the network once")


def _refuse_weights(site: Site, users: dict[int, list[str]]) -> None:
    """Refuse weights that cannot be written, or that another layer has as well."""
    module = site.module
    if damage := damaged_tensor(module):
        raise UsageError(f"its {damage}: training diverged, or the file is damaged")
    for name in (site.weight, site.bias):
        if (maker := _maker(module, name)) is not None:
            raise UsageError(
                f"its {name} is computed by {maker}: make it a plain parameter first "
                "(torch.nn.utils.parametrize.remove_parametrizations, or the like)"
            )
    for parameter in module.parameters():
        if len(users.get(id(parameter), [])) > 1:
            raise UsageError(
                f"shares a weight with {' and '.join(users[id(parameter)])}: a repair of the one "
                "would change the other"
            )


def _users(network: nn.Module) -> dict[int, list[str]]:
    """The modules that have a parameter, by its identity."""
    users: dict[int, list[str]] = {}
    for name, module in network.named_modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                users.setdefault(id(parameter), []).append(name or type(module).__name__)
    return users


def _maker(module: nn.Module, name: str) -> str | None:
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
    if parametrize.is_parametrized(module, name):
        found: Any = module.parametrizations[name]  # type: ignore[index]
        return found.original0, found.original1
    if f"{name}_g" in module._parameters:
        return getattr(module, f"{name}_g"), getattr(module, f"{name}_v")
    return None


def effective(module: nn.Module, name: str) -> Tensor:
    """A weight as the module uses it; old-style weight norm computes it when the module runs."""
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm) and hook.name == name:
            return hook.compute_weight(module)
    return getattr(module, name)


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
    start = weight.norm(dim=axes, keepdim=True).view(gain.shape)
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
