"""From a folder of museval files to frame scores, without the files that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from ..data import SOURCES
from ..errors import UsageError
from ..evaluation import METRICS
from ..evaluation.aggregation import SUMS, read_scores, stems_of_mean

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
    """By which stems models are compared: the four of MUSDB18 if a file has just these, else those
    that most files have.

    Sums of other stems count as :func:`evaluation.stems_of_mean` says.
    """
    stems = [_stems_of(frames) for frames in scores]
    sets = [frozenset(names) for names in stems]
    if frozenset(SOURCES) in sets:
        return SOURCES
    usual = max(sets, key=sets.count, default=frozenset())
    return next((names for names in stems if usual == set(names)), ())


def select(
    scores: dict[Path, pd.DataFrame], stems: Sequence[str]
) -> tuple[pd.DataFrame | None, list[str]]:
    """The scores of some stems from all files that have them; lines about those that have others.

    With guitar and piano apart, "other" is another stem than without: such files are left out.
    """
    complete: list[pd.DataFrame] = []
    problems: dict[str, list[Path]] = {}
    for path, frames in scores.items():
        there = pd.crosstab(frames["target"], frames["metric"])
        there = there.reindex(index=list(stems), columns=list(METRICS), fill_value=0) > 0
        missing = there.index[~there.any(axis=1)]
        parted = not any(SUMS.fullmatch(stem) for stem in stems)
        more = [stem for stem in _stems_of(frames) if parted and stem not in stems]
        if len(missing):
            problem = f"no scores of {', '.join(missing)}"
        elif more:
            problem = (
                f"also has {', '.join(more)}, so that its stems are others than those compared "
                f"here ({', '.join(stems)}); report on such models alone"
            )
        elif not there.all(axis=None):
            problem = f"no {', '.join(there.columns[~there.all()])} of every stem"
        else:
            complete.append(frames[frames["target"].isin(stems)])
            continue
        problems.setdefault(problem, []).append(path)
    lines = [
        f"{paths[0]}{f' and {len(paths) - 1} more' if paths[1:] else ''}: {problem}"
        for problem, paths in problems.items()
    ]
    return pd.concat(complete, ignore_index=True) if complete else None, lines


def _stems_of(frames: pd.DataFrame) -> tuple[str, ...]:
    return tuple(stems_of_mean(frames["target"].unique()))


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
