"""The linear system of a layer: what every measurement of this room starts from."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..dsp import UpsamplingSystem
from ..errors import UsageError
from ..layers import Upsampler, linear_system, measured_system
from ..layers.measured import damage_of, double_copy

AnyLayer = Upsampler | nn.ConvTranspose1d | UpsamplingSystem


@torch.no_grad()
def system_of(layer: AnyLayer, together: bool = False) -> UpsamplingSystem:
    """The impulse responses and offsets of a layer.

    Args:
        layer: An upsampler, which is run on impulses in float64 (:func:`layers.measured_system`)
            or says its responses itself (:func:`layers.linear_system`); torch's transposed
            convolution, whose weights are its responses; or a system, which passes through.
        together: Whether the responses of an upsampler's input channels may be summed: for inputs
            that are the same in all channels that is enough, and takes one run instead of one a
            channel.

    Raises:
        TypeError: If it is none of these.
        UsageError: (a ``ValueError``) if an upsampler is not linear, or its weights hold NaN or
            infinities.
    """
    if isinstance(layer, UpsamplingSystem):
        return _undamaged(layer, "UpsamplingSystem: its responses or offsets are NaN or infinite")
    if isinstance(layer, Upsampler):
        return measured_system(layer, together) if together else linear_system(layer)
    if isinstance(layer, nn.ConvTranspose1d):
        exact = double_copy(layer)
        least = 2 + 2 * int(
            exact.padding[0]
        )  # its norms and pruning compute the weights when it runs
        silence = torch.zeros(1, exact.in_channels, least, dtype=torch.float64)
        exact(silence.to(layer.weight.device))
        system = transposed_system(
            exact.weight, exact.bias, exact.stride[0], exact.groups, exact.dilation[0]
        )
        return _undamaged(system, damage_of(layer))
    raise TypeError(
        f"{type(layer).__name__} is no upsampling layer: an upsampler of "
        "asteroid_upsamplers.layers, an nn.ConvTranspose1d or an UpsamplingSystem is needed"
    )


def _undamaged(system: UpsamplingSystem, damage: str) -> UpsamplingSystem:
    if not (system.responses.isfinite().all() and system.offsets.isfinite().all()):
        raise UsageError(damage)
    return system


def transposed_system(
    weight: Tensor, bias: Tensor | None, stride: int, groups: int = 1, dilation: int = 1
) -> UpsamplingSystem:
    """The system of ``F.conv_transpose1d`` without padding.

    Args:
        weight: ``(in_channels, out_channels / groups, kernel_size)``.
        bias: ``(out_channels,)`` or ``None``.
        stride: As there, like the other two.
    """
    weight = weight.detach().double().unflatten(0, (groups, -1))
    taps = weight.transpose(1, 2).flatten(0, 1)
    responses = taps.new_zeros(*taps.shape[:2], (taps.shape[2] - 1) * dilation + 1)
    responses[..., ::dilation] = taps
    offsets = taps.new_zeros(len(taps)) if bias is None else bias.detach().double()
    return UpsamplingSystem(responses, stride, offsets[:, None].expand(-1, stride), groups)


def steady_period(system: UpsamplingSystem, period: Tensor) -> Tensor:
    """What a periodic input becomes, in the steady state, up to a delay.

    Args:
        system: Of one layer.
        period: One period of the input, ``(in_channels, samples)``, float64.

    Returns:
        One period of the output, ``(out_channels, samples * stride)``.

    Example:
        >>> from asteroid_upsamplers import layers
        >>> system = system_of(layers.Nearest(1, 1, stride=2, kernel_size=1, bias=False))
        >>> steady_period(system, torch.ones(1, 3)).shape
        torch.Size([1, 6])
    """
    stride, length = system.stride, period.shape[-1] * system.stride
    stuffed = period.new_zeros(len(period), length)
    stuffed[:, ::stride] = period
    folded = F.pad(system.responses, (0, -system.responses.shape[-1] % length))
    folded = folded.unflatten(-1, (-1, length)).sum(-2)
    spectra = torch.fft.rfft(stuffed.double()).unflatten(0, (system.groups, -1))
    response = torch.fft.rfft(folded).unflatten(0, (system.groups, -1))
    summed = torch.einsum("goif,gif->gof", response, spectra).flatten(0, 1)
    return torch.fft.irfft(summed, length) + system.offsets.repeat(1, period.shape[-1])
