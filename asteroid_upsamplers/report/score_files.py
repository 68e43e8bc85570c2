"""From a folder of museval files to frame scores, without the files that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ..data import SOURCES
from ..errors import UsageError
from ..evaluation import METRICS
from ..evaluation.aggregation import read_scores

_PATTERNS = ("*.json", "*.json.gz")
_EXPERIMENT_FILES = ("training.json", "best_model.pth", "checkpoints")


def find_score_files(folder: Path) -> list[Path]:
    """The museval files of an experiment, or of a system whose scores were published.

    Args:
        folder: Holds the files itself, in ``scores/`` (and below), or, as museval writes them, in
            ``test/``.

    Returns:
        Sorted paths; none is an error.

    Raises:
        UsageError: There are none, or the folder is an experiment that lost its ``conf.yml``.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no experiment here (no such folder)")
    experiment = (folder / "conf.yml").exists()
    if not experiment and any((folder / name).exists() for name in _EXPERIMENT_FILES):
        raise UsageError(f"{folder}: no experiment here (no conf.yml)")
    if experiment or (folder / "scores").is_dir():
        folder = folder / "scores"
        paths = [path for pattern in _PATTERNS for path in folder.rglob(pattern)]
    else:
        places = (folder, folder / "test")
        paths = [path for place in places for p in _PATTERNS for path in place.glob(p)]
    if not paths:
        what = "" if experiment else "no experiment here (no conf.yml), and "
        raise UsageError(f"{folder}: {what}no museval scores (*.json, *.json.gz)")
    return sorted(paths)


def read_score_files(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """Read what can be read.

    Args:
        folder: As :func:`find_score_files` takes it.

    Returns:
        Frame scores as :func:`evaluation.load_scores` gives them, of the four stems; and one line
        for each file that was left out: no museval JSON, a stem or metric missing, or a second
        file of one song.

    Raises:
        UsageError: No file can be used.
    """
    paths = find_score_files(folder)
    scores: dict[str, pd.DataFrame] = {}
    problems = []
    for path in paths:
        try:
            frames = _whole(path)
            track = str(frames["track"].iloc[0])
            if track in scores:
                raise UsageError(f"{path}: the second file of this song")
            scores[track] = frames
        except UsageError as error:
            problems.append(str(error))
    if not scores:
        count = f"none of {len(paths)} score files can be used: " if len(paths) > 1 else ""
        raise UsageError(f"{folder}: {count}{problems[0]}")
    return pd.concat(scores.values(), ignore_index=True), problems


def _whole(path: Path) -> pd.DataFrame:
    frames = read_scores(path)
    there = set(zip(frames["target"], frames["metric"], strict=True))
    stems = [stem for stem in SOURCES if not any((stem, metric) in there for metric in METRICS)]
    if stems:
        raise UsageError(f"{path}: no scores of {', '.join(stems)}")
    metrics = [m for m in METRICS if any((stem, m) not in there for stem in SOURCES)]
    if metrics:
        raise UsageError(f"{path}: no {', '.join(metrics)} of every stem")
    return frames[frames["target"].isin(SOURCES)]


def song_medians(scores: pd.DataFrame) -> pd.Series:
    """Median over the finite frames of each song.

    Args:
        scores: As :func:`read_score_files` gives them.

    Returns:
        In dB, NaN for a song without a finite frame; index ``metric``, ``target``, ``track``.
    """
    finite = scores.assign(score=scores["score"].where(np.isfinite(scores["score"])))
    return finite.groupby(["metric", "target", "track"], sort=False)["score"].median()
