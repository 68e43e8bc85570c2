"""Training steps as the engine makes them: its options, every upsampler, the ``demucs`` package."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .tables import Row, table, times, within_rounds

PACKAGE = "demucs package"


def in_short(rows: list[Row]) -> Iterable[list[str]]:
    """The share of the machine's rate, and what took turns compared, each in its fastest way."""
    first = rows[0]
    where = f"{first['channels']} channels, batch {first['batch']}, {first['seconds']} s"
    for name, asked in (("nearest", "<= 1.05 on a GPU"), ("linear", "<= 1.05 on a GPU")):
        group = next((row["group"] for row in rows if row["upsampler"] == name), None)
        ours, transposed = (fastest(rows, group, upsampler=n) for n in (name, "transposed"))
        if ours is not None and transposed is not None:
            what = f"training step with {name} ({ours['variant']}) / with transposed "
            what += f"({transposed['variant']}), {where}"
            yield [what, asked, within_rounds(ours["step_ms"], transposed["step_ms"])]
    ours, theirs = (fastest(rows, PACKAGE, package=package) for package in (False, True))
    if ours is None or theirs is None:
        return
    what = f"share of the matrix rate, transposed ({ours['variant']}), {where}"
    yield [what, ">= 40 % on a GPU", f"{100 * share(ours):.0f} %"]
    what = f"throughput of ours ({ours['variant']}) / demucs package ({theirs['variant']}), {where}"
    asked = ">= 2 on a GPU, >= 1 on a CPU"
    yield [what, asked, within_rounds(theirs["step_ms"], ours["step_ms"])]


def fastest(rows: list[Row], group: str | None, **wanted: Any) -> Row | None:
    """Of those that took turns and have all that is wanted."""
    some = [
        row
        for row in rows
        if row["group"] == group and not row["out_of_memory"] and wanted.items() <= row.items()
    ]
    return min(some, key=lambda row: row["step_ms"]["median"], default=None)


def tables(section: dict[str, Any]) -> list[str]:
    """A table for every comparison."""
    rows = section["rows"]
    head = ["", "step ms", "against the first", "10^9 multiply-adds", "share", "audio s/s"]
    head += ["peak MiB", "MiB an extract", "weights and state MiB"]
    parts = []
    for group in dict.fromkeys(row["group"] for row in rows):
        mine = [row for row in rows if row["group"] == group]
        parts += [f"**{group}**", table(head, [cells(row, mine[0]) for row in mine])]
    return parts


def cells(row: Row, first: Row) -> list[str]:
    """One candidate, against the first of its comparison."""
    who = "demucs.demucs.Demucs" if row["package"] else row["upsampler"]
    name, macs = f"{who}: {row['variant']}", f"{row['step_gigamacs']:.0f}"
    if row["out_of_memory"]:
        return [name, "out of memory", "", macs, "", "", "", "", ""]
    median = row["step_ms"]["median"]
    compared = "" if first["out_of_memory"] else within_rounds(row["step_ms"], first["step_ms"])
    return [
        name,
        times(row["step_ms"]),
        compared,
        macs,
        f"{100 * share(row):.0f} %",
        f"{row['batch'] * row['seconds'] / median * 1e3:.2f}",
        f"{row['peak_mib']:.0f}",
        memory_of_an_extract(row),
        f"{row['state_mib']:.0f}",
    ]


def memory_of_an_extract(row: Row) -> str:
    """Where a second size of the batch was measured."""
    if "other_peak_mib" in row:
        return f"{per_extract(row):.0f}"
    return "out of memory" if "other_batch" in row else ""


def share(row: Row) -> float:
    """Of the machine's rate in large matrix products."""
    return row["step_gigamacs"] / row["step_ms"]["median"] * 1e3 / row["gigamacs_per_s"]


def per_extract(row: Row) -> float:
    """MiB by which a step's memory grows with each extract of the batch."""
    return (row["peak_mib"] - row["other_peak_mib"]) / (row["batch"] - row["other_batch"])
