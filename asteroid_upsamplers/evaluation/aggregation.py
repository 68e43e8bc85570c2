"""From museval's frame scores to the figures of a results table.

museval gives, for each song, stem and one-second frame, four energy ratios in dB: SDR (signal to
distortion), ISR (source image to spatial distortion), SIR (signal to interference) and SAR
(signal to artifacts). Frames without a score (a silent stem) are NaN and left out.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import UsageError
from ..files import json_text, whole_or_nothing

METRICS = ("SDR", "ISR", "SIR", "SAR")

SUMS = re.compile("accompaniment|instrumental|karaoke|no_.+", re.IGNORECASE)
"""Names of stems that are the sum of all others but one: accompaniment, no_vocals, no_drums, ..."""

MIXTURES = re.compile("(linear_)?mix(ture)?", re.IGNORECASE)
RESERVED = ("mean", "total")
"""Names that the columns and rows of tables have; no stem may."""

_COLUMNS = ["track", "target", "metric", "time", "score"]
_SUFFIXES = (".json", ".json.gz")
_DAMAGED: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error, ValueError, LookupError)
_DAMAGED += (TypeError, OverflowError, RecursionError)


def read_scores(path: str | os.PathLike) -> pd.DataFrame:
    """Read one museval JSON, plain or gzipped.

    Args:
        path: The file; what its name holds before ``.json`` or ``.json.gz`` is the track.

    Returns:
        Columns ``track``, ``target``, ``metric``, ``time`` (s), ``score`` (dB) and ``reliable``
        (false for ISR, SIR and SAR where the file says so), one row per frame and metric; and
        ``.attrs["metrics"]``, those that were asked for.

    Raises:
        UsageError: The file is no museval JSON (damaged, cut short, or something else).
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        if path.name.endswith(".gz"):
            data = gzip.decompress(data)
        content = json.loads(data)
        targets = content["targets"]
        rows = [
            (_track_name(path), target["name"], metric, frame["time"], frame["metrics"][metric])
            for metric in METRICS
            for target in targets
            for frame in target["frames"]
        ]
        scores = pd.DataFrame(rows, columns=_COLUMNS).astype({"time": float, "score": float})
        scores["reliable"] = (scores["metric"] == "SDR") | (content.get("reliable") is not False)
        scores.attrs["metrics"] = content.get("metrics", METRICS)
        stems = [target["name"] for target in targets]
        if not all(isinstance(stem, str) for stem in stems):
            raise TypeError("a stem whose name is no text")
    except _DAMAGED as error:
        reason = str(error).replace("\n", " ") or type(error).__name__
        raise UsageError(f"{path} is no museval JSON: {reason}") from error
    if not stems or sorted(stems) != sorted(scores["target"].unique()):
        raise UsageError(f"{path} is no museval JSON: a stem without frames, or a stem named twice")
    if any(stem in RESERVED for stem in stems):
        raise UsageError(f"{path}: no stem can be named {' or '.join(RESERVED)}: tables use these")
    return scores


def stems_of_mean(stems: Iterable[str]) -> list[str]:
    """Those stems that a mean is taken over: each part of the mixture once.

    A sum of other stems counts only beside the one stem that it lacks, as in scores of vocals and
    accompaniment; the mixture does not count.

    Example:
        >>> stems_of_mean(["vocals", "drums", "bass", "other", "accompaniment"])
        ['vocals', 'drums', 'bass', 'other']
        >>> stems_of_mean(["vocals", "accompaniment"])
        ['vocals', 'accompaniment']
    """
    stems = list(stems)
    sums = [stem for stem in stems if SUMS.fullmatch(stem)]
    parts = [stem for stem in stems if stem not in sums and not MIXTURES.fullmatch(stem)]
    counted = parts if len(parts) > 1 else parts + sums[:1]
    return [stem for stem in stems if stem in counted] or stems


def is_scored(
    path: str | os.PathLike, stems: Collection[str], metrics: Collection[str] = METRICS
) -> bool:
    """Whether ``path`` is a whole museval JSON, plain or gzipped, of these stems and metrics."""
    try:
        scores = read_scores(path)
    except UsageError:
        return False
    return set(scores["target"]) == set(stems) and set(metrics) <= set(scores.attrs["metrics"])


def write_scores(store: Any, path: str | os.PathLike) -> None:
    """Write museval's JSON, gzipped if ``path`` ends in ``.gz``, whole or not at all.

    What has no score is ``null``, where museval writes NaN or an infinity, which JSON does not
    have; museval reads both.
    """
    data = json_text(json.loads(store.json, parse_constant=lambda word: None)).encode()
    if Path(path).suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    with whole_or_nothing(path) as partial:
        partial.write_bytes(data)


def load_scores(folder: str | os.PathLike) -> pd.DataFrame:
    """Read every ``*.json`` and ``*.json.gz`` below a folder, one file per song.

    Args:
        folder: Where museval's files are; subfolders are searched too.

    Returns:
        As :func:`read_scores`, one row per song, stem, metric and frame, songs in the order of
        their sorted paths.

    Raises:
        UsageError: No score files; a file that is no museval JSON; two files of one song; or a
            file without a stem that the others have.
    """
    paths = sorted(path for suffix in _SUFFIXES for path in Path(folder).rglob(f"*{suffix}"))
    if not paths:
        raise UsageError(f"no museval scores (*.json, *.json.gz) below {folder}")
    files: dict[str, Path] = {}
    for path in paths:
        other = files.setdefault(_track_name(path), path)
        if other != path:
            raise UsageError(f"{other} and {path} are scores of the same song; keep one")
    scores = {path: read_scores(path) for path in paths}
    stems = dict.fromkeys(stem for frames in scores.values() for stem in frames["target"])
    for path, frames in scores.items():
        missing = [stem for stem in stems if stem not in set(frames["target"])]
        if missing:
            raise UsageError(f"{path} has no scores of {', '.join(missing)}, other files have")
    return pd.concat(scores.values(), ignore_index=True)


def aggregate(scores: pd.DataFrame) -> pd.DataFrame:
    """Bring the frame scores of a test set down to one figure per stem, in two ways.

    Both begin with the median over the frames of each song. "Median of medians" is the median of
    these over the songs: the figures of Table 1 of Pons et al. [1], footnote 3. "Mean of medians"
    is their mean over the songs. Scores that are not finite (NaN, or an infinity: nothing but the
    source is left, or nothing of it) are left out before the first median, as museval leaves out
    infinities, and so are songs without any finite frame.

    [1] J. Pons, S. Pascual, G. Cengarle, J. Serra: "Upsampling artifacts in neural audio
    synthesis", ICASSP 2021.

    Args:
        scores: As from :func:`load_scores`.

    Returns:
        One row per stem in the order of ``scores`` (index ``target``), then the row ``mean``: the
        mean of every column over the stems of :func:`stems_of_mean` (``accompaniment`` beside the
        stems that it sums is none of them), NaN where one of them is. Columns: for each of
        :data:`METRICS` ``<metric>`` (median of medians, dB) and ``<metric>_mean`` (mean of
        medians, dB); ``songs`` with at least one finite SDR frame; ``songs_total``;
        ``nan_frames`` without a finite SDR; ``frames``; ``unreliable``, songs whose files say that
        their ISR, SIR and SAR say nothing. Counts are floats because of ``mean``.

    Example:
        >>> frames = [("song", stem, m, t, t) for stem in "ab" for m in METRICS for t in (1, 2, 9)]
        >>> columns = ["track", "target", "metric", "time", "score"]
        >>> float(aggregate(pd.DataFrame(frames, columns=columns)).loc["mean", "SDR"])
        2.0
    """
    finite = scores.assign(score=scores["score"].where(np.isfinite(scores["score"])))
    keys = ["metric", "target", "track"]
    per_song = finite.groupby(keys, sort=False)["score"].median()
    per_stem = per_song.groupby(level=["metric", "target"], sort=False)
    medians, means = per_stem.median(), per_stem.mean()

    table = pd.DataFrame(index=pd.Index(scores["target"].unique(), name="target"))
    for metric in METRICS:
        table[metric] = medians[metric]
        table[f"{metric}_mean"] = means[metric]
    sdr = finite[finite["metric"] == "SDR"].groupby("target")["score"]
    table["songs"] = per_stem.count()["SDR"].astype(float)
    table["songs_total"] = per_stem.size()["SDR"].astype(float)
    table["nan_frames"] = (sdr.size() - sdr.count()).astype(float)
    table["frames"] = sdr.size().astype(float)
    reliable = finite.get("reliable", pd.Series(True, index=finite.index)).astype(bool)
    unreliable = finite[finite["score"].notna() & ~reliable]
    table["unreliable"] = unreliable.groupby("target")["track"].nunique()
    table["unreliable"] = table["unreliable"].fillna(0.0)
    table.loc["mean"] = table.loc[stems_of_mean(table.index)].mean(skipna=False)
    return table


def _track_name(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".json")
