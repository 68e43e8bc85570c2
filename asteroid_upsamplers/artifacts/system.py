r"""An upsampling layer as a linear system, whatever its parameters look like.

Every layer here is linear and periodically time varying ([1] Sec. 2 to 4): with input channels
:math:`i`, stride :math:`s`, and a constant :math:`b` for every phase,

.. math:: y_o[n] = b_o[n \bmod s] + \sum_i \sum_m x_i[m] \, h_{oi}[n - m s].

All closed forms of this room follow from :math:`h` and :math:`b`.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..dsp import polyphase_split
from ..layers import Upsampler


def like(layer: Any, otherwise: torch.dtype = torch.float64) -> Tensor:
    """An empty tensor where the layer's parameters are, of their precision.

    Args:
        layer: A module, or any callable.
        otherwise: The precision for what has no parameters.
    """
    parameters = layer.parameters() if isinstance(layer, nn.Module) else iter(())
    parameter = next(parameters, None)
    return torch.empty(0, dtype=otherwise) if parameter is None else parameter.detach()[:0]


@dataclass(frozen=True, eq=False)
class UpsamplingSystem:
    """The impulse responses and constants of a layer, in float64.

    Args:
        responses: :math:`h`, ``(out_channels, in_channels / groups, samples)`` at the output rate.
        stride: Upsampling factor.
        offsets: :math:`b`, ``(out_channels, stride)``.
        groups: Blocks of channels that do not mix, as in ``nn.Conv1d``.
    """

    responses: Tensor
    stride: int
    offsets: Tensor
    groups: int = 1

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        return self.responses.shape[1] * self.groups

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.responses.shape[0]

    def tap_sums(self) -> Tensor:
        """The steady response to ones without the offsets: ``(out_channels, stride)``."""
        return self.phases(self.responses.sum(1)).sum(2)

    def phases(self, responses: Tensor) -> Tensor:
        """``(channels, samples)`` -> ``(channels, stride, samples / stride)``, zeros at the end."""
        missing = -responses.shape[-1] % self.stride
        whole = nn.functional.pad(responses, (0, missing))[None]
        return polyphase_split(whole, self.stride)[0].unflatten(0, (-1, self.stride))


AnyLayer = Upsampler | nn.ConvTranspose1d | UpsamplingSystem


@torch.no_grad()
def system_of(layer: AnyLayer) -> UpsamplingSystem:
    """The filters of a layer, from its weights alone.

    Args:
        layer: An upsampler of this package, torch's transposed convolution, or filters, which pass
            through.

    Raises:
        TypeError: If it is none of these.
    """
    if isinstance(layer, UpsamplingSystem):
        return layer
    if isinstance(layer, Upsampler):
        offsets = layer.phase_biases().double()
        return UpsamplingSystem(layer.impulse_responses(), layer.stride, offsets)
    if isinstance(layer, nn.ConvTranspose1d):
        return transposed_filters(
            layer.weight, layer.bias, layer.stride[0], layer.groups, layer.dilation[0]
        )
    raise TypeError(
        f"{type(layer).__name__} is no upsampling layer: allowed are the upsamplers of "
        "asteroid_upsamplers.layers and nn.ConvTranspose1d"
    )


def transposed_filters(
    weight: Tensor, bias: Tensor | None, stride: int, groups: int = 1, dilation: int = 1
) -> UpsamplingSystem:
    """The filters of ``F.conv_transpose1d``.

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


def steady_period(filters: UpsamplingSystem, period: Tensor) -> Tensor:
    """What a periodic input becomes, in the steady state.

    Args:
        filters: Of one layer.
        period: One period of the input, ``(in_channels, samples)``, float64.

    Returns:
        One period of the output, ``(out_channels, samples * stride)``.

    Example:
        >>> from asteroid_upsamplers import layers
        >>> filters = system_of(layers.Nearest(1, 1, stride=2, kernel_size=1, bias=False))
        >>> steady_period(filters, torch.ones(1, 3)).shape
        torch.Size([1, 6])
    """
    stride, length = filters.stride, period.shape[-1] * filters.stride
    stuffed = period.new_zeros(len(period), length)
    stuffed[:, ::stride] = period
    folded = nn.functional.pad(filters.responses, (0, -filters.responses.shape[-1] % length))
    folded = folded.unflatten(-1, (-1, length)).sum(-2)
    spectra = torch.fft.rfft(stuffed.double()).unflatten(0, (filters.groups, -1))
    response = torch.fft.rfft(folded).unflatten(0, (filters.groups, -1))
    summed = torch.einsum("goif,gif->gof", response, spectra).flatten(0, 1)
    return torch.fft.irfft(summed, length) + filters.offsets.repeat(1, period.shape[-1])
