r"""Tones that a ReLU makes of noise, after layers that make none of a constant.

The output of an upsampling layer for white noise has a variance that changes with the phase,
:math:`\sigma_r^2 = \sigma^2 \|h_r\|^2` with the taps :math:`h_r` of phase :math:`r`. Linear, that
is no tone: the mean stays the same. A ReLU turns the variance into a mean,

.. math:: P[r] = \sigma_r \varphi(b / \sigma_r) + b \, \Phi(b / \sigma_r),

which is :math:`\sigma_r / \sqrt{2 \pi}` without a constant :math:`b`, and that is a tone. The "no
tonal artifacts" of interpolation ([1] Sec. 3) holds for constants.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .checks import within
from .result import Result
from .system import AnyLayer, system_of
from .tones import tones_of_period


@dataclass(frozen=True)
class NoiseTones(Result):
    """Tones in the mean output of a layer and a ReLU for white noise, not for a constant.

    Args:
        levels_db: At k = 1 .. stride // 2, against the rms of the mean output's period; powers are
            summed over the output channels; -400 for none.
        tonal_fraction: Share of that period's power that is not at zero frequency, pooled over the
            output channels.
        phase_means: The mean of every phase, ``(out_channels, stride)``.
    """

    levels_db: list[float]
    tonal_fraction: float
    phase_means: list[list[float]]


@torch.no_grad()
def noise_tones(layer: AnyLayer, deviation: float = 1.0) -> NoiseTones:
    """The tones of a layer and a ReLU in white noise.

    Args:
        layer: An upsampler, torch's transposed convolution, or a system.
        deviation: Of the noise in each input channel; the channels are independent.
    """
    within("deviation", deviation, 0)
    system = system_of(layer)
    power = system.by_phase(system.responses.square().sum(1)).sum(1)
    sigma = deviation * power.sqrt()
    ratio = (system.offsets / sigma).nan_to_num(nan=0.0)
    density = (-ratio.square() / 2).exp() / math.sqrt(2 * math.pi)
    return _summary(sigma * density + system.offsets * torch.special.ndtr(ratio))


def _summary(means: Tensor) -> NoiseTones:
    tones = tones_of_period(means)
    return NoiseTones(tones.levels_db, tones.tonal_fraction, means.tolist())
