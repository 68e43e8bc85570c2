"""The comparison as tables of text, for people: what each cell says, and the notes below."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd

from ..data import SOURCES
from ..evaluation import METRICS
from .collect import GROUPS
from .experiments import PROVENANCE
from .song_by_song import LEAST_SONGS, LEVEL, MOST_SYSTEMS_IN_ALL_PAIRS

UNUSUAL = ("noise", "sweep", "voice", "quiet song")
"""Sounds unlike the training songs, as stage 4 calls them."""

AGGREGATION = (
    "SDR, ISR, SIR, SAR in dB by museval (BSS Eval v4, one-second frames): median over frames, "
    "then median over songs, then mean over the four stems (the paper's Table 1, footnote 3); "
    "mean of medians: the mean over songs instead; "
    "frames in which a stem is silent are NaN and left out"
)
PAIRS = (
    "Song by song: difference of the songs' median SDR, averaged over the stems, first less "
    "second, mean and median over the songs that both have; 95 % interval of the mean from a "
    "bootstrap (BCa) over the songs; "
    "p of Wilcoxon's signed-rank test, and after Holm's correction for the number of pairs. "
    f"Within noise: the interval contains 0, or the corrected p is {LEVEL} or more. Too few songs: "
    f"fewer than {LEAST_SONGS}. All pairs of up to {MOST_SYSTEMS_IN_ALL_PAIRS} systems, of more "
    "each against the first. Seeds vary too, and no interval here knows it: with one seed, a "
    "difference is one of two trained networks, not yet of two designs."
)


class Table(NamedTuple):
    """Text, ready for any format; the first column is of words, the others of figures."""

    title: str
    header: list[str]
    rows: list[list[str]]


def make_tables(results: pd.DataFrame, pairs: pd.DataFrame) -> list[Table]:
    """The systems, all metrics per stem, the pairs, and artifacts; those without rows left out.

    Args:
        results: As :func:`tabulate` gives it.
        pairs: As :func:`compare_systems` gives it.
    """
    tables = [_systems(results), _stems(results), _pairs(pairs), _artifacts(results)]
    return [table for table in tables if table.rows]


def _systems(results: pd.DataFrame) -> Table:
    header = ["system", *SOURCES, "mean SDR", "ISR", "SIR", "SAR", "SDR, mean of medians"]
    header += ["seeds", "songs", "NaN frames", "parameters", "s/epoch", "real-time factor"]
    quotes_beside = "paper_sdr" in results[~_quoted(results)].dropna(axis="columns", how="all")
    if quotes_beside:
        header += ["paper: SDR", "paper: s/epoch", "paper: parameters"]
    rows = []
    for (system, row), quoted in zip(results.iterrows(), _quoted(results), strict=True):
        if quoted:
            cells = [str(system)] + ["-"] * (len(header) - 1)
            cells[header.index("mean SDR")] = _number(row["paper_sdr"])
            cells[header.index("s/epoch")] = _number(row["paper_seconds_per_epoch"], 0)
            cells[header.index("parameters")] = _text(row["paper_parameters"])
            rows.append(cells)
            continue
        cells = [str(system), *(_score(row, f"SDR_{group}") for group in GROUPS)]
        cells += [_score(row, f"{metric}_mean") for metric in ("ISR", "SIR", "SAR")]
        cells += [_score(row, "SDR_mean_mean_of_medians")]
        cells += [_count(row[key]) for key in ("seeds", "songs", "nan_frames")]
        cells += [_count(row.get("parameters")), _number(row.get("seconds_per_epoch"), 1)]
        cells += [_number(row.get("real_time_factor"), 3)]
        if quotes_beside:
            cells += [_number(row["paper_sdr"]), _number(row["paper_seconds_per_epoch"], 0)]
            cells += [_text(row["paper_parameters"])]
        rows.append(cells)
    return Table("Systems", header, rows)


def _stems(results: pd.DataFrame) -> Table:
    rows = []
    for system, row in results[~_quoted(results)].iterrows():
        for metric in METRICS:
            for words, ending in (("median", ""), ("mean", "_mean_of_medians")):
                cells = [_score(row, f"{metric}_{group}{ending}") for group in GROUPS]
                rows.append([str(system), f"{metric}, {words} of medians", *cells])
        for words, count in (("songs", "songs"), ("NaN frames", "nan_frames")):
            cells = [_count(row[f"{count}_{stem}"]) for stem in SOURCES]
            rows.append([str(system), words, *cells, "-"])
    return Table("Per stem", ["system", "figure", *GROUPS], rows)


def _pairs(pairs: pd.DataFrame) -> Table:
    header = ["first", "second", "songs", "difference (dB)", "95 % interval", "median (dB)"]
    rows = []
    for _, row in pairs[pairs["stem"] == "mean"].iterrows():
        songs = f"{row['songs']}"
        if row["songs"] < row["songs_either"]:
            songs += f" of {row['songs_either']}"
        interval = "-" if _missing(row["low"]) else f"{row['low']:.2f} to {row['high']:.2f}"
        difference = _number(row["difference"])
        figures = [songs, difference, interval, _number(row["median_difference"])]
        figures += [_p_value(row["p"]), _p_value(row["p_holm"])]
        rows.append([row["first"], row["second"], *figures, row["verdict"]])
    return Table("Song by song", [*header, "p", "p (Holm)", "verdict"], rows)


def _artifacts(results: pd.DataFrame) -> Table:
    header = ["system", "silence", "silent windows", *(f"tones: {sound}" for sound in UNUSUAL)]
    rows = []
    if "silence_db" in results:
        for system, row in results[results["silence_db"].notna()].iterrows():
            found = (_found(row, sound) for sound in UNUSUAL)
            rows.append([str(system), _silence(row), _tones(row), *found])
    return Table("Artifacts", header, rows)


def make_notes(
    results: pd.DataFrame, pairs: pd.DataFrame, left_out: list[str] | None = None
) -> list[str]:
    """What stands below the tables: aggregation, counts, commit, versions, seeds, machine."""
    notes = [AGGREGATION + ".", _scored(results)]
    if results["seeds"].max() > 1:
        notes.append(
            "Figures of several seeds: mean ± standard deviation over the seeds (n - 1); counts of "
            "songs are the least, of NaN frames the most."
        )
    if len(pairs):
        notes.append(PAIRS)
    if "silence_db" in results:
        notes += _ARTIFACT_NOTES
    if "paper_sdr" in results:
        notes.append(
            "The columns of the paper and the rows marked (quoted) are quoted from its Table 1: "
            "models of 700 M parameters on the 50 test songs of MUSDB18, seconds an epoch on four "
            "V100s."
        )
    if left_out:
        more = [f"and {len(left_out) - 5} more"] if len(left_out) > 6 else []
        notes.append(f"Left out: {'; '.join(left_out[:5] + (more or left_out[5:]))}.")
    facts = [f"{key} {_distinct(results, key)}" for key in (*PROVENANCE, "seed", "epochs")]
    if any(not fact.endswith(" unknown") for fact in facts):
        notes.append(f"Made with: {', '.join(facts)}.")
    return notes


_ARTIFACT_NOTES = [
    "Silence: what the trained network makes of zeros, without its mean: rms in dB against "
    "the level that mixtures are brought to, and how much of it lies at multiples of the "
    "sample rate / stride of its last upsampling layer.",
    "Silent windows: tones at multiples of the sample rate / 16 (of a model whose last stride is "
    "longer: / stride) in the estimates where their source is silent (or, if it never is, "
    "quietest), which SDR leaves out: dB against 1, median over songs and sources, before training "
    "in brackets.",
    "Tones: of these frequencies, how many have a steady tone (Thomson's F-test, 1e-3 false alarms "
    "each) in the estimates for a sound unlike the training songs, before training in brackets. "
    "Networks on spectrograms upsample nowhere in time; they are a control.",
]


def _scored(results: pd.DataFrame) -> str:
    counts: dict[str, list[str]] = {}
    for system, row in results[~_quoted(results)].iterrows():
        count = f"{row['songs']} of {row['songs_total']} songs"
        count += f", {row['nan_frames']} of {row['frames']} frames NaN"
        counts.setdefault(count, []).append(str(system))
    scored = "; ".join(f"{count} ({', '.join(names)})" for count, names in counts.items())
    return f"Scored: {scored}."


def _quoted(results: pd.DataFrame) -> pd.Series:
    return results.get("quoted", pd.Series(False, index=results.index))


def _distinct(results: pd.DataFrame, key: str) -> str:
    values = results[key].dropna() if key in results else []
    words = (f"{v:g}" if isinstance(v, float) else str(v) for v in dict.fromkeys(values))
    return " / ".join(words) or "unknown"


def _missing(value: Any) -> bool:
    return bool(pd.isna(value))


def _number(value: Any, digits: int = 2) -> str:
    return "-" if _missing(value) else f"{value:.{digits}f}"


def _score(row: pd.Series, column: str) -> str:
    deviation = _number(row.get(f"{column}_std"))
    return _number(row[column]) + ("" if deviation == "-" else f" ± {deviation}")


def _p_value(value: float) -> str:
    return "-" if _missing(value) else f"{value:.2g}"


def _count(value: Any) -> str:
    return "-" if _missing(value) else f"{int(value):,}"


def _tones(row: pd.Series) -> str:
    key = "silent_windows_tones_db"
    now, before = (_level(row[f"{prefix}{key}"]) for prefix in ("", "untrained_"))
    return f"{now} ({before})"


def _level(decibels: float) -> str:
    return "none" if decibels < -300 else f"{decibels:.0f} dB"


def _found(row: pd.Series, sound: str) -> str:
    key = sound.replace(" ", "_")
    if _missing(row.get(f"{key}_tones")):
        return "-"
    now, before = row[f"{key}_tones"], row[f"untrained_{key}_tones"]
    return f"{now:.0f} of {row[f'{key}_frequencies']:.0f} ({before:.0f})"


def _silence(row: pd.Series) -> str:
    level = row["silence_db"]
    if level == float("-inf"):
        return "silent"
    return f"{level:.0f} dB, {100 * row['silence_tones']:.0f} % tones"


def _text(value: Any) -> str:
    return "-" if _missing(value) else str(value)
