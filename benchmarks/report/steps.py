"""Whole training steps, whose networks differ in the upsampling layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .tables import Row, table, times, within_rounds

TWO_STEPS = "nn.Upsample + nn.Conv1d"


def in_short(rows: list[Row]) -> Iterable[list[str]]:
    """The figures that whole steps shall reach."""
    where = f"{rows[0]['channels']} channels, {rows[0]['dtype']}"
    step = {(r["upsampler"], r["variant"]): r["step_ms"] for r in rows}
    torchs = step["transposed", "nn.ConvTranspose1d"]
    for name, asked in (("nearest", "<= 1.00"), ("linear", "<= 1.10"), ("transposed", "")):
        value = within_rounds(step[name, "auto"], torchs)
        yield [f"step with {name} / with nn.ConvTranspose1d, {where}", asked, value]
    memory = {(r["upsampler"], r["variant"]): r["peak_mib"] for r in rows}
    for name in ("nearest", "linear"):
        if (name, TWO_STEPS) in memory:
            value = f"{memory[name, 'auto'] / memory[name, TWO_STEPS]:.2f}"
            yield [f"memory of that, {name} / {TWO_STEPS}, {where}", "< 1", value]
    package = step["transposed", "demucs.demucs.Demucs"]
    value = within_rounds(step["transposed", "auto, encoder of demucs"], package)
    yield [f"step with transposed / demucs package, {where}", "<= 1", value]


def tables(section: dict[str, Any]) -> list[str]:
    """Every candidate, against the network with torch's transposed convolutions."""
    rows = section["rows"]
    torchs = next(r for r in rows if r["variant"] == "nn.ConvTranspose1d")["step_ms"]
    head = ["", "step ms", "against nn.ConvTranspose1d", "peak MiB"]
    body = [
        [
            f"{row['upsampler']}: {row['variant']}",
            times(row["step_ms"]),
            within_rounds(row["step_ms"], torchs) if "demucs" not in row["variant"] else "",
            f"{row['peak_mib']:.0f}" if "peak_mib" in row else "not measured",
        ]
        for row in rows
    ]
    return [table(head, body)]
