"""Transposed convolutions of ones, sample by sample ([1] Figs. 2 to 5).

The figures print no weights, except for Fig. 2, and no kernel sizes for Fig. 5: there, one is no
multiple of the stride (partial overlap) and one is (full overlap).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..artifacts import edge_effects, tone_levels
from ..layers import Transposed

PARTIAL, FULL, STRIDE = 6, 8, 4


def no_overlap(seed: int = 0) -> dict[str, Any]:
    """Fig. 2: without overlap the weights repeat, here every 3 samples. Nothing is random."""
    return _respond({"length 3, stride 3": ([0.2, 0.3, -0.01], 3)}, time=2)


def partial_overlap(seed: int = 0) -> dict[str, Any]:
    """Fig. 3: length 3 is no multiple of stride 2, so the overlap is uneven. Nothing is random."""
    return _respond({"length 3, stride 2": ([1.0] * 3, 2)}, time=4)


def full_overlap(seed: int = 0) -> dict[str, Any]:
    """Fig. 4: with stride 1 only edge effects are left. Nothing is random."""
    return _respond({"length 3, stride 1": ([1.0] * 3, 1)}, time=6)


def overlaps(seed: int = 0) -> dict[str, Any]:
    """Fig. 5: weights of ones make tones with partial overlap only, random weights with both."""
    generator = torch.Generator().manual_seed(seed)
    rows = {}
    for overlap, length in (("partial", PARTIAL), ("full", FULL)):
        rows[f"{overlap} overlap, ones"] = ([1.0] * length, STRIDE)
        weights = (2 * torch.rand(length, generator=generator) - 1).tolist()
        rows[f"{overlap} overlap, random"] = (weights, STRIDE)
    return _respond(rows, time=12)


@torch.no_grad()
def _respond(rows: dict[str, tuple[list[float], int]], time: int) -> dict[str, Any]:
    """The untrimmed output for ``time`` ones, for each row of weights and stride.

    Returns:
        By title: ``outputs`` (arrays), ``edges`` (samples at the start and end that differ from
        the steady output) and ``numbers``.
    """
    arrays: dict[str, Any] = {"outputs": {}, "edges": {}, "numbers": {}}
    for title, (weights, stride) in rows.items():
        layer = Transposed(
            1, 1, stride=stride, kernel_size=len(weights), bias=False, trim=False
        ).double()
        layer.weight.copy_(torch.tensor(weights, dtype=torch.float64)[None, None])
        tones, edges = tone_levels(layer), edge_effects(layer)
        ones = torch.ones(1, 1, time, dtype=torch.float64)
        arrays["outputs"][title] = layer(ones)[0, 0].numpy()
        arrays["edges"][title] = (edges.start, edges.end)
        arrays["numbers"][title] = {
            "levels_db": tones.levels_db,
            "tonal_fraction": tones.tonal_fraction,
            "edge_samples": [edges.start, edges.end],
            "edge_db": [edges.start_db, edges.end_db],
        }
    return arrays


def draw_outputs(axes: np.ndarray, arrays: dict[str, Any]) -> None:
    """Draw one output per axes, edge effects shaded."""
    for place, (title, output) in zip(axes.flat, arrays["outputs"].items(), strict=True):
        place.stairs(output, np.arange(len(output) + 1) - 0.5, baseline=None)
        place.plot(output, "o", markersize=3, color="tab:blue")
        start, end = arrays["edges"][title]
        for left, right in ((0, start), (len(output) - end, len(output))):
            if right > left:
                place.axvspan(left - 0.5, right - 0.5, color="tab:red", alpha=0.12, lw=0)
        place.set_title(title, fontsize="medium")
        place.set_ylabel("output")
        place.grid(lw=0.3)
    axes.flat[-1].set_xlabel("output sample")
