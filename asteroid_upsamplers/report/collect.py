"""From experiment folders and published scores to one table of results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..data import SOURCES
from ..evaluation import METRICS, aggregate
from .paper import quoted_rows
from .systems import Run, System, read_systems

GROUPS = (*SOURCES, "mean")

_COUNTS = ("songs", "songs_total", "nan_frames", "frames")
_WHOLE = [*_COUNTS, *(f"{count}_{stem}" for count in _COUNTS[::2] for stem in SOURCES)]
_WHOLE += ["channels", "parameters", "epochs", "best_epoch", "seeds"]


def collect(folders: Sequence[Path], quoted: bool = False) -> pd.DataFrame:
    """One row a system: the mixture as its own estimate first, if it was scored.

    Args:
        folders: As :func:`read_systems` takes them.
        quoted: As :func:`tabulate` takes it.

    Raises:
        UsageError: Nothing can be used.
    """
    return tabulate(read_systems(folders).systems, quoted)


def tabulate(systems: Sequence[System], quoted: bool = False) -> pd.DataFrame:
    """One row a system; of several seeds, the mean over them, and standard deviations.

    Args:
        systems: In the order of the rows.
        quoted: Whether the rows of [1] Table 1 follow, each as a system of its own, marked in its
            name and in the column ``quoted``, with nothing but the columns of the paper.

    Returns:
        Index ``system``. Columns: ``model``, ``upsampler``, ``modified``, ``<metric>_<stem>`` and
        ``<metric>_mean`` (median over frames, median over songs; mean over the stems), the same
        ending in ``_mean_of_medians`` (median over frames, mean over songs), where there are
        several seeds each of these ending in ``_std`` (standard deviation over them, with n - 1),
        ``seeds`` (how many), ``songs``, ``songs_total``, ``nan_frames``, ``frames``,
        ``songs_<stem>``, ``nan_frames_<stem>`` (all in dB or counts), ``parameters``,
        ``seconds_per_epoch``, ``real_time_factor``, ``epochs``, ``seed`` (all of them, as text),
        what [1] Table 1 prints (``paper_sdr``, ``paper_seconds_per_epoch``,
        ``paper_parameters``), commit, versions and machine; where stage 4 was run, of the trained
        model and, beginning with ``untrained_``, of the same before training: ``silence_db`` and
        ``silence_tones`` (response to silence: rms in dB against 1, share of it at multiples of
        the rate / stride); ``silent_windows_rms_db`` and ``silent_windows_tones_db`` (estimates
        where their source is silent, or quietest: median over songs and sources),
        ``silent_windows`` (how many of them are silent); and for each unusual sound
        ``<sound>_tones`` (of ``<sound>_frequencies``, how many have a steady tone),
        ``<sound>_tone_db`` and ``<sound>_over_floor_db`` of the surest.
    """
    rows = {system.name: _over_seeds([_run_row(run) for run in system.runs]) for system in systems}
    if quoted:
        for name, row in quoted_rows().items():
            rows[name] = {
                "quoted": True,
                "paper_sdr": row.sdr,
                "paper_seconds_per_epoch": row.seconds_per_epoch,
                "paper_parameters": row.parameters,
            }
    results = pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")
    if quoted:
        results["quoted"] = results["quoted"].eq(True)
    whole = [column for column in _WHOLE if column in results]
    return results.astype(dict.fromkeys(whole, "Int64"))


def score_columns() -> list[str]:
    """The columns of scores in dB."""
    names = [f"{metric}_{group}" for metric in METRICS for group in GROUPS]
    return [name + ending for name in names for ending in ("", "_mean_of_medians")]


def _run_row(run: Run) -> dict[str, Any]:
    table = aggregate(run.scores)
    row = dict(run.description)
    for metric in METRICS:
        for group in GROUPS:
            row[f"{metric}_{group}"] = table.loc[group, metric]
            row[f"{metric}_{group}_mean_of_medians"] = table.loc[group, f"{metric}_mean"]
    for count in _COUNTS:
        row[count] = int(table.loc[list(SOURCES), count].max())
    for count in _COUNTS[::2]:
        row |= {f"{count}_{stem}": int(table.loc[stem, count]) for stem in SOURCES}
    if run.seed is not None:
        row["seed"] = str(run.seed)
    return row


def _over_seeds(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Scores, times and artifact scores: the mean; counts of songs: the least; text: all of it."""
    merged: dict[str, Any] = {"seeds": len(rows)}
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row[key] for row in rows if row.get(key) is not None]
        if not values:
            merged[key] = None
        elif key.startswith("songs"):
            merged[key] = min(values)
        elif key in _WHOLE:
            merged[key] = max(values)
        elif len(values) == 1 or not all(_is_number(value) for value in values):
            distinct = list(dict.fromkeys(values))
            merged[key] = distinct[0] if len(distinct) == 1 else " / ".join(map(str, distinct))
        else:
            merged[key] = float(pd.Series(values).mean(skipna=False))
    if len(rows) > 1:
        for key in score_columns():
            merged[f"{key}_std"] = float(pd.Series([row[key] for row in rows]).std(skipna=False))
    return merged


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
