"""Extracts that the loader delivers, against those that training takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .tables import Row, table


def in_short(rows: list[Row]) -> Iterable[list[str]]:
    """The loader that the engine chooses, against training; augmentation against a step."""
    for load in rows:
        if load["kind"] == "load" and load["chosen"] and load.get("packed", True):
            for step in of_kind(rows, "step"):
                what = f"extracts loaded ({named(load)}) / taken by a step, {step_named(step)}"
                ratio = load["extracts_per_s"] / step["extracts_per_s"]
                yield [what, ">= 5", f"{ratio:.1f}"]
    step = next(row for row in of_kind(rows, "step") if not row["computed"])
    augment = of_kind(rows, "augment")[0]["augment_ms"]["median"]
    what = f"augmentation of a batch, of a step, {step_named(step)}"
    yield [what, "", f"{100 * augment / step['step_ms']['median']:.2f} %"]


def of_kind(rows: list[Row], kind: str) -> list[Row]:
    """In their order."""
    return [row for row in rows if row["kind"] == kind]


def named(load: Row) -> str:
    """How it was read."""
    form = "packed" if load.get("packed") else "wav files"
    chosen = ", as chosen" if load["chosen"] else ""
    return f"{form}, {load['workers']} workers{chosen}, {load['cache']} page cache"


def step_named(step: Row) -> str:
    """Which step, and whether it ran."""
    size = f"{step['channels']} channels"
    return f"{size}, computed at the whole matrix rate" if step["computed"] else size


def tables(section: dict[str, Any]) -> list[str]:
    """Packing, every way of reading, and what training takes."""
    rows = section["rows"]
    pack, loads, steps = (of_kind(rows, kind) for kind in ("pack", "load", "step"))
    first = loads[0]
    words = f"{first['songs']} songs of {first['song_seconds']:g} s"
    if pack:  # before version 0.2 songs were copied to another format first
        words += (
            f", {pack[0]['megabytes']:.0f} MB of wav files: packed at "
            f"{pack[0]['pack_mb_per_s']:.0f} MB/s, verified at "
            f"{pack[0]['verify_mb_per_s']:.0f} MB/s"
        )
    words += f". Extracts are of {first['extract_seconds']:g} s, in batches of {first['batch']}."
    body = [[named(row), f"{row['extracts_per_s']:.1f}"] for row in loads]
    body += [[f"taken by a step, {step_named(s)}", f"{s['extracts_per_s']:.3f}"] for s in steps]
    return [words, table(["", "extracts/s"], body)]
