"""Stages 2 and 3 for experiment folders: from ``best_model.pth`` to museval's score files."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import soundfile
import torch
from tqdm import tqdm

from ..data import MIXTURE, Song, changed_since, read_notes, songs_at_rate
from ..errors import UsageError
from ..files import LOCK, alone_in, discard, locked, whole_or_nothing, write_json
from ..models import MusicSeparator
from ..separation import Chunking, load_on_device, separate_file, source_names
from .aggregation import METRICS
from .scoring import SCORERS, ScoringJob, check_choices, score_songs

MODEL = "best_model.pth"
ESTIMATES, SCORES = Path("estimates/test"), Path("scores/test")
SETTINGS = Path("estimates/separation.json")
"""How the estimates beside it were made, and from which files."""

ORIGINS = "score_origins.json"
"""Which files the scores were made from, and by whom."""

EVALUATION = "evaluation.json"
"""How fast the test songs were separated."""

BASELINE = "mixture"
"""Name of the folder, beside the experiments, of the mixture scored as its own estimate."""


def songs_to_test(
    musdb18_dir: Path,
    wav_dir: Path,
    sources: Sequence[str],
    skip_bad_songs: bool = False,
    progress: bool = True,
) -> list[Song]:
    """The test songs of a set, at its own rate, in which they are scored.

    Args:
        musdb18_dir: MUSDB18, or a set in MUSDB18-HQ's layout.
        wav_dir: Where stage 0 put the wav files of MUSDB18.
        sources: Names of the files every song must have, beside its mixture.
        skip_bad_songs: Whether to leave out (and name) songs that cannot be used.
        progress: Whether to show a progress bar.

    Raises:
        UsageError: If there is no set, or songs in it cannot be used.
    """
    return songs_at_rate(musdb18_dir, wav_dir, "test", None, progress, sources, skip_bad_songs)


def load_music_separator(exp_dir: Path) -> MusicSeparator:
    """The trained model of an experiment, on a GPU if there is one.

    Raises:
        UsageError: If there is no such model, or it has no names for its sources.
    """
    path = exp_dir / MODEL
    if not path.exists():
        raise UsageError(f"{exp_dir}: no experiment here (no {MODEL}); train one first")
    model = load_on_device(path)
    if not isinstance(model, MusicSeparator):
        raise UsageError(
            f"{path}: a {type(model).__name__}, must be a MusicSeparator, whose sources have names"
        )
    return model


def separate_experiments(
    exp_dirs: Sequence[Path],
    musdb18_dir: Path,
    wav_dir: Path,
    chunking: Chunking | None = None,
    progress: bool = True,
    skip_bad_songs: bool = False,
) -> None:
    """Separate the test songs with the model of each experiment into ``estimates/test/<song>/``.

    Estimates are kept unless the model or the mixture is another, by its content, or they were made
    with another chunk, overlap or number of shifts.

    Args:
        exp_dirs: Folders with a ``best_model.pth``.
        musdb18_dir: As :func:`songs_to_test` takes it.
        wav_dir: As :func:`songs_to_test` takes it.
        chunking: How songs are cut into chunks; :class:`..separation.Chunking` has the defaults.
        progress: Whether to show a progress bar, in seconds of audio.
        skip_bad_songs: Whether to leave out (and name) songs that cannot be used.

    Raises:
        UsageError: If an experiment has no trained model, a song cannot be used, or another run is
            at work in a folder.
    """
    for exp_dir in exp_dirs:
        if not (exp_dir / MODEL).exists():
            raise UsageError(f"{exp_dir}: no experiment here (no {MODEL}); train one first")
        with alone_in(exp_dir):
            model = load_music_separator(exp_dir)
            songs = songs_to_test(musdb18_dir, wav_dir, model.sources, skip_bad_songs, progress)
            _separate_experiment(exp_dir, model, songs, chunking or Chunking(), progress)


def _separate_experiment(
    exp_dir: Path, model: MusicSeparator, songs: Sequence[Song], chunking: Chunking, progress: bool
) -> None:
    names = source_names(model)
    settings = asdict(chunking) | {"sources": names}
    settings["chunk"] = chunking.chunk if math.isfinite(chunking.chunk) else "whole song"
    _discard_outdated(exp_dir, songs, settings)
    todo = [song for song in songs if not _is_separated(song, exp_dir, names)]
    if not todo:
        return
    total = sum(soundfile.info(song.path(MIXTURE)).duration for song in todo)
    start = time.perf_counter()
    with tqdm(None, exp_dir.name, total, disable=not progress, unit="s", unit_scale=True) as bar:
        for song in todo:
            if (exp_dir / ESTIMATES / song.name).exists():
                discard(exp_dir / ESTIMATES / song.name)
            with whole_or_nothing(exp_dir / ESTIMATES / song.name) as folder:
                outputs = [folder / f"{name}.wav" for name in names]
                separate_file(model, song.path(MIXTURE), outputs, chunking, bar=bar)
    seconds = time.perf_counter() - start
    cuda = torch.cuda.is_available()
    note = {
        "real_time_factor": seconds / total,
        "audio_seconds": total,
        "seconds": seconds,
        "separated_on": torch.cuda.get_device_name() if cuda else "CPU",
        "threads": torch.get_num_threads(),
    }
    write_json(exp_dir / EVALUATION, note)


def _is_separated(song: Song, exp_dir: Path, names: Sequence[str]) -> bool:
    """Whether the estimates of a song are all there, at its length."""
    paths = [exp_dir / ESTIMATES / song.name / f"{name}.wav" for name in names]
    frames = soundfile.info(song.path(MIXTURE)).frames
    try:
        return all(soundfile.info(path).frames == frames for path in paths)
    except soundfile.SoundFileError:
        return False


def _check_current(exp_dir: Path, songs: Sequence[Song]) -> None:
    """Refuse estimates that were made of another mixture, or with another model."""
    notes = read_notes(exp_dir / SETTINGS)
    made, model = notes.get("songs"), exp_dir / MODEL
    made = made if isinstance(made, dict) else {}
    files = {song.name: [song.path(MIXTURE)] for song in songs if song.name in made}
    changed = sorted(changed_since(made, files)[1])
    if changed:
        raise UsageError(
            f"{exp_dir}: estimates of {', '.join(changed)} were made of another mixture; "
            "separate again (stage 2)"
        )
    if "model" in notes and model.exists() and changed_since(notes["model"], {MODEL: [model]})[1]:
        raise UsageError(
            f"{exp_dir}: estimates were made with another {MODEL}; separate again (stage 2)"
        )


def _discard_outdated(exp_dir: Path, songs: Sequence[Song], settings: dict[str, Any]) -> None:
    """Remove estimates that a run with these settings would not make, and note the settings."""
    settings.pop("batch")  # changes nothing but rounding
    estimates, noted = exp_dir / ESTIMATES, read_notes(exp_dir / SETTINGS)
    before = noted.pop("songs", {})
    model, model_changed = changed_since(noted.pop("model", None), {MODEL: [exp_dir / MODEL]})
    if (noted != settings or model_changed) and estimates.exists():
        discard(estimates)
    now, changed = changed_since(before, {song.name: [song.path(MIXTURE)] for song in songs})
    for name in changed:
        if (estimates / name).exists():
            discard(estimates / name)
    write_json(exp_dir / SETTINGS, settings | {"model": model, "songs": before | now})


def _discard_outdated_scores(folder: Path, jobs: Sequence[ScoringJob], scorer: str) -> None:
    """Remove scores of other songs, files or scorers than those of the jobs, and note these."""
    files: dict[str, Iterable[Path]] = {}
    for job in jobs:
        references, estimates = zip(*(job.files(source) for source in job.sources), strict=True)
        files[f"references of {job.json_path.stem}"] = references
        files[f"estimates of {job.json_path.stem}"] = dict.fromkeys(estimates)
    there = {name: [path for path in paths if path.exists()] for name, paths in files.items()}
    noted = read_notes(folder / ORIGINS)
    by_another = noted.pop("scorer", None) != scorer
    # scores outlive estimates that were deleted to save disk
    gone = {name: noted[name] for name, paths in there.items() if not paths and name in noted}
    now, changed = changed_since(noted, {name: p for name, p in there.items() if name not in gone})
    now |= gone
    for path in (folder / SCORES).glob("*.json"):
        names = {f"references of {path.stem}", f"estimates of {path.stem}"}
        if by_another or names & changed or not names <= now.keys():
            path.unlink()
    write_json(folder / ORIGINS, now | {"scorer": scorer})


def score_experiments(
    exp_dirs: Sequence[Path],
    musdb18_dir: Path,
    wav_dir: Path,
    workers: int | None = None,
    progress: bool = True,
    skip_bad_songs: bool = False,
    metrics: Sequence[str] = METRICS,
    scorer: str = SCORERS[0],
) -> None:
    """Score the estimates of each experiment into ``scores/test/<song>.json``.

    The mixture as its own estimate is scored as well, once for experiments that lie side by side.

    Args:
        exp_dirs: Folders with estimates.
        musdb18_dir: As :func:`songs_to_test` takes it.
        wav_dir: As :func:`songs_to_test` takes it.
        workers: How many songs are scored at a time; one a core if ``None``.
        progress: Whether to show a progress bar.
        skip_bad_songs: Whether to leave out (and name) songs that cannot be used.
        metrics: As :func:`score_songs` takes them.
        scorer: As :func:`score_songs` takes it.

    Raises:
        UsageError: If songs cannot be scored (the others are scored all the same), estimates were
            made of another mixture or with another model, or another run is at work in a folder.
    """
    check_choices(metrics, scorer)
    exp_dirs = list(dict.fromkeys(exp_dir.resolve() for exp_dir in exp_dirs))
    sources: dict[Path, dict[str, None]] = {}
    for exp_dir in exp_dirs:
        own = dict.fromkeys(read_notes(exp_dir / SETTINGS).get("sources", ()))
        if not own:
            raise UsageError(f"{exp_dir}: no estimates here; separate first")
        sources[exp_dir] = own
        baseline = exp_dir.parent / BASELINE
        sources[baseline] = sources.get(baseline, {}) | own
    jobs: list[ScoringJob] = []
    with contextlib.ExitStack() as stack:
        for exp_dir in exp_dirs:
            stack.enter_context(alone_in(exp_dir))
        for folder in sorted(sources.keys() - set(exp_dirs)):  # of other experiments, too
            stack.enter_context(locked(folder / LOCK, wait=True))
        for folder, names in sources.items():
            own_jobs = []
            songs = songs_to_test(musdb18_dir, wav_dir, tuple(names), skip_bad_songs, progress)
            if folder in exp_dirs:
                _check_current(folder, songs)
            for song in songs:
                estimates = folder / ESTIMATES / song.name
                estimates = estimates if folder in exp_dirs else song.path(MIXTURE)
                path = folder / SCORES / f"{song.name}.json"
                name = f"{folder.name}: {song.name}"
                own_jobs.append(ScoringJob(name, song.folder, estimates, tuple(names), path))
            _discard_outdated_scores(folder, own_jobs, scorer)
            jobs += own_jobs
        score_songs(jobs, workers=workers, progress=progress, metrics=metrics, scorer=scorer)
