"""Other layers that compute exactly the same, so that a trained model can change its form."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import UsageError
from .base import Upsampler, assign
from .measured import double_copy, linear_system
from .subpixel import Subpixel
from .transposed import Transposed


@torch.no_grad()
def to_subpixel(layer: Upsampler) -> Subpixel:
    """The subpixel layer with the function of ``layer``.

    Args:
        layer: One whose output near its edges is made as in its middle, with zeros beyond the ends
            of the input: ``transposed`` (trimmed), ``nearest``, ``stretch``, the wavelets.

    Returns:
        A new :class:`Subpixel`, of the same precision and on the same device; its kernel is as long
        as the input samples that ``layer`` looks at.

    Raises:
        UsageError: (a ``ValueError``) for a layer that has no such twin: the edges of the other
            interpolations differ from their middle, and no convolution at the input rate does that.

    Example:
        >>> layer = Transposed(2, 3, stride=4)
        >>> x = torch.randn(1, 2, 10)
        >>> torch.allclose(to_subpixel(layer)(x), layer(x), atol=1e-6)
        True
    """
    if layer.output_length(1) != layer.stride:
        raise UsageError(
            f"{layer.name}: an untrimmed output is longer than a subpixel layer's; only layers "
            "with trim=True have such a twin"
        )
    system = linear_system(layer)
    taps = system.low_rate_taps()
    past, future = taps.shape[-1] - 1 - system.before, system.before
    kernel_size = max(2 * past + 1, 2 * future)
    twin = Subpixel(layer.in_channels, layer.out_channels, layer.stride, kernel_size).double()
    around = (kernel_size - 1) // 2 - past, kernel_size // 2 - future
    assign(twin, "weight", F.pad(taps, around).flatten(0, 1))
    assign(twin, "bias", system.offsets.flatten())
    twin.to(system.responses.device)
    _check_edges(layer, twin)
    if not layer.has_bias:
        twin.bias, twin.has_bias = None, False
    return twin.to(next(layer.parameters()))


def _check_edges(layer: Upsampler, twin: Subpixel) -> None:
    generator = torch.Generator().manual_seed(0)
    exact = double_copy(layer)
    for time in (1, 4 * twin.kernel_size):
        x = torch.randn(1, layer.in_channels, time, generator=generator, dtype=torch.float64)
        x = x.to(twin.weight.device)
        if not torch.allclose(twin(x), exact(x), rtol=1e-9, atol=1e-9 * float(twin(x).abs().max())):
            raise UsageError(
                f"{layer.name}: the edges of its output are made otherwise than the middle, which "
                "no subpixel layer does"
            )


@torch.no_grad()
def to_transposed(layer: Upsampler) -> Transposed:
    """The transposed convolution with the function of ``layer``.

    Args:
        layer: A subpixel layer whose phases share one bias, or what :func:`to_subpixel` takes.

    Returns:
        A new :class:`Transposed`, of the same precision and on the same device, with the shortest
        kernel that does it.

    Raises:
        UsageError: (a ``ValueError``) for a layer that has no such twin.

    Example:
        >>> layer = Transposed(2, 3, stride=4)
        >>> torch.equal(to_transposed(to_subpixel(layer)).weight, layer.weight)
        True
    """
    subpixel = to_subpixel(layer)
    stride, bias = subpixel.stride, None
    if subpixel.bias is not None:
        phases = subpixel.bias.unflatten(0, (-1, stride))
        if not torch.equal(phases, phases[:, :1].expand_as(phases)):
            raise UsageError(
                f"{layer.name}: its bias differs between phases; a transposed convolution adds the "
                "same to every sample of an output channel"
            )
        bias = phases[:, 0]
    taps = _without_silent_ends(_as_transposed(subpixel), stride)
    twin = Transposed(
        layer.in_channels, layer.out_channels, stride, taps.shape[-1], bias is not None
    ).to(taps)
    assign(twin, "weight", taps)
    if bias is not None:
        assign(twin, "bias", bias)
    return twin


def _as_transposed(layer: Subpixel) -> Tensor:
    """Its taps, ``(in, out, kernel_size * stride)``."""
    taps = layer.weight.unflatten(0, (-1, layer.stride)).flip(-1)  # (out, phase, in, K)
    taps = taps.permute(2, 0, 3, 1).flatten(2)
    # with an even kernel the centre of the output is half a frame later
    return taps if layer.kernel_size % 2 else F.pad(taps, (0, layer.stride))


def _without_silent_ends(taps: Tensor, stride: int) -> Tensor:
    """Fewer taps, trimmed alike: of an odd number that is cut, the extra one is at the end."""
    silent = [not used for used in taps.abs().amax((0, 1)).tolist()]
    start, stop = 0, len(silent)
    while stop - start > stride:
        even = (stop - start - stride) % 2 == 0
        if not silent[start if even else stop - 1]:
            break
        start, stop = (start + 1, stop) if even else (start, stop - 1)
    return taps[..., start:stop]
