"""Cells and tables in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]


def table(head: list[str], body: Iterable[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def times(value: dict[str, float]) -> str:
    """Median and range."""
    return f"{value['median']:.1f} ({value['least']:.1f} to {value['largest']:.1f})"


def within_rounds(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """The median over the rounds of what one took against the other, and the quartiles."""
    pairs = zip(ours["rounds"], theirs["rounds"], strict=True)
    ratios = sorted(mine / other for mine, other in pairs)
    if len(ratios) == 1:
        return f"{ratios[0]:.3f}"
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"
