"""The results table as markdown, for people, and as CSV, with everything."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..data import SOURCES
from .collect import PROVENANCE

AGGREGATION = (
    "SDR, ISR, SIR, SAR in dB by museval (BSS Eval v4, one-second frames): median over frames, "
    "then median over songs, then mean over the four stems (the paper's Table 1, footnote 3); "
    "frames in which a stem is silent are NaN and left out"
)


def to_csv(results: pd.DataFrame) -> str:
    """Every column of :func:`collect`."""
    return results.to_csv(float_format="%.6g")


def to_markdown(results: pd.DataFrame, title: str = "Results") -> str:
    """The table, and below it what its figures are and where they come from.

    Args:
        results: As :func:`collect` gives it.
        title: Heading; it should name the data set.
    """
    header = [
        "system",
        *SOURCES,
        "mean SDR",
        "ISR",
        "SIR",
        "SAR",
        "silence",
        "parameters",
        "s/epoch",
    ]
    header += ["paper: SDR", "paper: s/epoch", "paper: parameters"]
    lines = [f"### {title}", "", _line(header), _line(["---", *["---:"] * (len(header) - 1)])]
    for system, row in results.iterrows():
        cells = [str(system), *(_number(row.get(f"SDR_{stem}")) for stem in (*SOURCES, "mean"))]
        cells += [_number(row.get(f"{metric}_mean")) for metric in ("ISR", "SIR", "SAR")]
        cells += [_silence(row)]
        cells += [_count(row.get("parameters")), _number(row.get("seconds_per_epoch"), 1)]
        cells += [_number(row.get("paper_sdr")), _number(row.get("paper_seconds_per_epoch"), 0)]
        cells += [_text(row.get("paper_parameters"))]
        lines.append(_line(cells))
    return "\n".join([*lines, "", *(f"- {note}" for note in notes(results))]) + "\n"


def notes(results: pd.DataFrame) -> list[str]:
    """What stands below the table: aggregation, counts, commit, versions, seeds, machine."""
    counts: dict[str, list[str]] = {}
    for system, row in results.iterrows():
        count = f"{row['songs']} of {row['songs_total']} songs"
        count += f", {row['nan_frames']} of {row['frames']} frames NaN"
        counts.setdefault(count, []).append(str(system))
    scored = "; ".join(f"{count} ({', '.join(names)})" for count, names in counts.items())
    facts = [f"{key} {_distinct(results, key)}" for key in PROVENANCE]
    facts += [f"{key} {_distinct(results, key)}" for key in ("seed", "epochs")]
    return [
        AGGREGATION + ".",
        f"Scored: {scored}.",
        "Silence: what the trained network makes of zeros, without its mean: rms in dB against "
        "the level that mixtures are brought to, and how much of it lies at multiples of the "
        "sample rate / 4.",
        "The columns of the paper are quoted: models of 700 M parameters on the 50 test songs of "
        "MUSDB18, seconds an epoch on four V100s.",
        f"Made with: {', '.join(facts)}.",
    ]


def _distinct(results: pd.DataFrame, key: str) -> str:
    if key not in results:
        return "unknown"
    values = results[key].dropna()
    return " / ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in dict.fromkeys(values))


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _missing(value: Any) -> bool:
    return bool(pd.isna(value))


def _number(value: Any, digits: int = 2) -> str:
    return "-" if _missing(value) else f"{value:.{digits}f}"


def _count(value: Any) -> str:
    return "-" if _missing(value) else f"{int(value):,}"


def _silence(row: pd.Series) -> str:
    level = row.get("silence_db")
    if _missing(level):
        return "-"
    if level == float("-inf"):
        return "silent"
    return f"{level:.0f} dB, {100 * row['silence_tones']:.0f} % tones"


def _text(value: Any) -> str:
    return "-" if _missing(value) else str(value)
