r"""Tones that a layer adds to a constant, from its weights alone ([1] Sec. 2 and 4).

For an input of ones the steady output has period ``stride``, with the phase sums :math:`P[r]`. Its
Fourier coefficients are the tones at :math:`k f_s / s`:

.. math:: A_k = \frac{1}{s} \sum_{r=0}^{s-1} P[r] e^{-2 \pi i k r / s}.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..layers import Upsampler

FLOOR_DB = -400.0
"""Level that stands for none at all."""


@dataclass(frozen=True)
class ToneLevels:
    """Levels of the tones of one layer.

    Args:
        levels_db: Of the loudest output channel, at k = 1 .. stride // 2:
            ``20 log10(|A_k| / rms)``, against the rms of the steady period.
        per_channel_db: The same for every output channel.
        tonal_fraction: Share of the steady power that is not at zero frequency, pooled over the
            output channels; from 0 (a constant) to 1.
    """

    levels_db: list[float]
    per_channel_db: list[list[float]]
    tonal_fraction: float


@torch.no_grad()
def tone_levels(layer: Upsampler, bias: bool = True) -> ToneLevels:
    """The tones that ``layer`` adds to an input of ones.

    Args:
        layer: An upsampler of this package.
        bias: Whether its bias counts.

    Example:
        >>> from asteroid_upsamplers import layers
        >>> tone_levels(layers.Nearest(8, 8, stride=4)).tonal_fraction < 1e-12
        True
    """
    sums = layer.phase_sums().double()
    if not bias and layer.bias is not None:
        sums = sums - layer.bias.double().reshape(layer.out_channels, -1)
    power = sums.square().mean(1)
    amplitudes = torch.fft.rfft(sums, dim=1)[:, 1:].abs() / layer.stride
    levels = 20 * (amplitudes / power.sqrt()[:, None]).log10()
    levels = levels.nan_to_num(nan=FLOOR_DB, neginf=FLOOR_DB).clamp(min=FLOOR_DB)
    tonal = (power - sums.mean(1).square()).clamp(min=0).sum() / power.sum()
    loudest = levels[levels.amax(1).argmax()] if layer.stride > 1 else levels[0]
    return ToneLevels(loudest.tolist(), levels.tolist(), float(tonal.nan_to_num(nan=0.0)))
