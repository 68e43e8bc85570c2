"""The models that folders hold: runs of one model that differ only in the seed are grouped."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml

from ..errors import UsageError
from ..evaluation import BASELINE
from .facts import describe, outdated_files, section
from .score_files import read_score_files, select, usual_stems

logger = logging.getLogger(__name__)

_SEED_NAME = re.compile(r"(?P<model>.+)[._-]seed[._-]?(?P<seed>\d+)", re.IGNORECASE)
REPAIRED = "_repaired"
"""Ends the name of a model's folder, but for a seed."""

_NO_SETTINGS = ("seed", "exp_dir", "id", "gpus", "num_workers")
"""Keys of a ``conf.yml`` in which runs of one model may differ; so may paths."""


@dataclass(frozen=True, eq=False)
class Run:
    """One folder: its frame scores, and for an experiment its configuration and facts."""

    folder: Path
    scores: pd.DataFrame
    conf: dict[str, Any] | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def songs(self) -> pd.Series:
        """Median over the finite frames of each song in dB; index metric, target, track."""
        finite = self.scores.assign(score=self.scores["score"].replace([np.inf, -np.inf], np.nan))
        return finite.groupby(["metric", "target", "track"], sort=False)["score"].median()

    @property
    def named_seed(self) -> re.Match | None:
        """Of a folder named ``NAME.seed1``, ``NAME_seed1`` or ``NAME-seed1``."""
        return _SEED_NAME.fullmatch(self.folder.name)

    @property
    def seed(self) -> Any:
        """As the folder's name or the configuration has it."""
        if self.named_seed:
            return int(self.named_seed["seed"])
        return section(self.conf or {}, "training").get("seed")

    @cached_property
    def identity(self) -> tuple[Any, ...]:
        """What runs of one model have in common; for a run without a seed, its folder."""
        folder = self.folder.resolve()
        if self.seed is None or (self.conf is None and not self.named_seed):
            return (folder,)
        name = (folder.parent, self.named_seed["model"]) if self.named_seed else ()
        return (*name, json.dumps(_without_seed(self.conf), sort_keys=True, default=str))


@dataclass(frozen=True, eq=False)
class ScoredModel:
    """Runs that differ only in the seed, in the order of their folders."""

    name: str
    runs: list[Run]

    @property
    def is_repaired(self) -> bool:
        """Whether this is a trained model whose tones were taken out afterwards."""
        return "repair" in (self.runs[0].conf or {})

    @property
    def is_baseline(self) -> bool:
        """Whether this is the mixture as its own estimate."""
        return self.runs[0].folder.name == BASELINE

    @property
    def stems(self) -> tuple[str, ...]:
        """Those of the scores, which all models have, in the order of the tables."""
        return usual_stems([self.runs[0].scores])

    @property
    def tracks(self) -> set[str]:
        """The songs of any run."""
        return {track for run in self.runs for track in run.scores["track"]}

    @cached_property
    def songs(self) -> pd.Series:
        """Mean over the runs of :attr:`Run.songs`, of the songs that all runs have."""
        runs = pd.concat([run.songs for run in self.runs], axis=1, join="inner")
        return runs.mean(axis=1, skipna=False)


class Reading(NamedTuple):
    """Models in the order of the table, one line for each folder or file left out, the stems that
    are in score files but in no table, as they are sums of others, and a line for whatever is older
    than what it was made from."""

    models: list[ScoredModel]
    left_out: list[str]
    sums: Sequence[str] = ()
    outdated: Sequence[str] = ()


def read_models(folders: Sequence[Path]) -> Reading:
    """Read experiments and folders of published scores. What cannot be used is named and left out.

    Two runs are of one model if their ``conf.yml`` differ only in paths and in the seed, and they
    have a song in common. Folders named ``NAME.seedN`` (or with ``_`` or ``-``) must also lie side
    by side; they need no ``conf.yml``.

    Models are compared by the four stems of MUSDB18 if a file has scores of just these (beside
    sums of them, such as accompaniment), else by the stems that most files have; files with others
    are left out.

    Args:
        folders: In the order of the table. The mixture as its own estimate, which scoring an
            experiment leaves beside it, comes first; its repaired model, which stage 4 leaves
            beside it, follows it.

    Raises:
        UsageError: If nothing can be used.
    """
    if not folders:
        raise UsageError("no experiment folders to report on")
    folders = list(_with_repaired(folders))
    baselines = [f.parent / BASELINE for f in folders if (f / "conf.yml").exists()]
    baselines = [folder for folder in baselines if (folder / "scores").is_dir()]
    unique: dict[Path, Path] = {}
    for folder in (*folders, *baselines):
        unique.setdefault(folder.resolve(), folder)
    found, left_out = {}, []
    for folder in unique.values():
        try:
            found[folder], problems = read_score_files(folder)
            left_out += problems
        except UsageError as error:
            left_out.append(str(error))
    asked = [files for folder, files in found.items() if folder not in baselines]
    stems = usual_stems(frames for files in asked or found.values() for frames in files.values())
    runs = []
    for folder, files in found.items():
        scores, problems = select(files, stems)
        left_out += problems
        try:
            if scores is not None:
                runs.append(_read_run(folder, scores))
        except UsageError as error:
            left_out.append(str(error))
    usable = {run.folder for run in runs} & set(folders)
    if not usable and len(left_out) == 1:
        raise UsageError(left_out[0])
    for problem in left_out:
        logger.warning("left out: %s", problem)
    if not usable:
        raise UsageError(f"none of the {len(set(folders))} folders can be reported on")
    runs.sort(key=lambda run: run.folder.name != BASELINE)
    groups = _grouped(runs)
    models = [ScoredModel(*pair) for pair in zip(_names(groups), groups, strict=True)]
    used = {run.folder for run in runs}
    names = {name for f in used for frames in found[f].values() for name in frames["target"]}
    outdated = [line for run in runs for line in outdated_files(run.folder)]
    for line in outdated:
        logger.warning("%s", line)
    return Reading(models, left_out, sorted(names - set(stems)), outdated)


def repaired_folder(folder: Path) -> Path:
    """Of an experiment's repaired model: ``NAME_repaired``, or ``NAME_repaired.seed1``."""
    found = _SEED_NAME.fullmatch(folder.resolve().name)
    name = found["model"] if found else folder.resolve().name
    return folder.with_name(f"{name}{REPAIRED}{folder.resolve().name.removeprefix(name)}")


def _with_repaired(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        yield folder
        beside = repaired_folder(folder)
        if (folder / "conf.yml").exists() and (beside / "scores").is_dir():
            yield beside


def _read_run(folder: Path, scores: pd.DataFrame) -> Run:
    path = folder / "conf.yml"
    if not path.exists():
        return Run(folder, scores)
    try:
        conf = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError):
        conf = None
    if not isinstance(conf, dict):
        raise UsageError(f"{path}: damaged, must be a YAML mapping")
    return Run(folder, scores, conf, describe(folder, conf))


def _grouped(runs: Sequence[Run]) -> list[list[Run]]:
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        others = groups.get(run.identity, [])
        same_seed = run.seed in [other.seed for other in others]
        if same_seed or any(set(run.scores["track"]).isdisjoint(o.scores["track"]) for o in others):
            groups[(run.folder.resolve(),)] = [run]
        else:
            groups.setdefault(run.identity, []).append(run)
    return list(groups.values())


def _without_seed(conf: Any) -> Any:
    if not isinstance(conf, dict):
        return conf
    kept = (key for key in conf if key not in _NO_SETTINGS)
    return {k: _without_seed(conf[k]) for k in kept if not str(k).endswith(("_dir", "_path"))}


def _names(groups: Sequence[list[Run]]) -> list[str]:
    """Names of the folders, with as many folders above them as are needed to tell them apart."""
    folders = [runs[0].folder.resolve() for runs in groups]
    paths = [
        folder.with_name(runs[0].named_seed["model"]) if runs[0].named_seed and runs[1:] else folder
        for folder, runs in zip(folders, groups, strict=True)
    ]
    if len(set(paths)) < len(paths):  # NAME.seed1 and NAME.seed2 beside another NAME
        paths = folders
    names, depth = [path.name for path in paths], 1
    while len(set(names)) < len(names):
        depth += 1
        names = ["/".join(path.parts[-depth:]) for path in paths]
    repaired = ["repair" in (runs[0].conf or {}) for runs in groups]
    names = [
        f"{name.replace(REPAIRED, '')}, repaired" if changed else name
        for name, changed in zip(names, repaired, strict=True)
    ]
    return [name.encode(errors="backslashreplace").decode() for name in names]
