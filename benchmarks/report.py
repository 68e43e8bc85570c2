"""The figures of ``results/`` as Markdown; nothing here is typed by hand."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]
FORMS = ("plain", "folded", "commuted")
TWO_STEPS = "nn.Upsample + nn.Conv1d"

INTRODUCTION = """
Written by `python benchmarks/run.py` (`make benchmarks`). Times are medians of a few rounds in
which all candidates took turns in one process, each timed at its second call; in brackets the least
and the largest. Ratios of layers compare medians of one run; those of whole steps are medians over
the rounds of the ratio within a round, with the quartiles in brackets. *Difference* is the largest
deviation from the layer that torch users write, as a share of its largest output
(`alias_free_torch` interpolates with another kernel). *Share* is the rate of a transposed
convolution's multiply-adds (8 a sample and channel pair, three times for forward and backward)
against the machine's own rate in a large matrix product, measured in the same run; the convolutions
of the interpolations have 9. Memory is what torch's allocator held at most in forward and backward,
beyond the input. Numbers near zero are flushed to zero on the CPU, for all candidates.
""".strip()


def render(results: list[dict[str, Any]]) -> str:
    """The whole report, a chapter for every device."""
    parts = [
        "# What upsampling costs",
        INTRODUCTION,
    ]
    for result in results:
        parts += chapter(result)
    return "\n\n".join(parts) + "\n"


def chapter(result: dict[str, Any]) -> list[str]:
    """One device."""
    sections = result["sections"]
    device = next(iter(sections.values()))["machine"]["device"]
    layer_rows = [s["rows"] for s in sections.values() if s["kind"] == "layers"]
    step_rows = [s["rows"] for s in sections.values() if s["kind"] == "steps"]
    parts = [f"## {device}", "### In short"]
    parts.append(table(["what", "asked", "measured"], [*ratios(layer_rows, step_rows)]))
    parts += ["### The rule", rule([row for rows in layer_rows for row in rows])]
    for name, section in sections.items():
        show = layer_tables if section["kind"] == "layers" else step_table
        machine = section["machine"]
        made = (
            f"{machine['date']}, commit {machine['commit']}, torch {machine['torch']}, "
            f"Python {machine['python']}. Matrix product: {section['gigamacs_per_s']} thousand "
            "million multiply-adds a second."
        )
        parts += [f"### {name[0].upper()}{name[1:]}", made, *show(section)]
    return parts


def ratios(layer_rows: list[list[Row]], step_rows: list[list[Row]]) -> Iterable[list[str]]:
    """The figures that the layers were built to reach."""
    for rows in layer_rows:
        if rows[0]["batch"] < 4:
            continue
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
    for rows in step_rows:
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


def within_rounds(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """The median over the rounds of what one took against the other, and the quartiles."""
    pairs = zip(ours["rounds"], theirs["rounds"], strict=True)
    ratios = sorted(mine / other for mine, other in pairs)
    if len(ratios) == 1:
        return f"{ratios[0]:.3f}"
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


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


def layer_tables(section: dict[str, Any]) -> list[str]:
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


def step_table(section: dict[str, Any]) -> list[str]:
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


def named(row: Row) -> str:
    """The layer, and what it is or which form it took."""
    took = f" ({row['form']})" if row["variant"] == "auto" and "form" in row else ""
    return f"{row['layer']}: {row['variant']}{took}"


def times(value: dict[str, float]) -> str:
    """Median and range."""
    return f"{value['median']:.1f} ({value['least']:.1f} to {value['largest']:.1f})"


def table(head: list[str], body: Iterable[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
