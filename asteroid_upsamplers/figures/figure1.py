"""[1] Fig. 1: upsampling artifacts after initialization, for white noise.

Tonal artifacts are horizontal lines (MelGAN, Demucs with transposed and with subpixel
convolutions), filtering artifacts a horizontal valley (nearest neighbours).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .networks import demucs_output, melgan_output, noise_numbers
from .spectrograms import draw_spectrogram, spectrogram

GRID, SIZE = (2, 2), (11, 7)
CHANNELS = 32
LOWEST_DB = -140.0


def compute(seed: int = 0) -> dict[str, Any]:
    """Spectrograms and numbers of the four panels."""
    panels = {"(a) MelGAN": (*melgan_output(seed), 2)}
    for title, upsampler in (
        ("(b) Demucs: original", "transposed"),
        ("(c) Demucs: nearest neighbor", "nearest"),
        ("(d) Demucs: subpixel CNN", "subpixel"),
    ):
        panels[title] = (*demucs_output(seed, CHANNELS, upsampler=upsampler), 4)
    return panels_of(panels)


def panels_of(panels: dict[str, Any]) -> dict[str, Any]:
    """From title: (output, rate, stride of the last layer) to spectrograms and numbers."""
    return {
        "spectrograms": {title: _steadied(y[0]) for title, (y, _, _) in panels.items()},
        "rates": {title: rate for title, (_, rate, _) in panels.items()},
        "strides": {title: stride for title, (_, _, stride) in panels.items()},
        "numbers": {title: noise_numbers(*panel) for title, panel in panels.items()},
    }


def _steadied(signal: np.ndarray) -> np.ndarray:
    """Without the mean, which is all that else would be seen of MelGAN; down to -140 dB."""
    return spectrogram(signal - signal.mean(), floor_db=LOWEST_DB)


def draw(axes: Any, arrays: dict[str, Any]) -> None:
    """One spectrogram an axes, with the last layer's tones marked."""
    for place, (title, levels) in zip(axes.flat, arrays["spectrograms"].items(), strict=True):
        rate, stride = arrays["rates"][title], arrays["strides"][title]
        tones = [k * rate / stride for k in range(1, stride // 2 + 1)]
        draw_spectrogram(place, levels, rate, tones, title)
