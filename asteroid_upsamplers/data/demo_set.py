"""A set of demo songs on disk, to train and try a separation model without a data set."""

from __future__ import annotations

import os
from pathlib import Path

from .demo_songs import compose
from .midi_render import LONGEST
from .rendered_songs import Order, check_root, render_songs, require_at_least, usable_soundfont


def render_demo_set(
    root: str | os.PathLike,
    n_train: int = 8,
    n_test: int = 2,
    seconds: float = 12.0,
    seed: int = 0,
    sample_rate: int = 44100,
    jobs: int | None = None,
    progress: bool = True,
    soundfont: Path | None = None,
) -> None:
    """Write ``root/{train,test}/<song name>/{mixture,drums,bass,other,vocals}.wav`` (16 bit).

    Songs that are there already, whole and made with the same settings, are kept. Training songs
    have even seeds and test songs odd ones, so that no later and larger set mixes the two. A folder
    with other songs than these is refused.

    Args:
        root: Folder of the set, in the layout of MUSDB18-HQ.
        n_train: Number of songs to train on, at least 1.
        n_test: Number of songs to test on, 0 or more.
        seconds: Length of every song, at least 1.
        seed: First song of the set, 0 or more.
        sample_rate: In Hz, at least 8000.
        jobs: Number of processes; one a core if ``None``.
        progress: Whether to show a progress bar.
        soundfont: SF2 file to play the songs with; TimGM6mb if ``None``.

    Raises:
        UsageError: For an impossible setting, or a folder with other songs.
        OSError: If the disk is full.
    """
    root = Path(root)
    require_at_least(1, n_train=n_train, seconds=seconds, jobs=1 if jobs is None else jobs)
    require_at_least(0, n_test=n_test, seed=seed)
    require_at_least(8000, sample_rate=sample_rate)
    songs = {root / "train" / song_name(2 * n): 2 * n for n in range(seed, seed + n_train)}
    songs |= {root / "test" / song_name(2 * n + 1): 2 * n + 1 for n in range(seed, seed + n_test)}
    check_root(root, songs)
    font = usable_soundfont(soundfont)
    orders = [
        Order(folder, compose(number, seconds), font, number, sample_rate, seconds, LONGEST)
        for folder, number in songs.items()
    ]
    problems = render_songs(root, orders, jobs, progress)
    assert not problems, problems


def song_name(seed: int) -> str:
    """Folder name of a song, such as "Demo - 007"."""
    return f"Demo - {seed:03d}"
