"""Transposed convolutions of ones, sample by sample, as in [1] Figs. 2 to 5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.axes import Axes

from ..artifacts import edge_effects, tone_levels
from ..layers import Transposed

Rows = dict[str, tuple[list[float], int]]


@torch.no_grad()
def respond(rows: Rows, time: int) -> dict[str, Any]:
    """What each row makes of ones.

    Args:
        rows: By title: the taps, and the stride.
        time: How many ones.

    Returns:
        ``outputs`` and ``borders`` by title (arrays, and samples at the start and at the end), and
        ``numbers`` by title: tones, tonal fraction, borders.
    """
    arrays: dict[str, Any] = {"outputs": {}, "borders": {}, "numbers": {}}
    for title, (taps, stride) in rows.items():
        layer = Transposed(1, 1, stride, len(taps), bias=False, trim=False).double()
        layer.weight.copy_(torch.tensor(taps, dtype=torch.float64)[None, None])
        tones, borders = tone_levels(layer), edge_effects(layer)
        ones = torch.ones(1, 1, time, dtype=torch.float64)
        arrays["outputs"][title] = layer(ones)[0, 0].numpy()
        arrays["borders"][title] = (borders.start, borders.end)
        arrays["numbers"][title] = {
            "levels_db": tones.levels_db,
            "tonal_fraction": tones.tonal_fraction,
            "border_samples": [borders.start, borders.end],
            "border_db": [borders.start_db, borders.end_db],
        }
    return arrays


def draw_rows(axes: Sequence[Axes], arrays: dict[str, Any]) -> None:
    """One output an axes, its borders shaded."""
    for place, (title, output) in zip(axes, arrays["outputs"].items(), strict=True):
        place.step(range(len(output) + 1), [*output, output[-1]], where="post")
        place.plot([k + 0.5 for k in range(len(output))], output, "o", markersize=3)
        start, end = arrays["borders"][title]
        for left, right in ((0, start), (len(output) - end, len(output))):
            if right > left:
                place.axvspan(left, right, color="tab:red", alpha=0.12, lw=0)
        place.set_title(title, fontsize="medium")
        place.set_xlabel("output sample")
        place.grid(lw=0.3)
