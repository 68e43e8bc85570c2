"""Stages 2 and 3 for experiment folders: from ``best_model.pth`` to museval's score files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml

from ..data import MIXTURE, SOURCES, Song, find_songs, rate_of_set, wav_root
from ..errors import UsageError
from ..files import LOCK, alone_in, discard, locked, whole_or_nothing
from ..models import MusicSeparator, load_model
from ..separation import Chunking, on_best_device, separate_songs
from ..separation.songs import Pace, mixture_as_estimates
from .scoring import ScoringJob, score_songs

ESTIMATES, SCORES = Path("estimates/test"), Path("scores/test")
EVALUATION = "evaluation.json"
"""How fast the test songs were separated: seconds of work for a second of audio."""

BASELINE = "mixture"
"""Name of the folder, beside the experiments, of the mixture scored as its own estimate."""


def separate_experiments(exp_dirs: Sequence[Path], progress: bool = True) -> None:
    """Separate the test songs with the model of each experiment into ``estimates/test/<song>/``.

    Raises:
        UsageError: If an experiment has no trained model, a song cannot be used, or another run is
            at work in a folder.
    """
    for exp_dir in exp_dirs:
        conf = read_config(exp_dir)
        with alone_in(exp_dir):
            _separate_experiment(exp_dir, conf, progress)


def _separate_experiment(exp_dir: Path, conf: dict[str, dict[str, Any]], progress: bool) -> None:
    model_path = exp_dir / "best_model.pth"
    songs = songs_to_test(conf)
    for song in songs:
        folder = exp_dir / ESTIMATES / song.name
        if _older(folder, model_path) or _older(folder, song.path(MIXTURE)):
            discard(folder)
    model = load_music_separator(model_path)
    chunking = Chunking(**conf["separation"])
    with on_best_device(model):
        pace = separate_songs(model, songs, exp_dir / ESTIMATES, chunking, progress)
    if pace.audio_seconds:
        _note_pace(pace, exp_dir / EVALUATION)


def score_experiments(
    exp_dirs: Sequence[Path], workers: int | None = None, progress: bool = True
) -> None:
    """Score the estimates of each experiment into ``scores/test/<song>.json``.

    The mixture as its own estimate is scored as well, once for experiments that lie side by side.

    Raises:
        UsageError: If songs cannot be scored (the others are scored all the same), or another run
            is at work in a folder.
    """
    songs = {exp_dir: songs_to_test(read_config(exp_dir)) for exp_dir in exp_dirs}
    with contextlib.ExitStack() as stack:
        for exp_dir in exp_dirs:
            stack.enter_context(alone_in(exp_dir))
        for folder in {exp_dir.parent / BASELINE for exp_dir in exp_dirs}:
            stack.enter_context(locked(folder / LOCK, wait=True))  # of other experiments, too
        jobs: list[ScoringJob] = []
        for exp_dir in exp_dirs:
            baseline = exp_dir.parent / BASELINE
            mixture_as_estimates(songs[exp_dir], baseline / ESTIMATES)
            jobs += [_job(s, folder) for folder in (exp_dir, baseline) for s in songs[exp_dir]]
        jobs = list(dict.fromkeys(jobs))
        for job in jobs:
            if _older(Path(job.json_path), Path(job.estimate_dir)):
                Path(job.json_path).unlink()
        score_songs(jobs, SOURCES, workers=workers, progress=progress)


def load_music_separator(path: Path) -> MusicSeparator:
    """The model of an experiment.

    Raises:
        UsageError: If the file is no model file, or its model has no names for its sources.
    """
    model = load_model(path)
    if not isinstance(model, MusicSeparator):
        raise UsageError(
            f"{path}: a {type(model).__name__}, allowed is a MusicSeparator: its sources have "
            "names to be scored by"
        )
    return model


def _note_pace(pace: Pace, path: Path) -> None:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    note = {"real_time_factor": pace.seconds / pace.audio_seconds, **asdict(pace)}
    note |= {"separated_on": device, "threads": torch.get_num_threads()}
    with whole_or_nothing(path) as partial:
        partial.write_text(json.dumps(note, indent=2))


def songs_to_test(conf: dict[str, dict[str, Any]]) -> list[Song]:
    """The test songs of a configuration, at the rate of the set, in which they are scored."""
    data = conf["data"]
    root = wav_root(Path(data["musdb18_dir"]), Path(data["wav_dir"]))
    return find_songs(root, "test", rate_of_set(root) or data["sample_rate"])


def read_config(exp_dir: Path) -> dict[str, dict[str, Any]]:
    """The configuration that an experiment was trained with.

    Raises:
        UsageError: If the folder holds no experiment.
    """
    try:
        return yaml.safe_load((exp_dir / "conf.yml").read_text())
    except OSError:
        raise UsageError(f"{exp_dir}: no experiment here (no conf.yml); train one first") from None


def _older(product: Path, origin: Path) -> bool:
    """Whether a product must be made anew because what it was made from is newer."""
    both = product.exists() and origin.exists()
    return both and product.stat().st_mtime < origin.stat().st_mtime


def _job(song: Song, exp_dir: Path) -> ScoringJob:
    return ScoringJob(
        name=f"{exp_dir.name}: {song.name}",
        reference_dir=song.folder,
        estimate_dir=exp_dir / ESTIMATES / song.name,
        json_path=exp_dir / SCORES / f"{song.name}.json",
    )
