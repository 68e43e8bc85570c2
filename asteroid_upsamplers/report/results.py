"""One table of results: from experiment folders and published scores to a row a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..evaluation import METRICS, aggregate
from .models import Run, ScoredModel, read_models
from .paper import quoted_rows

_COUNTS = ("songs", "songs_total", "nan_frames", "frames", "unreliable")
_INTEGERS = re.compile(
    r"(songs|nan_frames)(_.+)?|frames|unreliable|channels|parameters|epochs|best_epoch|seeds|stems"
)


def collect(folders: Sequence[Path], quoted: bool = False) -> pd.DataFrame:
    """One row a model: the mixture as its own estimate first, if it was scored.

    Args:
        folders: As :func:`read_models` takes them.
        quoted: As :func:`tabulate` takes it.

    Raises:
        UsageError: If nothing can be used.
    """
    return tabulate(read_models(folders).models, quoted)


def tabulate(models: Sequence[ScoredModel], quoted: bool = False) -> pd.DataFrame:
    """One row a model; of several seeds the mean, and of the scores the standard deviation.

    Args:
        models: In the order of the rows.
        quoted: Whether the rows of [1] Table 1 follow, each as a model of its own, marked in its
            name and in the column ``quoted``, with no values but those of the paper.

    Returns:
        Index ``model``. Columns, where they are known:

        - ``network``, ``upsampler``, ``modified``, ``channels``, ``parameters``;
        - ``stems``: over how many of them a mean is; ``accompaniment`` is none beside its parts;
        - ``<metric>_<stem>`` and ``<metric>_mean`` (over the stems) in dB: median over frames,
          median over songs; ending in ``_mean_of_medians``: mean over songs; each of these ending
          in ``_std``: standard deviation over several seeds (with n - 1);
        - ``seeds`` (how many), ``seed`` (all of them, as text), ``songs``, ``songs_total``,
          ``nan_frames``, ``frames``, ``unreliable`` (songs whose ISR, SIR and SAR say nothing),
          ``songs_<stem>``, ``nan_frames_<stem>``;
        - ``seconds_per_epoch``, ``real_time_factor``, ``epochs``, ``best_epoch``, commit, versions
          and device;
        - what [1] Table 1 prints for this network: ``paper_sdr``, ``paper_seconds_per_epoch``,
          ``paper_parameters``;
        - of stage 4, for the trained model and, beginning with ``untrained_``, for the same before
          training: ``silence_db`` and ``silence_tones`` (output for silence: rms in dB against 1,
          and its share at multiples of the rate / stride), ``silent_windows_rms_db`` and
          ``silent_windows_tones_db`` (estimates where their source is silent, or quietest: median
          over songs and sources), ``silent_windows`` (how many of these are silent), and for each
          unusual sound ``<sound>_tones`` (of ``<sound>_frequencies``, how many have a steady tone),
          ``<sound>_tone_db`` and ``<sound>_over_floor_db`` of the most significant.
    """
    rows = {
        model.name: _over_seeds([_run_row(run, model.stems) for run in model.runs])
        for model in models
    }
    if quoted:
        rows |= {name: {"quoted": True, **row.columns()} for name, row in quoted_rows().items()}
    results = pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")
    if quoted:
        results["quoted"] = results["quoted"].eq(True)
    integers = [column for column in results if _INTEGERS.fullmatch(column)]
    return results.astype(dict.fromkeys(integers, "Int64"))


def _run_row(run: Run, stems: Sequence[str]) -> dict[str, Any]:
    table = aggregate(run.scores)
    row = {**run.facts, "stems": len(stems)}
    for metric in METRICS:
        for group in (*stems, "mean"):
            row[f"{metric}_{group}"] = table.loc[group, metric]
            row[f"{metric}_{group}_mean_of_medians"] = table.loc[group, f"{metric}_mean"]
    for count in _COUNTS:
        row[count] = int(table.loc[list(stems), count].max())
    for count in ("songs", "nan_frames"):
        row |= {f"{count}_{stem}": int(table.loc[stem, count]) for stem in stems}
    if run.seed is not None:
        row["seed"] = str(run.seed)
    return row


def _over_seeds(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {"seeds": len(rows)}
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row[key] for row in rows if key in row]
        merged[key] = _merge(key, values)
        if len(rows) > 1 and key.startswith(METRICS):
            merged[f"{key}_std"] = float(pd.Series(values).std(skipna=False))
    return merged


def _merge(key: str, values: list[Any]) -> Any:
    """Counts of songs: the least; other counts: the most; numbers: the mean; text: all of it."""
    if _INTEGERS.fullmatch(key):
        return min(values) if key.startswith("songs") else max(values)
    numbers = [isinstance(value, (int, float)) and value is not bool(value) for value in values]
    if len(values) > 1 and all(numbers):
        return float(pd.Series(values).mean(skipna=False))
    distinct = list(dict.fromkeys(values))
    return distinct[0] if len(distinct) == 1 else " / ".join(map(str, distinct))
