"""Find the systems that folders hold: runs of one system that differ in the seed are one."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ..errors import UsageError
from ..evaluation import BASELINE
from .experiments import describe, read_conf
from .score_files import read_score_files, song_medians

logger = logging.getLogger(__name__)

_SEED_NAME = re.compile(r"(?P<system>.+)[._-]seed[._-]?(?P<seed>\d+)", re.IGNORECASE)
_NO_SETTINGS = ("seed", "exp_dir", "id", "gpus", "num_workers")
"""Keys of a ``conf.yml`` in which runs of one system may differ; so may paths."""


@dataclass(frozen=True, eq=False)
class Run:
    """One folder: its frame scores, and what it says of its training (nothing, if published)."""

    folder: Path
    scores: pd.DataFrame
    conf: dict[str, Any] | None = None
    description: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def songs(self) -> pd.Series:
        """As :func:`song_medians` gives it."""
        return song_medians(self.scores)

    @property
    def named_seed(self) -> re.Match | None:
        """Of a folder named ``NAME.seed1``, ``NAME_seed1`` or ``NAME-seed1``."""
        return _SEED_NAME.fullmatch(self.folder.name)

    @property
    def seed(self) -> Any:
        if self.named_seed:
            return int(self.named_seed["seed"])
        return ((self.conf or {}).get("training") or {}).get("seed")

    @cached_property
    def settings(self) -> str:
        """What runs of one system have in common."""
        return json.dumps(_without_seed(self.conf), sort_keys=True, default=str)


@dataclass(frozen=True, eq=False)
class System:
    """Runs that differ in the seed only, in the order of their folders."""

    name: str
    runs: list[Run]

    @property
    def is_baseline(self) -> bool:
        """Whether this is the mixture as its own estimate."""
        return self.runs[0].folder.name == BASELINE

    @cached_property
    def songs(self) -> pd.Series:
        """Mean over the runs of :func:`song_medians`, of the songs that all runs have."""
        return pd.concat([run.songs for run in self.runs], axis=1, join="inner").mean(
            axis=1, skipna=False
        )


class Reading(NamedTuple):
    """Systems in the order of the table, and one line for each folder or file left out."""

    systems: list[System]
    left_out: list[str]


def read_systems(folders: Sequence[Path]) -> Reading:
    """Read experiments and folders of published scores; what cannot be used is left out, and named.

    Two runs are of one system if their folders lie side by side and are named ``NAME.seedN`` (or
    with ``_`` or ``-``), or if their ``conf.yml`` are equal but for paths and the seed, which must
    differ, and they share a song.

    Args:
        folders: In the order of the table. The mixture as its own estimate, which scoring an
            experiment leaves beside it, comes first.

    Raises:
        UsageError: Nothing can be used.
    """
    if not folders:
        raise UsageError("no experiment folders to report on")
    baselines = [f.parent / BASELINE for f in folders if (f / "conf.yml").exists()]
    baselines = [folder for folder in baselines if (folder / "scores").is_dir()]
    unique: dict[Path, Path] = {}
    for folder in (*baselines, *folders):
        unique.setdefault(folder.resolve(), folder)
    runs, left_out = [], []
    for folder in unique.values():
        try:
            run, problems = _read_run(folder)
            runs.append(run)
            left_out += problems
        except UsageError as error:
            left_out.append(str(error))
    if not runs and len(left_out) == 1:
        raise UsageError(left_out[0])
    for problem in left_out:
        logger.warning("left out: %s", problem)
    if not runs:
        raise UsageError(f"none of the {len(unique)} folders can be reported on")
    runs.sort(key=lambda run: run.folder.name != BASELINE)
    return Reading(_named(_grouped(runs)), left_out)


def _read_run(folder: Path) -> tuple[Run, list[str]]:
    scores, problems = read_score_files(folder)
    if not (folder / "conf.yml").exists():
        return Run(folder, scores), problems
    conf = read_conf(folder)
    return Run(folder, scores, conf, describe(folder, conf)), problems


def _grouped(runs: Sequence[Run]) -> list[list[Run]]:
    groups: list[list[Run]] = []
    for run in runs:
        group = next((group for group in groups if _is_seed_of(run, group)), None)
        if group is None:
            groups.append([run])
            continue
        if run.settings != group[0].settings:
            logger.warning(
                "%s and %s are taken for seeds of one system by their names, but their conf.yml "
                "differ in more than the seed",
                group[0].folder,
                run.folder,
            )
        group.append(run)
    return groups


def _is_seed_of(run: Run, group: Sequence[Run]) -> bool:
    first = group[0]
    if run.named_seed and first.named_seed:
        same_name = run.named_seed["system"] == first.named_seed["system"]
        return same_name and run.folder.resolve().parent == first.folder.resolve().parent
    seeds = [other.seed for other in group]
    if run.conf is None or run.seed is None or run.seed in seeds or None in seeds:
        return False
    shared = set(run.scores["track"]) & set(first.scores["track"])
    return run.settings == first.settings and bool(shared)


def _without_seed(conf: Any) -> Any:
    if not isinstance(conf, dict):
        return conf
    kept = (key for key in conf if key not in _NO_SETTINGS)
    return {k: _without_seed(conf[k]) for k in kept if not str(k).endswith(("_dir", "_path"))}


def _named(groups: Sequence[list[Run]]) -> list[System]:
    """Folder names; with the folder above, or the whole path, where two are the same."""
    names = [_short_name(runs) for runs in groups]
    if _has_twins(names):
        parents = [runs[0].folder.resolve().parent.name for runs in groups]
        names = [f"{parent}/{name}" for parent, name in zip(parents, names, strict=True)]
    if _has_twins(names):
        names = [str(runs[0].folder) for runs in groups]
    return [System(name, runs) for name, runs in zip(names, groups, strict=True)]


def _short_name(runs: Sequence[Run]) -> str:
    named = runs[0].named_seed
    return named["system"] if named and len(runs) > 1 else runs[0].folder.resolve().name


def _has_twins(names: Sequence[str]) -> bool:
    return max(Counter(names).values()) > 1
