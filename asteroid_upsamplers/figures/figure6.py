"""[1] Fig. 6: interpolation has filtering artifacts, but no tones, after initialization.

Three layers of nearest neighbour or linear interpolation by two, each with a convolution of length
9, for music and for white noise at 4 kHz.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..artifacts import filtering
from .spectrograms import draw_spectrogram, spectrogram
from .stacks import DEPTH, noise, ones, run_stack

GRID, SIZE = (3, 4), (15, 9)


def compute(seed: int = 0, music: np.ndarray | None = None) -> dict[str, Any]:
    """Spectrograms of every layer, and the response and tones of each.

    Args:
        seed: Of the weights and the noise.
        music: ``(time,)`` at 4 kHz, at least half a second; noise alone if ``None``.
    """
    inputs = {"white noise": noise(seed)}
    if music is not None:
        inputs = {"music": torch.from_numpy(np.asarray(music, dtype=np.float64)), **inputs}
    arrays: dict[str, Any] = {"spectrograms": {}, "rates": {}, "numbers": {}}
    for name in ("nearest", "linear"):
        steady = run_stack(name, ones(), seed, kernel_size=9)
        for source, x in inputs.items():
            stack = run_stack(name, x, seed, kernel_size=9)
            for level in range(1, DEPTH + 1):
                title = f"{name}, layer {level}, {source}"
                arrays["spectrograms"][title] = spectrogram(stack.signals[level])
                arrays["rates"][title] = stack.rates[level]
        for level in range(1, DEPTH + 1):
            response = filtering(steady.layers[level - 1])
            output = steady.signals[level]
            middle = output[len(output) // 4 : -len(output) // 4]
            arrays["numbers"][f"{name}, layer {level}"] = {
                "high_band_db": response.high_band_db,
                "valley_db": response.valleys_db[0],
                "variation_for_ones": float(np.ptp(middle) / max(abs(middle).max(), 1e-300)),
            }
    return arrays


def draw(axes: Any, arrays: dict[str, Any]) -> None:
    """A row a layer; nearest neighbours left, linear right."""
    spectrograms = arrays["spectrograms"]
    sources = list(dict.fromkeys(title.split(", ")[2] for title in spectrograms))
    columns = [(name, source) for name in ("nearest", "linear") for source in sources]
    for column, (name, source) in enumerate(columns):
        for row in range(DEPTH):
            title = f"{name}, layer {row + 1}, {source}"
            draw_spectrogram(
                axes[row, column], spectrograms[title], arrays["rates"][title], (), title
            )
    for place in axes[:, len(columns) :].flat:
        place.set_visible(False)
