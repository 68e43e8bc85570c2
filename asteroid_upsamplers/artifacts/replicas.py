r"""Images of a sinusoid: spectral replicas that upsampling exposes ([1] Sec. 5).

A sinusoid at :math:`f_0` below half the input rate comes out with images at :math:`m f_{in} \pm
f_0`; each has the level that the layer's response has there, :math:`20 \log_{10} |H(f_{image}) /
H(f_0)|`.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..dsp.spectra import decibels
from .result import Result
from .system import AnyLayer, system_of


@dataclass(frozen=True)
class Replicas(Result):
    """Images of one sinusoid that is the same in all input channels.

    Args:
        frequency: Of the sinusoid, in cycles per output sample.
        image_frequencies: Of its images, rising, in the same unit.
        levels_db: Of each against the component at the sinusoid's own frequency; power summed over
            the output channels. -400 for none.
    """

    frequency: float
    image_frequencies: list[float]
    levels_db: list[float]


@torch.no_grad()
def replicas(layer: AnyLayer, frequency: float = 0.1) -> Replicas:
    """The images of a sinusoid.

    Args:
        layer: An upsampler, torch's transposed convolution, or a system.
        frequency: Of the sinusoid, in cycles per input sample; above 0, below 0.5.

    Example:
        >>> from asteroid_upsamplers import layers
        >>> nearest = layers.Nearest(1, 1, stride=2, kernel_size=1, bias=False)
        >>> [round(level, 1) for level in replicas(nearest).levels_db]
        [-16.0]
    """
    system = system_of(layer, together=True)
    frequencies = _frequencies(frequency, system.stride)
    taps = system.responses.sum(1)
    time = torch.arange(taps.shape[1], dtype=torch.float64, device=taps.device)
    turns = -2j * math.pi * time[:, None] * frequencies.to(taps.device)
    power = (taps.to(torch.complex128) @ turns.exp()).abs().square().sum(0)
    return _summary(frequencies, power)


def _frequencies(frequency: float, stride: int) -> Tensor:
    """The sinusoid first, then its images, in cycles per output sample."""
    if not 0 < frequency < 0.5:
        raise ValueError(
            f"frequency must be above 0 and below 0.5 of the input rate, not {frequency}"
        )
    images = [m + sign * frequency for m in range(1, stride) for sign in (-1, 1)]
    within = sorted(f / stride for f in images if f <= stride / 2)
    return torch.tensor([frequency / stride, *within], dtype=torch.float64)


def _summary(frequencies: Tensor, power: Tensor) -> Replicas:
    own, *images = frequencies.tolist()
    return Replicas(own, images, decibels(power[1:], power[0]).tolist())
