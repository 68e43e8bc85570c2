"""Upsampling layers as torch modules: their settings, and what they make of a constant."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..artifacts.system import system_of, transposed_system
from ..artifacts.tones import tones_of_period
from ..errors import UsageError
from ..layers import FoldedUpsampler, Stretch, Subpixel, Transposed, Upsampler
from ..layers.measured import double_copy
from ..layers.wavelet import InverseWavelet

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

COMPUTING = ("compute_weight", "apply_mask")
"""What torch's old norms and its pruning have, which compute a weight when the module runs."""

EQUAL = 1e-8
"""Phases are equal if tones are no more than this share of the power, -80 dB."""


@dataclass(frozen=True, eq=False)
class UpsamplingModule:
    """A module that raises the sample rate.

    Args:
        name: In the network.
        stride: Upsampling factor in time.
        period: What it makes of a constant, ``(any, stride)``; ``None`` if that is unknown.
        offsets: What it makes of zeros, ``(any, stride)``.
        kernel_size: Of a transposed convolution.
        dilation: Of a transposed convolution.
        shuffles: Whether it makes phases of channels.
        filters: The convolution before it, if it is a module of its own.
        along: Words for the axis that was taken for time, if there are several.
    """

    name: str
    stride: int
    period: Tensor | None = None
    offsets: Tensor | None = None
    kernel_size: int = 0
    dilation: int = 1
    shuffles: bool = False
    filters: nn.Module | None = None
    along: str = ""

    @property
    def taps_by_phase(self) -> list[int]:
        """How many taps of a transposed convolution reach each phase of its output."""
        places = [k * self.dilation % self.stride for k in range(self.kernel_size)]
        return [places.count(phase) for phase in range(self.stride)]

    @property
    def tonal_fraction(self) -> float:
        """Share of a constant's power that becomes tones."""
        return 0.0 if self.period is None else tones_of_period(self.period).tonal_fraction

    @property
    def unequal_gains(self) -> bool:
        """Whether a constant becomes a tone."""
        return self.tonal_fraction > EQUAL

    @property
    def unequal_biases(self) -> bool:
        """Whether silence becomes a tone."""
        return self.offsets is not None and tones_of_period(self.offsets).tonal_fraction > EQUAL

    @property
    def makes_tones(self) -> bool:
        """Whether a constant becomes a tone, or will, once weights that are not there yet are."""
        return self.period is None or not self.period.any() or self.unequal_gains


def upsampling_module(
    root: nn.Module, name: str, module: nn.Module, time_axis: int = -1
) -> UpsamplingModule | None:
    """A module as an upsampling layer; ``None`` if it is none, or keeps the rate in time.

    Args:
        root: The network.
        name: Of the module in it.
        module: The module.
        time_axis: Of signals in two or three dimensions, -1 or -2.
    """
    shown = name or type(module).__name__
    layer = None
    if isinstance(module, Upsampler):
        layer = _ours(shown, module)
    elif isinstance(module, FoldedUpsampler):
        gains = module.weight.double().flatten(1).sum(1).view(-1, module.stride)
        layer = UpsamplingModule(shown, module.stride, gains)
    elif isinstance(module, TRANSPOSED):
        layer = _transposed(shown, module, time_axis)
    elif isinstance(module, nn.Upsample):
        layer = UpsamplingModule(shown, 2, torch.ones(1, 2))  # whatever its factor: no tones
    elif _is_asteroids_decoder(module):
        layer = _of_asteroid(shown, module)
    elif _stride_of_shuffle(module):
        layer = _shuffled(root, name, module, time_axis)
    return layer if layer is not None and layer.stride > 1 else None


def _ours(name: str, layer: Upsampler) -> UpsamplingModule:
    transposed = isinstance(layer, (Transposed, Stretch))
    size = layer.kernel_size if transposed else 0
    shuffles = isinstance(layer, (Subpixel, InverseWavelet))
    unknown = UpsamplingModule(name, layer.stride, None, None, size, shuffles=shuffles)
    if not _is_there(layer):
        return unknown
    try:
        system = system_of(layer, together=True)
    except UsageError:  # somebody's upsampler that is not linear
        return unknown
    return replace(unknown, period=system.phase_gains(), offsets=system.offsets)


def _transposed(name: str, module: Any, time_axis: int) -> UpsamplingModule:
    axis = max(0, len(module.kernel_size) + time_axis)
    settings = (module.kernel_size, module.stride, module.dilation)
    size, stride, dilation = (setting[axis] for setting in settings)
    found = _weights(module)
    period = None
    if found is not None:
        period = _period(found[0].movedim(2 + axis, -1).flatten(1, -2), stride, dilation)
    along = "" if len(module.kernel_size) == 1 else f"along axis {time_axis} (time): "
    return UpsamplingModule(name, stride, period, None, size, dilation, along=along)


def _is_asteroids_decoder(module: nn.Module) -> bool:
    """Whether it is one that decodes with its filterbank; Asteroid is not imported for it."""
    names = [f"{c.__module__.partition('.')[0]}.{c.__name__}" for c in type(module).__mro__]
    return "asteroid_filterbanks.Decoder" in names and getattr(module, "upsampler", None) is None


def _of_asteroid(name: str, decoder: Any) -> UpsamplingModule:
    filterbank = decoder.filterbank
    size, stride = int(filterbank.kernel_size), int(filterbank.stride)
    period = _period(decoder.get_filters(), stride, 1) if _is_there(decoder) else None
    return UpsamplingModule(name, stride, period, None, size)


def _period(weight: Tensor, stride: int, dilation: int) -> Tensor:
    system = transposed_system(weight, None, stride, 1, dilation)
    return system.by_phase(system.responses).sum(2).flatten(0, 1)


SHUFFLE = re.compile(r"(pixel|periodic)_?shuffle|sub_?pixel", re.IGNORECASE)
"""In the names of classes, as torch's ``PixelShuffle`` is for images only."""

FACTORS = ("upscale_factor", "upsample_factor", "scale_factor", "factor", "scale", "stride", "r")
"""Attributes that may hold the factor of a shuffle."""


def _stride_of_shuffle(module: nn.Module) -> int | None:
    if not SHUFFLE.search(type(module).__name__):
        return None
    values = (getattr(module, name, None) for name in FACTORS)
    return next((value for value in values if type(value) is int and value > 1), None)


def _shuffled(
    root: nn.Module, name: str, module: nn.Module, time_axis: int
) -> UpsamplingModule | None:
    """A shuffle of the channels of the one convolution in it, or of the one before it."""
    stride = _stride_of_shuffle(module) or 1
    own_filters: list[nn.Module] = []
    layers: list[nn.Module] = [child for child in module.modules() if _has_own_parameters(child)]
    if not layers:
        parent, _, own = name.rpartition(".")
        siblings = list(root.get_submodule(parent).named_children()) if name else []
        names = [sibling for sibling, _ in siblings]
        before = [child for _, child in siblings[: names.index(own)]] if name else []
        own_filters += [child for child in before if isinstance(child, CONVOLUTIONS)][-1:]
        layers = own_filters
    elif len(layers) > 1:  # a block; what is in it speaks for itself
        return None
    shown, filters = name or type(module).__name__, next(iter(own_filters), None)
    unknown = UpsamplingModule(shown, stride, shuffles=True, filters=filters)
    found = _weights(layers[0]) if layers and isinstance(layers[0], CONVOLUTIONS) else None
    if found is None:
        return unknown
    weight, bias = found
    split = _phases_of_image if isinstance(module, nn.PixelShuffle) else _phases_of_signal
    taps = weight.flatten(2).sum(2)
    try:
        gains = split(taps, stride, time_axis)
        offsets = None if bias is None else split(bias[:, None], stride, time_axis)
    except RuntimeError:  # the channels of another layer
        return unknown
    return replace(unknown, period=gains, offsets=offsets)


def _phases_of_image(rows: Tensor, stride: int, time_axis: int) -> Tensor:
    """``(channels * stride * stride, any)`` -> ``(any, stride)``."""
    axis = 2 if time_axis == -1 else 1
    return rows.unflatten(0, (-1, stride, stride)).movedim(axis, -1).flatten(0, -2)


def _phases_of_signal(rows: Tensor, stride: int, time_axis: int) -> Tensor:
    """The same of ``(channels * stride, any)``, whose order is unknown: the more even of two."""
    orders = (rows.unflatten(0, (-1, stride)).movedim(1, -1), rows.unflatten(0, (stride, -1)))
    periods = [orders[0].flatten(0, -2), orders[1].movedim(0, -1).flatten(0, -2)]
    return min(periods, key=lambda period: tones_of_period(period).tonal_fraction)


def _weights(module: Any) -> tuple[Tensor, Tensor | None] | None:
    """Weight and bias of a convolution as it uses them, float64; ``None`` if not there yet."""
    if not _is_there(module):
        return None
    exact = double_copy(module)
    for hook in exact._forward_pre_hooks.values():
        if any(hasattr(hook, name) for name in COMPUTING):
            hook(exact, ())
    return exact.weight.detach(), None if exact.bias is None else exact.bias.detach()


def _is_there(module: nn.Module) -> bool:
    return not any(is_lazy(p) or p.is_meta for p in module.parameters())


def _has_own_parameters(module: nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None
