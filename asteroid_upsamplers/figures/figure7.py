"""[1] Fig. 7: subpixel convolutions make tones after initialization.

Three layers by two with filters of length 3, fed with ones at 4 kHz: tones at 4, 8 and 16 kHz, and
their replicas at 8, 12 and 16 kHz.
"""

from __future__ import annotations

from typing import Any

from ..artifacts import stack_tones
from .spectrograms import draw_spectrogram, line_levels, spectrogram
from .stacks import RATE, Stack, ones, run_stack

GRID, SIZE = (2, 2), (11, 7)


def compute(seed: int = 0) -> dict[str, Any]:
    """Spectrograms of the input and of every layer, and the levels of the lines."""
    return steady_lines(run_stack("subpixel", ones(), seed))


def steady_lines(stack: Stack) -> dict[str, Any]:
    """Spectrograms, and the levels of the multiples of 4 kHz: measured, and from the weights."""
    arrays: dict[str, Any] = {"spectrograms": {}, "rates": {}, "numbers": {}}
    predictions = stack_tones(stack.layers, RATE)
    for level, (signal, rate) in enumerate(zip(stack.signals, stack.rates, strict=True)):
        title = f"layer {level}" if level else "input: ones at 4 kHz"
        arrays["spectrograms"][title] = spectrogram(signal)
        arrays["rates"][title] = rate
        if level:
            predicted = predictions[level - 1]
            keys = [f"{frequency:g}" for frequency in predicted.frequencies_hz]
            arrays["numbers"][title] = {
                "measured_db": line_levels(signal, rate, RATE),
                "predicted_db": dict(zip(keys, predicted.levels_db, strict=True)),
                "own": dict(zip(keys, predicted.own, strict=True)),
            }
    return arrays


def draw(axes: Any, arrays: dict[str, Any]) -> None:
    """One spectrogram an axes, with the lines marked."""
    for place, (title, levels) in zip(axes.flat, arrays["spectrograms"].items(), strict=True):
        rate = arrays["rates"][title]
        tones = [k * RATE for k in range(1, rate // RATE // 2 + 1)]
        draw_spectrogram(place, levels, rate, tones, title)
