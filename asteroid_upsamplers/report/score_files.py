"""From a folder of museval files to frame scores, without the files that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from ..data import SOURCES
from ..errors import UsageError
from ..evaluation import METRICS
from ..evaluation.aggregation import read_scores

_EXPERIMENT_FILES = ("training.json", "best_model.pth", "checkpoints")


def read_score_files(folder: Path) -> tuple[dict[Path, pd.DataFrame], list[str]]:
    """Read the museval files of an experiment, or of a model whose scores were published.

    A folder holds them itself, in ``scores/`` (and below), or, as museval writes them, in
    ``test/``.

    Returns:
        Frame scores by file, as :func:`evaluation.load_scores` gives them; and one line for each
        file that was left out: no museval JSON, or a second file of one song.

    Raises:
        UsageError: If there are no files, or the folder is an experiment without ``conf.yml``.
    """
    scores: dict[Path, pd.DataFrame] = {}
    problems, tracks = [], set()
    for path in _find(folder):
        try:
            frames = read_scores(path)
            if frames["track"].iloc[0] in tracks:
                raise UsageError(f"{path}: the second file of this song")
            tracks.add(frames["track"].iloc[0])
            scores[path] = frames
        except UsageError as error:
            problems.append(str(error))
    return scores, problems


def usual_stems(scores: Iterable[pd.DataFrame]) -> tuple[str, ...]:
    """The four stems of MUSDB18 if a file has them, else the stems that most files have."""
    stems = [tuple(frames["target"].unique()) for frames in scores]
    if any(set(SOURCES) <= set(names) for names in stems):
        return SOURCES
    return max(stems, key=stems.count, default=())


def select(
    scores: dict[Path, pd.DataFrame], stems: Sequence[str]
) -> tuple[pd.DataFrame | None, list[str]]:
    """The scores of some stems from all files that have them; a line for each file without."""
    complete, problems = [], []
    for path, frames in scores.items():
        there = pd.crosstab(frames["target"], frames["metric"])
        there = there.reindex(index=list(stems), columns=list(METRICS), fill_value=0) > 0
        missing = there.index[~there.any(axis=1)]
        if len(missing):
            problems.append(f"{path}: no scores of {', '.join(missing)}")
        elif not there.all(axis=None):
            problems.append(f"{path}: no {', '.join(there.columns[~there.all()])} of every stem")
        else:
            complete.append(frames[frames["target"].isin(stems)])
    return pd.concat(complete, ignore_index=True) if complete else None, problems


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
