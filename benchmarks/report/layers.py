"""Single layers: what they cost beside torch's, and how near the rule comes to the fastest form."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from .tables import Row, table, times

FORMS = ("plain", "folded", "commuted")


def in_short(rows: list[Row]) -> Iterable[list[str]]:
    """The figures that the layers were built to reach."""
    if rows[0]["batch"] < 4:
        return
    where = f"{rows[0]['channels']} channels, {rows[0]['dtype']}"
    for name in ("nearest", "linear"):
        pairs = by_level(rows, name)
        total = sum(b["step_ms"]["median"] for b, _ in pairs)
        ours = sum(o["step_ms"]["median"] for _, o in pairs)
        least = min(b["step_ms"]["median"] / o["step_ms"]["median"] for b, o in pairs)
        yield [
            f"{name} against Upsample + Conv1d, six shapes, {where}",
            ">= 3",
            f"{total / ours:.2f}",
        ]
        yield [f"- at the least favourable shape, {where}", ">= 1", f"{least:.2f}"]
        if all("peak_mib" in row for pair in pairs for row in pair):
            memory = sum(o["peak_mib"] for _, o in pairs) / sum(b["peak_mib"] for b, _ in pairs)
            most = max(o["peak_mib"] / b["peak_mib"] for b, o in pairs)
            yield [f"- memory, six shapes, {where}", "< 1", f"{memory:.2f}"]
            yield [f"- memory, at the least favourable shape, {where}", "< 1", f"{most:.2f}"]
    faster = [
        b["step_ms"]["median"] / o["step_ms"]["median"] for b, o in by_level(rows, "transposed")
    ]
    yield [
        f"transposed against nn.ConvTranspose1d, slowest of six, {where}",
        ">= 1",
        f"{min(faster):.2f}",
    ]
    yield [f"- at the last shape, {where}", ">= 2 on a CPU", f"{faster[-1]:.2f}"]


def by_level(rows: list[Row], name: str) -> list[tuple[Row, Row]]:
    """What torch users write, and ours, for every shape."""
    mine = [row for row in rows if row["layer"] == name]
    baselines = [row for row in mine if row["variant"] not in ("auto", *FORMS)]
    ours = [row for row in mine if row["variant"] == "auto"]
    return list(zip(baselines, ours, strict=True))


def rule(rows: list[Row]) -> str:
    """How near the rule comes to the fastest form, where all forms were measured."""
    lost = []
    shapes: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        key = tuple(row[k] for k in ("layer", "channels", "level", "batch", "time", "dtype"))
        shapes.setdefault(key, {})[row["variant"]] = row
    for variants in shapes.values():
        if all(form in variants for form in FORMS):
            times = {form: variants[form]["step_ms"]["median"] for form in FORMS}
            lost.append(times[variants["auto"]["form"]] / min(times.values()))
    right = sum(ratio == 1 for ratio in lost)
    return (
        f"Over {len(lost)} shapes and layers that were measured in every form, the rule of "
        f"`asteroid_upsamplers/layers/polyphase.py` took the fastest in {right}; what it took was "
        f"{statistics.median(lost):.2f} times as slow as the fastest in the median, "
        f"{statistics.mean(lost):.2f} on average, and {max(lost):.2f} at worst."
    )


def tables(section: dict[str, Any]) -> list[str]:
    """Every candidate at every shape."""
    head = ["", "forward ms", "forward + backward ms", "share", "peak MiB", "difference"]
    parts = []
    for level in sorted({row["level"] for row in section["rows"]}, reverse=True):
        rows = [row for row in section["rows"] if row["level"] == level]
        first = rows[0]
        macs = (
            first["batch"] * first["time"] * first["in_channels"] * first["out_channels"] * 24 / 1e9
        )
        channels = f"{first['in_channels']} to {first['out_channels']} channels"
        title = f"**{channels}, {first['time']} samples**"

        def share(row: Row, macs: float = macs) -> str:
            return (
                f"{100 * macs / section['gigamacs_per_s'] / row['step_ms']['median'] * 1e3:.0f} %"
            )

        body = [
            [
                named(row),
                times(row["forward_ms"]),
                times(row["step_ms"]),
                share(row),
                f"{row['peak_mib']:.0f}" if "peak_mib" in row else "not measured",
                f"{row['difference']:.1e}" if "difference" in row else "",
            ]
            for row in rows
        ]
        parts += [title, table(head, body)]
    return parts


def named(row: Row) -> str:
    """The layer, and what it is or which form it took."""
    took = f" ({row['form']})" if row["variant"] == "auto" and "form" in row else ""
    return f"{row['layer']}: {row['variant']}{took}"
