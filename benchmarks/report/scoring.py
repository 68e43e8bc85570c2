"""museval over songs: all cores against one."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from .tables import Row, table

ASKED = 1.2
"""What the parallel run may take, as a multiple of an even share of the work."""


def in_short(rows: list[Row]) -> Iterable[list[str]]:
    """The parallel run against an even share of the work."""
    for row in rows:
        what = f"scoring {size(row)}: in parallel / (one after the other / {row['cores']} cores)"
        yield [what, f"<= {ASKED:.2f}", f"{share(row):.2f}"]


def size(row: Row) -> str:
    """How many songs, and how long they are."""
    return f"{row['songs']} songs of {row['seconds'][0]:g} to {row['seconds'][-1]:g} s"


def share(row: Row) -> float:
    """The parallel time as a multiple of an even share of the other; 1 is ideal."""
    return statistics.median(row["parallel_s"]) * row["cores"] / statistics.median(row["serial_s"])


def tables(section: dict[str, Any]) -> list[str]:
    """Both totals, and what the start of the workers has of one."""
    head = ["", "cores", "one after the other, s", "in parallel, s", "start of the workers, s"]
    head += ["against an even share", "s of audio a second"]
    body = [
        [
            size(row),
            str(row["cores"]),
            f"{statistics.median(row['serial_s']):.1f}",
            f"{statistics.median(row['parallel_s']):.1f}",
            f"{row['start_s']:.1f}",
            f"{share(row):.2f}",
            f"{sum(row['seconds']) / statistics.median(row['parallel_s']):.1f}",
        ]
        for row in section["rows"]
    ]
    return [table(head, body)]
