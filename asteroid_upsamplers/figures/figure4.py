"""[1] Fig. 4: a transposed convolution with full overlap, of ones.

Length 3 and stride 1: no periodicity, borders, and no upsampling to speak of.
"""

from __future__ import annotations

from typing import Any

from .ones import draw_rows, respond

GRID, SIZE = (1, 1), (7, 3)


def compute(seed: int = 0) -> dict[str, Any]:
    """The response to ones, and its tones; nothing is drawn at random."""
    return respond({"length 3, stride 1": ([1.0] * 3, 1)}, time=6)


def draw(axes: Any, arrays: dict[str, Any]) -> None:
    """The output, sample by sample."""
    draw_rows([axes], arrays)
