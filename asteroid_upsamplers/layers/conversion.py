"""Other layers that compute exactly the same, so that a trained model can change its form."""

from __future__ import annotations

import torch

from ..errors import UsageError
from .base import Upsampler
from .polyphase import PolyphaseUpsampler
from .subpixel import Subpixel
from .transposed import Transposed


@torch.no_grad()
def to_subpixel(layer: Upsampler) -> Subpixel:
    """The subpixel layer with the function of ``layer``.

    Args:
        layer: A trimmed transposed convolution, or an interpolation that needs nothing but zeros
            beyond the ends of its input (``nearest``, ``stretch``) before its convolution.

    Returns:
        A new :class:`Subpixel`, of the same precision and on the same device; its kernel is as long
        as the input samples that ``layer`` looks at.

    Raises:
        UsageError: (a ``ValueError``) for a layer that has no such twin: the borders of the other
            interpolations differ from their middle, and no convolution at the input rate does that.

    Example:
        >>> layer = Transposed(2, 3, stride=4)
        >>> x = torch.randn(1, 2, 10)
        >>> torch.allclose(to_subpixel(layer)(x), layer(x), atol=1e-6)
        True
    """
    if isinstance(layer, Subpixel):
        return layer
    layer = _shift_invariant(layer)
    convolution, stride = layer.convolution, layer.stride
    folded = convolution.fold(layer.weight)
    if not layer.taps_per_output:
        folded = folded.transpose(0, 1)
    folded = folded.transpose(1, 2)  # (out, phase, in, Q)
    delay, lead, taps = convolution.delay, convolution.lead, convolution.low_rate_taps
    reach = taps - 1 - lead + (delay > 0)
    kernel_size = max(2 * max(lead, 0) + 1, 2 * max(reach, 0))
    twin = Subpixel(
        layer.in_channels, layer.out_channels, stride, kernel_size, layer.bias is not None
    ).to(layer.weight)
    weight = torch.zeros_like(twin.weight).unflatten(0, (-1, stride))
    for row in range(stride):
        phase = (row - delay) % stride
        start = (kernel_size - 1) // 2 - lead + (row < delay)
        weight[:, phase, :, start : start + taps] = folded[:, row]
    twin.weight.copy_(weight.flatten(0, 1))
    if twin.bias is not None and layer.bias is not None:
        twin.bias.copy_(layer.bias.repeat_interleave(stride))
    return twin


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
    if isinstance(layer, Transposed) and layer.trim:
        return layer
    layer = to_subpixel(layer)
    stride, kernel_size = layer.stride, layer.kernel_size
    bias = None
    if layer.bias is not None:
        phases = layer.bias.unflatten(0, (-1, stride))
        if not torch.equal(phases, phases[:, :1].expand_as(phases)):
            raise UsageError(
                "subpixel: bias differs between phases, allowed is one value for all phases of an "
                "output channel: a transposed convolution adds the same to every sample"
            )
        bias = phases[:, 0]
    taps = layer.weight.unflatten(0, (-1, stride)).flip(-1)  # (out, phase, in, K)
    taps = taps.permute(2, 0, 3, 1).flatten(2)  # (in, out, K * stride)
    if kernel_size % 2 == 0:  # the centre of the output is half a frame later
        taps = torch.nn.functional.pad(taps, (0, stride))
    silent = [not used for used in taps.abs().amax((0, 1)).tolist()]
    start, stop = 0, len(silent)
    while stop - start > stride:  # trimming cuts the extra one of an odd number at the end
        even = (stop - start - stride) % 2 == 0
        if not silent[start if even else stop - 1]:
            break
        start, stop = (start + 1, stop) if even else (start, stop - 1)
    taps = taps[..., start:stop]
    twin = Transposed(
        layer.in_channels, layer.out_channels, stride, taps.shape[-1], bias is not None
    ).to(layer.weight)
    twin.weight.copy_(taps)
    if twin.bias is not None and bias is not None:
        twin.bias.copy_(bias)
    return twin


def _shift_invariant(layer: Upsampler) -> PolyphaseUpsampler:
    """``layer``, if it treats its borders as its middle, beside zeros."""
    if not isinstance(layer, PolyphaseUpsampler):
        raise UsageError(f"{layer.name}: no subpixel layer computes the same")
    convolution = layer.convolution
    if layer.output_length(1) != layer.stride:
        raise UsageError(
            f"{layer.name}: an untrimmed output is longer than a subpixel layer's, "
            "allowed is trim=True"
        )
    if convolution.head_frames or convolution.tail_frames:
        raise UsageError(
            f"{layer.name}: the borders of its output are made otherwise than the middle, which no "
            "subpixel layer does; allowed are transposed, and nearest and stretch with zeros around"
        )
    return layer
