"""What a network makes of silence: the sharpest test of tones, and one that SDR cannot see.

Biases and ReLUs make offsets; upsampling layers turn these into tones at multiples of the output
rate / ``stride`` ([1] Sec. 5). museval leaves silent windows out, where these are heard.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SilenceResponse:
    """The steady output for zeros, without its mean.

    Args:
        rms_db: In dB against 1; ``-inf`` for exact silence.
        share_at_tones: Share of that power at multiples of the rate / stride, from 0 to 1.
    """

    rms_db: float
    share_at_tones: float


@torch.no_grad()
def silence_response(
    network: Callable[[Tensor], Tensor],
    channels: int,
    stride: int,
    length: int = 2**17,
    device: torch.device | str = "cpu",
) -> SilenceResponse:
    """Feed zeros, drop the first and last quarter, and look at the rest.

    Args:
        network: ``(1, channels, time)`` -> ``(1, ..., time)``.
        channels: Channels of its input.
        stride: Of its last upsampling layer: the tones are at k / stride of the output's rate.
        length: Samples to feed; shortened to a multiple of ``2 * stride``.
        device: Where the network is.
    """
    half = length // (2 * stride) * stride
    start = half // 2
    y = network(torch.zeros(1, channels, 2 * half, device=device)).double()[
        ..., start : start + half
    ]
    y = y - y.mean(-1, keepdim=True)
    spectrum = torch.fft.rfft(y, dim=-1).abs().square()
    spectrum[..., 1 : (half + 1) // 2] *= 2  # each stands for its negative frequency as well
    power = spectrum.sum()
    if power == 0:
        return SilenceResponse(float("-inf"), 0.0)
    tones = spectrum[..., half // stride :: half // stride].sum()
    return SilenceResponse(float(10 * y.square().mean().log10()), float(tones / power))
