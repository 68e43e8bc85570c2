"""[1] Fig. 10: the spectrograms of Fig. 8 with and without centred frames.

With ``center=True`` the signal is padded, and the first and last frames show borders that the
padding made. With ``center=False`` there are none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .spectrograms import HOP, draw_spectrogram, spectrogram
from .stacks import DEPTH, ones, run_stack

GRID, SIZE = (3, 2), (11, 9)


def compute(seed: int = 0) -> dict[str, Any]:
    """Spectrograms of every layer both ways, and the energy between the lines at the borders."""
    stack = run_stack("transposed", ones(), seed, kernel_size=4)
    arrays: dict[str, Any] = {"spectrograms": {}, "rates": {}, "numbers": {}}
    for center in (False, True):
        for level in range(1, DEPTH + 1):
            title = f"layer {level}, center={center}"
            signal = stack.signals[level]
            settled = signal[64:-64]  # the layers' own borders are no matter of the spectrogram
            levels = spectrogram(signal, center)
            arrays["spectrograms"][title] = levels
            arrays["rates"][title] = stack.rates[level]
            arrays["numbers"][title] = {
                "frames": levels.shape[1],
                "seconds_after_the_last_frame": (len(signal) - levels.shape[1] * HOP)
                / stack.rates[level],
                "first_frame_off_lines_db": _off_lines(spectrogram(settled, center)),
            }
    return arrays


def _off_lines(levels: np.ndarray, spacing: int = 8) -> float:
    """Mean level of the first frame, more than some bins away from every line."""
    lines = levels[:, levels.shape[1] // 2] > -90
    near = np.convolve(lines, np.ones(2 * spacing + 1), mode="same") > 0
    power = 10 ** (levels[~near, 0] / 10)
    return float(10 * np.log10(power.mean()))


def draw(axes: Any, arrays: dict[str, Any]) -> None:
    """A row a layer; frames as they are left, centred frames right."""
    for place, (title, levels) in zip(axes.T.flat, arrays["spectrograms"].items(), strict=True):
        center = title.endswith("True")
        draw_spectrogram(place, levels, arrays["rates"][title], (), title, center)
