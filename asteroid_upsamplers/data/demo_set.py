"""A set of demo songs on disk, to train and try a separation model without a data set."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Collection
from pathlib import Path

import numpy as np
import soundfile
from tqdm.contrib.concurrent import process_map

from ..audio import write_wav
from ..errors import UsageError
from ..files import LOCK, locked, whole_or_nothing
from .demo_songs import render_song
from .finding import list_songs
from .parallel import cores
from .songs import MIXTURE, SOURCES

logger = logging.getLogger(__name__)


def render_demo_set(
    root: str | os.PathLike,
    n_train: int = 8,
    n_test: int = 2,
    seconds: float = 12.0,
    seed: int = 0,
    sample_rate: int = 44100,
    jobs: int | None = None,
    progress: bool = True,
) -> None:
    """Write ``root/{train,test}/<song name>/{mixture,drums,bass,other,vocals}.wav`` (float32).

    Songs that are there already, whole and with this length and rate, are kept. Training songs have
    even seeds and test songs odd ones, so that no later and larger set mixes the two. A folder with
    other songs than these is refused.

    Args:
        root: Folder of the set, in the layout of MUSDB18-HQ.
        n_train: Number of songs to train on, at least 1.
        n_test: Number of songs to test on, 0 or more.
        seconds: Length of every song, at least 1.
        seed: First song of the set, 0 or more.
        sample_rate: In Hz, at least 8000.
        jobs: Number of processes; one a core if ``None``.
        progress: Whether to show a progress bar.

    Raises:
        UsageError: For an impossible setting, or a folder with other songs.
    """
    root, jobs = Path(root), cores() if jobs is None else jobs
    require_at_least(1, n_train=n_train, seconds=seconds, jobs=jobs)
    require_at_least(0, n_test=n_test, seed=seed)
    require_at_least(8000, sample_rate=sample_rate)
    if root.is_file():
        raise UsageError(f"root is {root}, which is a file: must be a folder or not exist yet")
    songs = {root / "train" / song_name(2 * n): 2 * n for n in range(seed, seed + n_train)}
    songs |= {root / "test" / song_name(2 * n + 1): 2 * n + 1 for n in range(seed, seed + n_test)}
    _check_root(root, songs.keys())
    frames = round(seconds * sample_rate)
    with locked(root / LOCK, wait=True):
        todo = [
            (folder, number, seconds, sample_rate)
            for folder, number in songs.items()
            if not _is_whole(folder, frames, sample_rate)
        ]
        if todo:
            jobs = min(jobs, len(todo))
            process_map(_write_song, todo, max_workers=jobs, desc="songs", disable=not progress)


def _check_root(root: Path, songs: Collection[Path]) -> None:
    """Refuse a folder with songs that were not rendered here, and name those that were before."""
    entries = [
        path for part in ("train", "test") for path in list_songs(root, part).entries.values()
    ]
    for path in entries:
        names = {file.stem for file in path.glob("[!.]*")}
        if not re.fullmatch(r"Demo - \d{3,}", path.name) or not names <= {MIXTURE, *SOURCES}:
            raise UsageError(f"{path}: not a demo song; choose a folder without other songs")
    others = [path for path in entries if path not in songs]
    if others:
        logger.warning("%s: %d more demo songs are there, from before", root, len(others))


def song_name(seed: int) -> str:
    """Folder name of a song, such as "Demo - 007"."""
    return f"Demo - {seed:03d}"


def require_at_least(least: float, **settings: float) -> None:
    """Refuse settings that are too small.

    Raises:
        UsageError: Naming the first of them.
    """
    for name, value in settings.items():
        if not least <= value < math.inf:
            raise UsageError(f"{name} is {value}: must be at least {least}")


def _write_song(work: tuple[Path, int, float, int]) -> None:
    folder, seed, seconds, sample_rate = work
    stems = render_song(seed, seconds, sample_rate)
    with whole_or_nothing(folder) as partial:
        partial.mkdir()
        for name, audio in {MIXTURE: np.sum(list(stems.values()), axis=0), **stems}.items():
            write_wav(partial / f"{name}.wav", audio, sample_rate, subtype="FLOAT")


def _is_whole(folder: Path, frames: int, sample_rate: int) -> bool:
    try:
        infos = [soundfile.info(folder / f"{name}.wav") for name in (MIXTURE, *SOURCES)]
    except soundfile.LibsndfileError:
        return False
    return all((info.frames, info.samplerate) == (frames, sample_rate) for info in infos)
