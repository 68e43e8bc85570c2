"""The figures of ``results/`` as Markdown; nothing here is typed by hand.

python benchmarks/report.py                # renders REPORT.md again, without measuring
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]
FORMS = ("plain", "folded", "commuted")

INTRODUCTION = """
Written by `python benchmarks/run.py` (`make benchmarks`); every section names the commit that was
measured. Times are medians over rounds in which the candidates of a table took turns in one
process, in brackets the least and the largest. Ratios of steps are medians over the rounds of the
ratio within a round, in brackets the quartiles; no ratio is taken between runs. Upsamplers that
interpolate have three exact forms: *plain* (interpolate, then convolve), *folded* (one convolution
at the input rate, by the noble identities) and *commuted* (all products at the input rate, then the
interpolation filter); *auto* is the rule of `layers/polyphase.py`. GMAC are 10^9 multiply-adds,
counted by torch on the layers as they are written (plain); *share* is their rate against that of a
large matrix product in the same precision. Memory is the most that torch's allocator held during
forward and backward, beyond what it held before. *Difference* is the largest deviation from the
layer that torch users write, as a share of its largest output.
""".strip()


def read(folder: Path) -> list[dict[str, Any]]:
    """The files of all devices."""
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]


def render(results: list[dict[str, Any]]) -> str:
    """The whole report, a chapter for every device."""
    parts = ["# What it costs: layers, training, inference, reading, separating, scoring"]
    parts.append(INTRODUCTION)
    for sections in (result["sections"] for result in results):
        devices = dict.fromkeys(section["machine"]["device"] for section in sections.values())
        parts += [f"## {'; '.join(devices)}", "### In short", *in_short(sections)]
        for name, section in sections.items():
            words = "{date}, {device}, commit {commit}, torch {torch}, Python {python}."
            rate = f"Matrix product: {section['gigamacs_per_s']} GMAC/s."
            parts.append(f"### {name[0].upper()}{name[1:]}")
            parts.append(f"{words.format(**section['machine'])} {rate}")
            parts += details(section)
    return "\n\n".join(parts) + "\n"


def details(section: dict[str, Any]) -> list[str]:
    """All figures of a section."""
    return TABLES[section["kind"]](section["rows"])


def in_short(sections: dict[str, Any]) -> Iterator[str]:
    """Training steps by upsampler and the way they are made, and the rule for the form."""
    rows = {"training": [], "layers": []}
    for section in sections.values():
        rows.setdefault(section["kind"], []).extend(section["rows"])
    sizes: dict[str, dict[tuple[str, str], str]] = {}
    for row in rows["training"]:
        if "form" in row and row["group"] != "options" and not row["out_of_memory"]:
            size = f"{row['channels']} channels, batch {row['batch']} of {row['seconds']} s"
            cells = sizes.setdefault(f"{size}, {row['dtype']}", {})
            way = {"torch": "torch's own layers"}.get(row["form"], row["form"])
            if row["compile"]:
                way = "compiled, channels last" if row["channels_last"] else "compiled"
            cells.setdefault((who(row), way), f"{row['step_ms']['median']:.0f}")
    for size, cells in sizes.items():
        lines, ways = (list(dict.fromkeys(key[n] for key in cells)) for n in (0, 1))
        yield f"A training step of `DemucsLike` in ms, {size}:"
        yield table(["", *ways], [[a, *(cells.get((a, b), "") for b in ways)] for a in lines])
    for dtype in dict.fromkeys(row["dtype"] for row in rows["layers"]):
        yield rule([row for row in rows["layers"] if row["dtype"] == dtype], dtype)


def who(row: Row) -> str:
    """The network of a step."""
    if row.get("package") or "demucs.demucs" in row["variant"]:
        return "`demucs` package"
    return row["upsampler"] + ("" if row.get("encoder_context", 1) else ", encoder of `demucs`")


def rule(rows: list[Row], dtype: str) -> str:
    """How near the rule for the form comes to the fastest one that it may take."""
    shapes: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        key = tuple(row[k] for k in ("layer", "channels", "level", "batch", "time"))
        shapes.setdefault(key, {})[row["variant"]] = row
    lost, half = [], dtype != "float32"
    for (layer, *_), found in shapes.items():
        forms = FORMS if not half or layer == "transposed" else ("plain", "commuted")
        if found.keys() >= set(FORMS):
            least = min(found[form]["step_ms"]["median"] for form in forms)
            lost.append(found[found["auto"]["form"]]["step_ms"]["median"] / least)
    never = " (interpolations are not folded: rounded sums of taps make a tone)" if half else ""
    return (
        f"{dtype}: over {len(lost)} shapes and layers that were measured in every form, the rule "
        f"took the fastest{never} in {sum(ratio == 1 for ratio in lost)}; what it took was "
        f"{statistics.mean(lost):.2f} times as slow as the fastest on average, and {max(lost):.2f} "
        "at worst."
    )


def layers(rows: list[Row]) -> list[str]:
    """Every candidate at the six shapes, and its sums against torch's layer."""
    first = rows[0]
    words = (
        f"Forward and backward in ms, by input and output channels of the layer, for "
        f"{first['channels']} channels, {first['batch']} segments, {first['dtype']}; torch's time "
        "divided by ours for all shapes, for the least favourable one, and forward only; last, the "
        "time for all shapes against that of our transposed convolution:"
    )
    shapes = dict.fromkeys(f"{row['in_channels']} to {row['out_channels']}" for row in rows)
    head = ["", *shapes, "all", "torch's / ours", "at worst", "forward only", "MiB", "difference"]
    head.append("/ transposed")
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["layer"], row["variant"]), []).append(row)
    torchs = {layer: g for (layer, words), g in reversed(groups.items()) if " + " in words}
    torchs["transposed"] = groups["transposed", "nn.ConvTranspose1d"]
    transposed = sum(row["step_ms"]["median"] for row in groups["transposed", "auto"])
    body = []
    for (layer, variant), mine in groups.items():
        forms = ", ".join(dict.fromkeys(row["form"] for row in mine if "form" in row))
        name = f"{layer}: {variant}" + (f" ({forms})" if forms and variant == "auto" else "")
        steps, forward = ([r[key]["median"] for r in mine] for key in ("step_ms", "forward_ms"))
        cells = [name, *(f"{ms:.1f}" for ms in steps), f"{sum(steps):.1f}", "", "", ""]
        if layer in torchs:
            theirs = [row["step_ms"]["median"] for row in torchs[layer]]
            least = min(their / our for their, our in zip(theirs, steps, strict=True))
            alone = sum(row["forward_ms"]["median"] for row in torchs[layer]) / sum(forward)
            cells[-3:] = [f"{sum(theirs) / sum(steps):.2f}", f"{least:.2f}", f"{alone:.2f}"]
        found = [row["difference"] for row in mine if "difference" in row]
        memory = f"{max(row.get('peak_mib', 0) for row in mine):.0f}"
        cells += [memory, f"{max(found):.0e}" if found else ""]
        body.append([*cells, f"{sum(steps) / transposed:.2f}"])
    return [words, table(head, body)]


def training(rows: list[Row]) -> list[str]:
    """Every candidate against the first of its group (in older sections, torch's layer)."""
    head = ["group", "", "step ms", "against the first", "GMAC", "share", "segments/s", "peak MiB"]
    groups: dict[str, list[Row]] = {}
    for row in rows:
        old = "demucs package" if "demucs" in row["variant"] else "upsamplers"
        groups.setdefault(row.get("group", old), []).append(row)
    body = []
    for group, mine in groups.items():
        first = next(row for row in mine if row["upsampler"] == "transposed")
        for row in mine:
            name = [group, f"{who(row)}: {row['variant']}"]
            if row.get("out_of_memory"):
                body.append([*name, "out of memory", *[""] * 5])
                continue
            median = row["step_ms"]["median"]
            work = ["", ""]
            if "step_gigamacs" in row:
                share = row["step_gigamacs"] / median * 1e3 / row["gigamacs_per_s"]
                work = [f"{row['step_gigamacs']:.0f}", f"{100 * share:.0f} %"]
            against = "1" if row is first else ratio(row["step_ms"], first["step_ms"])
            more = [f"{1e3 * row['batch'] / median:.2f}", f"{row['peak_mib']:.0f}"]
            body.append([*name, times(row["step_ms"]), against, *work, *more])
    return [table(head, body)]


def inference(rows: list[Row]) -> list[str]:
    """Layers and networks, as trained and folded."""
    levels = dict.fromkeys(row["level"] for row in rows)
    words = (
        "Time of a forward pass after `layers.fold_for_inference`, as a share of the time before, "
        "by the level of Demucs' layer (the deepest first) and for a whole `DemucsLike`:"
    )
    groups: dict[str, list[Row]] = {}
    for row in rows:
        name = row["upsampler"] + (", tone_free" if row.get("tone_free") else "")
        groups.setdefault(name, []).append(row)
    body = []
    for name, mine in groups.items():
        shares = [ratio(row["folded_ms"], row["trained_ms"]) for row in mine]
        body.append([name, *shares, f"{max(row['difference'] for row in mine):.0e}"])
    return [words, table(["", *map(str, levels), "difference"], body)]


def loader(rows: list[Row]) -> list[str]:
    """Segments that are read, and that training takes."""
    *loads, step = rows
    first = loads[0]
    words = (
        f"{first['songs']} songs of {first['song_seconds']:g} s, segments of "
        f"{first['segment_seconds']:g} s and a tenth for the shift, in batches of "
        f"{first['batch']}. Augmenting a batch takes {ratio(step['augment_ms'], step['step_ms'])} "
        "of a step's time."
    )
    taken, body = step["segments_per_s"], []
    for row in loads:
        name = f"read, {row['workers']} workers{' (as chosen)' * row['chosen']}, {row['cache']}"
        rate = row["segments_per_s"]
        body.append([f"{name} page cache", f"{rate:.1f}", f"{rate / taken:.1f}"])
    name = f"taken by a training step, {step['channels']} channels, {step['variant']}"
    body.append([name, f"{taken:.2f}", "1"])
    return [words, table(["", "segments/s", "against training"], body)]


def separation(rows: list[Row]) -> list[str]:
    """Every candidate, and every long file."""
    songs = [row for row in rows if "separation_ms" in row]
    words = (
        "{seconds:g} s of stereo at 44.1 kHz, {channels} channels, from a file to four, chunks of "
        "{chunk:g} s with an overlap of {overlap:g}, {threads} CPU threads. Difference: from the "
        "package's estimates, as a share of their largest deviation from the mean over time."
    )
    body = []
    for row in songs:
        theirs = next(r for r in songs if r["package"] and r["shifts"] == row["shifts"])
        against = ratio(row["separation_ms"], theirs["separation_ms"])
        difference = f"{row['difference']:.0e}" if "difference" in row else ""
        cells = [row["candidate"], times(row["separation_ms"])]
        body.append([*cells, f"{row['real_time_factor']:.4f}", against, difference])
    memory = (
        "{seconds:g} s, {channels} channels|{peak_gb:.2f}|{written_gb:.2f}|{real_time_factor:.4f}"
    )
    long = [memory.format(**row).split("|") for row in rows if "peak_gb" in row]
    return [
        words.format(**songs[0]),
        table(["", "ms", "real-time factor", "against demucs.apply", "difference"], body),
        "Memory of the whole process:",
        table(["", "GB at most", "GB written", "real-time factor"], long),
    ]


def scoring(rows: list[Row]) -> list[str]:
    """Every scorer of every length, and against museval on as many cores."""
    words = (
        "Each row is a process of its own; *ours* is `evaluation.bss_eval`. MiB: the most memory "
        "that scoring took, beyond what the process held with the song loaded. Difference: the "
        "largest from museval in any window, in dB, of SDR, and of the others."
    )
    head = ["song", "scorer", "cores", "s", "CPU s", "museval / this", "same in CPU s", "MiB"]
    head += ["song MiB", "difference: SDR", "others"]
    body, musevals = [], {}
    for row in rows:
        if row["scorer"] == "museval":
            musevals[row["seconds"], row["threads"]] = row
    for row in rows:
        theirs = musevals.get((row["seconds"], row["threads"]), row)
        gaps = row["difference_db"]
        others = [gap for metric, gap in gaps.items() if metric != "SDR"]
        cells = [f"{row['seconds']:g} s", row["scorer"], str(row["threads"])]
        cells += [f"{row['wall_s']:.2f}", f"{row['cpu_s']:.2f}"]
        cells += [f"{theirs[key] / max(row[key], 0.01):.1f}" for key in ("wall_s", "cpu_s")]
        cells += [str(row["peak_mib"]), str(row["song_mib"])]
        cells += [f"{gaps['SDR']:.0e}" if gaps else ""]
        body.append([*cells, f"{max(others):.0e}" if others else ""])
    return [words, table(head, body)]


TABLES = {"layers": layers, "training": training, "inference": inference, "loader": loader}
TABLES |= {"separation": separation, "scoring": scoring}
TABLES["steps"] = training  # sections that were measured before version 0.2


def table(head: list[str], body: Iterable[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def times(value: Row) -> str:
    """Median and range."""
    return f"{value['median']:.1f} ({value['least']:.1f} to {value['largest']:.1f})"


def ratio(ours: Row, theirs: Row) -> str:
    """The median over the rounds of what one took against the other, and the quartiles."""
    ratios = [mine / other for mine, other in zip(ours["rounds"], theirs["rounds"], strict=True)]
    if len(ratios) == 1:
        return f"{ratios[0]:.2f}"
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    here = Path(__file__).parent
    (here / "REPORT.md").write_text(render(read(here / "results")))
