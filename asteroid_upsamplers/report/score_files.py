"""From a folder of museval files to frame scores, without the files that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..data import SOURCES
from ..errors import UsageError
from ..evaluation import METRICS
from ..evaluation.aggregation import read_scores

_EXPERIMENT_FILES = ("training.json", "best_model.pth", "checkpoints")


def read_score_files(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """Read the museval files of an experiment, or of a model whose scores were published.

    Args:
        folder: Holds the files itself, in ``scores/`` (and below), or, as museval writes them, in
            ``test/``.

    Returns:
        Frame scores of the four stems, as :func:`evaluation.load_scores` gives them; and one line
        for each file that was left out: no museval JSON, a stem or metric missing, or a second
        file of one song.

    Raises:
        UsageError: If no file can be used, or the folder is an experiment without ``conf.yml``.
    """
    scores: dict[str, pd.DataFrame] = {}
    problems = []
    for path in _find(folder):
        try:
            frames = _read_complete(path)
            track = str(frames["track"].iloc[0])
            if track in scores:
                raise UsageError(f"{path}: the second file of this song")
            scores[track] = frames
        except UsageError as error:
            problems.append(str(error))
    if not scores:
        count = f"none of {len(problems)} score files can be used: " if problems[1:] else ""
        raise UsageError(f"{folder}: {count}{problems[0]}")
    return pd.concat(scores.values(), ignore_index=True), problems


def _find(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(f"{folder}: no experiment here (no such folder)")
    experiment = (folder / "conf.yml").exists()
    if not experiment and any((folder / name).exists() for name in _EXPERIMENT_FILES):
        raise UsageError(f"{folder}: no experiment here (no conf.yml)")
    patterns = [f"{place}{end}" for place in ("", "test/") for end in ("*.json", "*.json.gz")]
    if experiment or (folder / "scores").is_dir():
        patterns = ["scores/**/*.json", "scores/**/*.json.gz"]
    paths = sorted(path for pattern in patterns for path in folder.glob(pattern))
    if not paths:
        what = "" if experiment else "no experiment here (no conf.yml), and "
        raise UsageError(f"{folder}: {what}no museval scores (*.json, *.json.gz)")
    return paths


def _read_complete(path: Path) -> pd.DataFrame:
    frames = read_scores(path)
    counts = pd.crosstab(frames["target"], frames["metric"])
    counts = counts.reindex(index=SOURCES, columns=METRICS, fill_value=0)
    stems = counts.index[counts.sum(axis=1) == 0]
    if len(stems):
        raise UsageError(f"{path}: no scores of {', '.join(stems)}")
    metrics = counts.columns[(counts == 0).any()]
    if len(metrics):
        raise UsageError(f"{path}: no {', '.join(metrics)} of every stem")
    return frames[frames["target"].isin(SOURCES)]
