"""[1] Fig. 5: transposed convolutions of ones, with partial and full overlap.

With filters of ones partial overlap rings (row 1) and full overlap does not (row 3); random filters
ring in both (rows 2 and 4). Borders are there in all rows.
"""

from __future__ import annotations

from typing import Any

import torch

from .ones import draw_rows, respond

GRID, SIZE = (4, 1), (7, 9)
PARTIAL, FULL, STRIDE = 6, 8, 4
"""The figure prints no lengths: one that is no multiple of the stride, and one that is."""


def compute(seed: int = 0) -> dict[str, Any]:
    """The four responses, and their tones."""
    generator = torch.Generator().manual_seed(seed)
    rows = {}
    for overlap, length in (("partial", PARTIAL), ("full", FULL)):
        rows[f"{overlap} overlap, ones"] = ([1.0] * length, STRIDE)
        drawn = (2 * torch.rand(length, generator=generator) - 1).tolist()
        rows[f"{overlap} overlap, random"] = (drawn, STRIDE)
    return respond(rows, time=12)


def draw(axes: Any, arrays: dict[str, Any]) -> None:
    """A row for each output."""
    draw_rows(axes, arrays)
