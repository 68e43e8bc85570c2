"""[1] Fig. 8: tones of transposed convolutions, and filtering by linear interpolation.

Left: three transposed convolutions of length 4 and stride 2, fed with ones at 4 kHz: tones at 4, 8
and 16 kHz and their replicas. Right: three linear interpolations by two, without convolutions
between them, fed with white noise: valleys at multiples of 4 kHz. torch's linear interpolation by
two is the triangle's squared sinc times a cosine, as no output sample falls on an input sample.
"""

from __future__ import annotations

from typing import Any

import torch

from ..artifacts import filtering_of_signal
from .figure7 import steady_lines
from .spectrograms import draw_spectrogram, spectrogram
from .stacks import DEPTH, RATE, interpolate_stack, noise, ones, run_stack

GRID, SIZE = (3, 2), (11, 9)


def compute(seed: int = 0) -> dict[str, Any]:
    """Spectrograms of every layer, the levels of the lines, and the depths of the valleys."""
    transposed = steady_lines(run_stack("transposed", ones(), seed, kernel_size=4))
    arrays: dict[str, Any] = {"spectrograms": {}, "rates": {}, "numbers": {}}
    for level in range(1, DEPTH + 1):
        title = f"transposed CNN: layer {level}"
        arrays["spectrograms"][title] = transposed["spectrograms"][f"layer {level}"]
        arrays["rates"][title] = transposed["rates"][f"layer {level}"]
        arrays["numbers"][title] = transposed["numbers"][f"layer {level}"]
    for name in ("linear", "nearest"):
        stack = interpolate_stack(name, noise(seed))
        for level in range(1, DEPTH + 1):
            title = f"{name}: layer {level}"
            signal, rate = stack.signals[level], stack.rates[level]
            if name == "linear":
                arrays["spectrograms"][title] = spectrogram(signal)
                arrays["rates"][title] = rate
            found = filtering_of_signal(torch.from_numpy(signal)[None], rate // RATE)
            valleys = {f"{(k + 1) * RATE}": depth for k, depth in enumerate(found.valleys_db)}
            arrays["numbers"][title] = {
                "valleys_db": valleys,
                "high_band_db": found.high_band_db,
                "top_db": found.top_db,
            }
    return arrays


def draw(axes: Any, arrays: dict[str, Any]) -> None:
    """A row a layer; transposed convolutions left, linear interpolation right."""
    titles = list(arrays["spectrograms"])
    for column, group in enumerate((titles[:DEPTH], titles[DEPTH:])):
        for row, title in enumerate(group):
            rate = arrays["rates"][title]
            tones = [k * RATE for k in range(1, rate // RATE // 2 + 1)] if column == 0 else []
            draw_spectrogram(axes[row, column], arrays["spectrograms"][title], rate, tones, title)
