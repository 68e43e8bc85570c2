"""Untrained networks fed with white noise, as in [1] Figs. 1 and 9."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ..artifacts import filtering_of_signal, prominence
from ..models import DemucsLike, MelGANGenerator

SECONDS = 6.0


@torch.no_grad()
def demucs_output(seed: int, channels: int, **settings: Any) -> tuple[np.ndarray, int]:
    """The left channel of the first source, for uniform stereo noise in [-1, 1].

    Returns:
        ``(8, time)``, all output channels, and the sample rate in Hz.
    """
    model = _drawn(DemucsLike, seed, channels=channels, **settings)
    generator = torch.Generator().manual_seed(seed)
    time = round(SECONDS * model.sample_rate)
    x = 2 * torch.rand(1, 2, time, generator=generator) - 1
    return model(x)[0].flatten(0, 1).numpy(), int(model.sample_rate)


@torch.no_grad()
def melgan_output(seed: int) -> tuple[np.ndarray, int]:
    """The waveform ``(1, time)`` for normal noise as the spectrogram, and the sample rate in Hz.

    Log-mel spectrograms of white noise are smooth, and so shape the noise floor around the tones.
    """
    model = _drawn(MelGANGenerator, seed)
    generator = torch.Generator().manual_seed(seed)
    frames = round(SECONDS * model.sample_rate / model.hop)
    return model(torch.randn(1, 80, frames, generator=generator))[0].numpy(), int(model.sample_rate)


def noise_numbers(output: np.ndarray, rate: int, stride: int) -> dict[str, Any]:
    """Prominence of the tones of the last layer, and the depth of the valley at its input rate.

    Args:
        output: ``(channels, time)``.
        rate: In Hz.
        stride: Of the last upsampling layer.
    """
    signal = torch.from_numpy(output)
    frequencies = [k * rate / stride for k in range(1, stride // 2 + 1)]
    levels = prominence(signal, rate, frequencies).tolist()
    return {
        "prominence_db": {f"{f:g}": v for f, v in zip(frequencies, levels, strict=True)},
        "valley_db": filtering_of_signal(signal, stride).valleys_db[0],
    }


def _drawn(cls: type[nn.Module], seed: int, **settings: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return cls(**settings).eval()
