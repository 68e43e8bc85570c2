"""Put other upsampling layers in the place of a network's own, as near to them as they can come.

A transposed convolution that is not trimmed becomes the package's own or a subpixel layer that
computes exactly the same. Of an interpolation with a convolution after it the taps are those whose
impulse responses come nearest (least squares, :mod:`..blocks.fitting`): it cannot make tones, and
cannot do all that was learned either, so that what comes out is a start for fine-tuning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from .. import layers
from ..errors import UsageError
from .site import Site
from .weights import effective


@torch.no_grad()
def swap(
    network: nn.Module,
    sites: Sequence[Site],
    *,
    family: str = "nearest",
    order: int = 0,
    calibration: Any = None,
    example: Any = None,
) -> list[str]:
    """Replace layers of a network, in place.

    Args:
        network: That holds them.
        sites: The layers.
        family: Name of an upsampler, such as ``"nearest"``, ``"linear"``, ``"subpixel"``.
        order, calibration, example: Are not needed.

    Returns:
        For each layer by how much its responses differ from those that it had.
    """
    try:
        made = layers.get(family)
    except ValueError as unknown:
        raise UsageError(f"family: {unknown}") from unknown
    warnings = []
    for site in sites:
        twin = _twin(site)
        other: layers.Upsampler
        if family == "transposed":
            other, error = twin, 0.0
        elif family == "subpixel":
            other, error = layers.to_subpixel(twin), 0.0
        else:
            other, error = _fitted(made, twin)
        other.train(site.module.training)
        path, _, last = site.name.rpartition(".")
        parent = network.get_submodule(path)
        if parent._modules.get(last) is not site.module:
            raise UsageError(f"{site.name}: is no module of another one, and cannot be replaced")
        for one in network.modules():  # a layer may have several names
            for name, child in list(one._modules.items()):
                if child is site.module:
                    setattr(one, name, other)
        site.module = other
        if error > 1e-10:
            warnings.append(
                f"{site.name}: {100 * error:.0f} % of the energy of its responses is beyond "
                f"{family}: train the network before using it"
            )
    return warnings


def _twin(site: Site) -> layers.Transposed:
    """A transposed convolution of this package that computes what a layer computes."""
    module = site.module
    if isinstance(module, layers.Transposed) and not module.tone_free:
        return module
    if isinstance(module, layers.Upsampler):
        return layers.to_transposed(module)
    if type_before_parametrizations(module) is not nn.ConvTranspose1d:
        raise UsageError(f"{site.name}: {site.kind} cannot be swapped, only a layer of its own")
    conv: Any = module
    size, stride = conv.kernel_size[0], conv.stride[0]
    trimmed = 2 * conv.padding[0] == size - stride and not conv.output_padding[0]
    whole = not conv.padding[0] and not conv.output_padding[0]
    if conv.groups > 1 or conv.dilation[0] > 1 or not (trimmed or whole):
        raise UsageError(
            f"{site.name}: only transposed convolutions without groups and dilation, whose output "
            "is trimmed on both sides alike or not at all, can be swapped"
        )
    twin = layers.Transposed(
        conv.in_channels, conv.out_channels, stride, size, conv.bias is not None, trim=trimmed
    )
    twin.to(effective(conv, "weight"))
    layers.assign(twin, "weight", effective(conv, "weight"))
    if conv.bias is not None:
        layers.assign(twin, "bias", conv.bias)
    return twin


def _fitted(family: type[layers.Upsampler], twin: layers.Transposed) -> tuple[Any, float]:
    """The layer of a family that is nearest to another, and the share of energy that it misses."""
    if not twin.trim:
        raise UsageError(
            f"{family.name} gives stride times as many samples as it gets, this layer more: only "
            "'transposed' can take its place"
        )
    from ..blocks import fitting  # loads Asteroid

    stride, size = twin.stride, twin.kernel_size
    size = fitting.covering_kernel_size(family, stride, size)
    one = family(twin.in_channels, 1, stride, size, bias=False)
    columns, missing, energy, taps = fitting.tap_responses(one), 0.0, 0.0, []
    name = fitting.taps_of(one) or "weight"
    start = -((twin.kernel_size - stride) // 2)
    for channel in range(twin.out_channels):
        wanted = fitting.Responses(twin.weight[:, channel].double().cpu(), start)
        power = float(wanted.values.square().sum())
        missing += power * fitting.fit_responses(one, wanted, columns)
        energy += power
        taps.append(_parameter(one, name).clone())
    other = family(twin.in_channels, twin.out_channels, stride, size, bias=twin.has_bias)
    shape = _parameter(other, name).shape
    axis = next((k for k, n in enumerate(shape) if n != taps[0].shape[k]), 0)
    layers.assign(*_place(other, name), torch.cat(taps, axis))
    if twin.bias is not None:
        bias = next(n for n, _ in other.named_parameters() if n.rpartition(".")[2] == "bias")
        values = twin.bias.repeat_interleave(len(_parameter(other, bias)) // len(twin.bias))
        layers.assign(*_place(other, bias), values)
    return other.to(twin.weight), missing / energy if energy else 0.0


def _place(layer: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, last = name.rpartition(".")
    return layer.get_submodule(path), last


def _parameter(layer: nn.Module, name: str) -> Tensor:
    return getattr(*_place(layer, name))
