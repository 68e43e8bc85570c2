"""Whole songs, from file to files: the pace beside the package's, and the memory of long ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .tables import Row, table, times, within_rounds

SHIFTED = {0: "no shifts", 1: "1 shift"}


def in_short(rows: list[Row]) -> Iterable[list[str]]:
    """The pace against the package's, each at its fastest, and the memory of the longest file."""
    for shifts, words in SHIFTED.items():
        ours, theirs = (fastest(rows, package, shifts) for package in (False, True))
        what = (
            f"separating {ours['seconds']:g} s, {ours['channels']} channels, {words}: "
            f"ours (batch {ours['batch']}) / demucs.apply"
        )
        yield [what, "<= 1", within_rounds(ours["separation_ms"], theirs["separation_ms"])]
    short, long = of_kind(rows, "memory")
    what = f"host memory at most, GB, {duration(long)} of stereo separated"
    yield [what, "< 4", f"{long['peak_gb']:.2f}"]
    yield [f"- of a tenth of that, {duration(short)}", "", f"{short['peak_gb']:.2f}"]


def of_kind(rows: list[Row], kind: str) -> list[Row]:
    """In their order."""
    return [row for row in rows if row["kind"] == kind]


def fastest(rows: list[Row], package: bool, shifts: int) -> Row:
    """Of the package's, or of ours."""
    some = [r for r in of_kind(rows, "pace") if (r["package"], r["shifts"]) == (package, shifts)]
    return min(some, key=lambda row: row["separation_ms"]["median"])


def duration(row: Row) -> str:
    """In the unit that suits it."""
    hours = row["seconds"] / 3600
    return f"{hours:g} h" if hours >= 1 else f"{row['seconds']:g} s"


def tables(section: dict[str, Any]) -> list[str]:
    """Every candidate, and every long file."""
    rows = section["rows"]
    paces = of_kind(rows, "pace")
    first = paces[0]
    words = (
        f"{first['seconds']:g} s of stereo at 44.1 kHz, from a file to four, in chunks of "
        f"{first['chunk']:g} s with an overlap of {first['overlap']:g}, {first['threads']} threads "
        "on the CPU. The difference is the largest from the package's estimates, as a share of "
        "their largest deviation from the mean over time."
    )
    head = ["", "ms", "real-time factor", "s of audio a second", "difference"]
    body = [
        [
            row["candidate"],
            times(row["separation_ms"]),
            f"{row['real_time_factor']:.4f}",
            f"{1 / row['real_time_factor']:.1f}",
            f"{row['difference']:.1e}" if "difference" in row else "",
        ]
        for row in paces
    ]
    long_head = ["", "GB at most", "GB written", "real-time factor", "s of audio a second"]
    long_body = [
        [
            f"{duration(row)}, {row['channels']} channels",
            f"{row['peak_gb']:.2f}",
            f"{row['written_gb']:.2f}",
            f"{row['real_time_factor']:.4f}",
            f"{1 / row['real_time_factor']:.1f}",
        ]
        for row in of_kind(rows, "memory")
    ]
    return [words, table(head, body), "Memory of the whole process:", table(long_head, long_body)]
