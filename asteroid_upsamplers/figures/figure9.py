"""[1] Fig. 9: modified Demucs: no ReLU in the first layer, no biases.

Fed with white noise as in Fig. 1. The tones that are left are far below the original's; how far,
depends on the width of the network.
"""

from __future__ import annotations

from typing import Any

from .figure1 import CHANNELS, draw, panels_of
from .networks import demucs_output

GRID, SIZE = (1, 2), (11, 3.6)


def compute(seed: int = 0) -> dict[str, Any]:
    """Spectrograms and numbers of the two panels, and how far the tones fell."""
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
    return arrays


__all__ = ["GRID", "SIZE", "compute", "draw"]
