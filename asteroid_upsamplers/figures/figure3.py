"""[1] Fig. 3: a transposed convolution with partial overlap, of ones.

Length 3 is no multiple of stride 2: a periodicity every 2 samples, and borders.
"""

from __future__ import annotations

from typing import Any

from .ones import draw_rows, respond

GRID, SIZE = (1, 1), (7, 3)


def compute(seed: int = 0) -> dict[str, Any]:
    """The response to ones, and its tones; nothing is drawn at random."""
    return respond({"length 3, stride 2": ([1.0] * 3, 2)}, time=4)


def draw(axes: Any, arrays: dict[str, Any]) -> None:
    """The output, sample by sample."""
    draw_rows([axes], arrays)
