"""The results table as markdown, for people, and as CSV, with everything."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..data import SOURCES
from .collect import PROVENANCE

UNUSUAL = ("noise", "sweep", "voice", "quiet song")
"""Sounds unlike the training songs, as stage 4 calls them."""

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
        "silent windows",
        *(f"tones: {sound}" for sound in UNUSUAL),
        "parameters",
        "s/epoch",
    ]
    header += ["paper: SDR", "paper: s/epoch", "paper: parameters"]
    lines = [f"### {title}", "", _line(header), _line(["---", *["---:"] * (len(header) - 1)])]
    for system, row in results.iterrows():
        cells = [str(system), *(_number(row.get(f"SDR_{stem}")) for stem in (*SOURCES, "mean"))]
        cells += [_number(row.get(f"{metric}_mean")) for metric in ("ISR", "SIR", "SAR")]
        cells += [_silence(row), _tones(row), *(_found(row, sound) for sound in UNUSUAL)]
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
        "Silent windows: tones at multiples of the sample rate / 16 in the estimates where their "
        "source is silent (or, if it never is, quietest), which SDR leaves out: dB against 1, "
        "median over songs and sources, before training in brackets.",
        "Tones: of the eight multiples of the sample rate / 16, how many have a steady tone "
        "(Thomson's F-test, 1e-3 false alarms each) in the estimates for a sound unlike the "
        "training songs, before training in brackets.",
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


def _tones(row: pd.Series) -> str:
    key = "silent_windows_tones_db"
    if _missing(row.get(key)):
        return "-"
    now, before = (_level(row[f"{prefix}{key}"]) for prefix in ("", "untrained_"))
    return f"{now} ({before})"


def _level(decibels: float) -> str:
    return "none" if decibels < -300 else f"{decibels:.0f} dB"


def _found(row: pd.Series, sound: str) -> str:
    key = f"{sound.replace(' ', '_')}_tones"
    if _missing(row.get(key)):
        return "-"
    return f"{row[key]:.0f} ({row[f'untrained_{key}']:.0f})"


def _silence(row: pd.Series) -> str:
    level = row.get("silence_db")
    if _missing(level):
        return "-"
    if level == float("-inf"):
        return "silent"
    return f"{level:.0f} dB, {100 * row['silence_tones']:.0f} % tones"


def _text(value: Any) -> str:
    return "-" if _missing(value) else str(value)
