"""A set of songs on disk, rendered from a folder of MIDI files."""

from __future__ import annotations

import functools
import logging
import os
import re
from pathlib import Path, PureWindowsPath

import numpy as np
from tqdm.contrib.concurrent import process_map

from ..errors import UsageError
from .midi_parts import SHORTEST, read_midi
from .midi_render import LONGEST
from .parallel import cores
from .rendered_songs import Order, check_root, render_songs, require_at_least, usable_soundfont

logger = logging.getLogger(__name__)

ENDINGS = (".mid", ".midi", ".kar", ".rmi", ".smf")
SUBSETS = ("train", "test")
TEST_SHARE = 0.1
LARGEST = 2**24
"""Bytes of a MIDI file."""
LONGEST_NAME = 80
"""Bytes."""


def render_midi_set(
    root: str | os.PathLike,
    midi: str | os.PathLike,
    n_train: int | None = None,
    n_test: int | None = None,
    seconds: float = LONGEST,
    seed: int = 0,
    sample_rate: int = 44100,
    jobs: int | None = None,
    progress: bool = True,
    soundfont: Path | None = None,
) -> None:
    """Write ``root/{train,test}/<song name>/{mixture,drums,bass,other,vocals}.wav`` (16 bit).

    Channel 10 plays the drums, programs 33 to 40 of General MIDI the bass; the busiest melody above
    the accompaniment is sung by a voice of the soundfont; the rest is other. Files that lack one of
    these or cannot be read are named and left out. Songs that are there already, whole and made
    with the same settings, are kept.

    Args:
        root: Folder of the set, in the layout of MUSDB18-HQ.
        midi: Folder that is searched for MIDI files. If it has folders ``train`` and ``test``,
            their files stay apart so, else some are chosen to test on.
        n_train: Most songs to train on; all if ``None``.
        n_test: Songs to test on, where ``midi`` does not say which; a tenth if ``None``.
        seconds: Of a longer song only these are rendered, at least 10.
        seed: Sets the choice, and how the songs are mixed; 0 or more.
        sample_rate: In Hz, at least 8000.
        jobs: Number of processes; one a core if ``None``.
        progress: Whether to show a progress bar.
        soundfont: SF2 file to play the songs with; TimGM6mb if ``None``.

    Raises:
        UsageError: For an impossible setting, a folder with other songs, or if no MIDI file can be
            rendered.
        OSError: If the disk is full.
    """
    root, midi = Path(root), Path(midi)
    require_at_least(2 * SHORTEST, seconds=seconds)
    counts = {"n_train": 1 if n_train is None else n_train, "jobs": 1 if jobs is None else jobs}
    require_at_least(1, **counts)
    require_at_least(0, n_test=0 if n_test is None else n_test, seed=seed)
    require_at_least(8000, sample_rate=sample_rate)
    files = _midi_files(midi)
    font = usable_soundfont(soundfont)
    songs, problems = _usable(files, seconds, jobs, progress)
    chosen = _choose(midi, list(songs), n_train, n_test, seed)
    names = _song_names(midi, files)
    paths = {root / subset / names[path]: path for path, subset in chosen.items()}
    check_root(root, paths)
    orders = [
        Order(folder, songs[path], font, seed, sample_rate, None, seconds)
        for folder, path in paths.items()
    ]
    failed = render_songs(root, orders, jobs, progress)
    problems |= {paths[folder]: why for folder, why in failed.items()}
    for path in sorted(problems):
        logger.warning("left out: %s: %s", path, problems[path])
    rendered = len(orders) - len(failed)
    if not rendered:
        raise UsageError(f"{midi}: none of {len(files)} MIDI files makes a song of four stems")
    logger.info("%s: %d songs; %d MIDI files left out", root, rendered, len(problems))


def _midi_files(folder: Path) -> list[Path]:
    """All below a folder that are named so.

    Raises:
        UsageError: If there are none.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: must be a folder with MIDI files")
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in ENDINGS
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not path.is_dir()
    ]
    if not files:
        raise UsageError(f"{folder}: no MIDI files (names that end in {', '.join(ENDINGS)})")
    return files


def _usable(
    files: list[Path], longest: float, jobs: int | None, progress: bool
) -> tuple[dict[Path, bytes], dict[Path, str]]:
    """The contents of files that have all stems, and what is wrong with the others."""
    songs: dict[Path, bytes] = {}
    problems: dict[Path, str] = {}
    for path in files:
        try:
            if path.stat().st_size > LARGEST:
                problems[path] = f"more than {LARGEST // 2**20} MiB, which no song takes"
            else:
                songs[path] = path.read_bytes()
        except OSError as error:
            problems[path] = f"cannot be read ({error.strerror})"
    found = process_map(
        functools.partial(_problem, longest=longest),
        songs.values(),
        max_workers=min(cores() if jobs is None else jobs, max(1, len(songs))),
        chunksize=1,
        desc="reading",
        disable=not progress,
    )
    problems |= {path: why for path, why in zip(songs, found, strict=True) if why}
    return {path: songs[path] for path in songs if path not in problems}, problems


def _problem(content: bytes, longest: float) -> str | None:
    try:
        read_midi(content, longest).stems()
    except UsageError as error:
        return str(error)
    return None


def _choose(
    midi: Path, paths: list[Path], n_train: int | None, n_test: int | None, seed: int
) -> dict[Path, str]:
    """The subset of each file that is used: that of its folder, or drawn by chance."""
    order = [paths[index] for index in np.random.default_rng(seed).permutation(len(paths))]
    if any((midi / subset).is_dir() for subset in SUBSETS):
        if n_test is not None:
            raise UsageError(
                f"n_test is {n_test}: {midi} says which songs to test on; leave it out"
            )
        test = [path for path in order if path.is_relative_to(midi / "test")]
        train = [path for path in order if path.is_relative_to(midi / "train")]
        outside = len(order) - len(train) - len(test)
        if outside:
            logger.warning("%s: %d files beside train/ and test/ are not used", midi, outside)
    else:
        n_test = round(TEST_SHARE * len(order)) if n_test is None else n_test
        test, train = order[:n_test], order[n_test:]
    chosen = dict.fromkeys(train[:n_train], "train") | dict.fromkeys(test, "test")
    return {path: chosen[path] for path in paths if path in chosen}


def _song_names(midi: Path, files: list[Path]) -> dict[Path, str]:
    """A folder name for each file: its own, with those of its folders before it."""
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path in files:
        parts = path.relative_to(midi).with_suffix("").parts
        if len(parts) > 1 and parts[0] in SUBSETS:
            parts = parts[1:]
        plain = re.sub(r"[^\w .,'()&+-]", "_", " - ".join(parts))
        plain = plain.encode()[:LONGEST_NAME].decode(errors="ignore").strip(" .") or "_"
        if PureWindowsPath(plain).is_reserved():  # Windows keeps names such as "con" for devices
            plain = f"_{plain}"
        name, count = plain, 1
        while name.casefold() in taken:
            count += 1
            name = f"{plain} ({count})"
        taken.add(name.casefold())
        names[path] = name
    return names
