"""[1] Fig. 2: a transposed convolution without overlap repeats its weights.

Length and stride 3, no bias, with the figure's own weights: a periodicity every 3 samples.
"""

from __future__ import annotations

from typing import Any

from .ones import draw_rows, respond

GRID, SIZE = (1, 1), (7, 3)


def compute(seed: int = 0) -> dict[str, Any]:
    """The response to two ones, and its tones; nothing is drawn at random."""
    return respond({"length 3, stride 3": ([0.2, 0.3, -0.01], 3)}, time=2)


def draw(axes: Any, arrays: dict[str, Any]) -> None:
    """The output, sample by sample."""
    draw_rows([axes], arrays)
