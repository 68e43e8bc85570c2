"""[1] Fig. 9: modified Demucs: no ReLU in the first layer, no biases.

Fed with white noise as in Fig. 1. The tones that are left are far below the original's; how far,
depends on the width of the network.
"""

from __future__ import annotations

from typing import Any

from .figure1 import CHANNELS, draw, panels_of
from .networks import demucs_output, noise_numbers

GRID, SIZE = (1, 2), (11, 3.6)
WIDTHS = (8, 16, 32, 64)
QUARTER = "11025"
"""The tone of the last layer at a quarter of the sample rate, as the numbers call it."""


def compute(seed: int = 0) -> dict[str, Any]:
    """Spectrograms and numbers of the two panels, and how far the tones fell.

    ``numbers["drop_by_channels_db"]`` is the fall of the transposed network's tone at a quarter of
    the sample rate, for networks of other widths.
    """
    modified, drops = {}, {}
    for title, upsampler in (
        ("(a) Demucs (original) modification", "transposed"),
        ("(d) Demucs (subpixel CNN) modification", "subpixel"),
    ):
        modified[title] = (
            *demucs_output(seed, CHANNELS, upsampler=upsampler, modified=True),
            4,
        )
        original = {title: (*demucs_output(seed, CHANNELS, upsampler=upsampler), 4)}
        drops[title] = panels_of(original)["numbers"][title]["prominence_db"]
    arrays = panels_of(modified)
    for title, before in drops.items():
        now = arrays["numbers"][title]["prominence_db"]
        arrays["numbers"][title]["drop_db"] = {f: before[f] - now[f] for f in now}
    arrays["numbers"]["drop_by_channels_db"] = {str(width): _drop(seed, width) for width in WIDTHS}
    return arrays


def _drop(seed: int, channels: int) -> float:
    before, after = (
        noise_numbers(*demucs_output(seed, channels, modified=modified), 4)["prominence_db"][
            QUARTER
        ]
        for modified in (False, True)
    )
    return before - after


__all__ = ["GRID", "SIZE", "compute", "draw"]
