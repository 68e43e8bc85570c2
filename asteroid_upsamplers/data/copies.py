"""Copies of songs in another form, which are made again when what they were made from changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..files import LOCK, locked, whole_or_nothing
from .parallel import for_each

ORIGIN = "origin.json"
"""In the folder of a copy: what it was made from, and the sizes of its files."""

States = dict[str, list[int]]
"""Of each file, its size and the time of its last change."""


def update_copies(
    root: Path,
    originals: Mapping[Path, Sequence[Path]],
    make: Callable[[Path, Sequence[Path]], None],
    title: str,
    jobs: int | None = None,
    progress: bool = True,
) -> None:
    """Make the copies that are missing, damaged, or not of the originals as they are now.

    A copy appears under its name only when it is whole, so an interrupted run goes on where it
    stopped. Of processes that start together, the first one makes the copies.

    Args:
        root: Folder of all copies.
        originals: For the folder of each copy, relative to ``root``, the files it is made from.
        make: Writes a copy: called with an empty folder and the originals.
        title: Of the progress bar.
        jobs: Copies at a time; one a core if ``None``.
        progress: Whether to show a progress bar.

    Raises:
        UsageError: After all others are made, if some could not be, naming them and why.
    """

    def make_one(folder: Path) -> None:
        states = _states(originals[folder])  # as they are before they are read
        with whole_or_nothing(root / folder) as partial:
            partial.mkdir()
            make(partial, originals[folder])
            sizes = {path.name: path.stat().st_size for path in partial.iterdir()}
            (partial / ORIGIN).write_text(json.dumps({"made from": states, "files": sizes}))

    def missing() -> list[Path]:
        return [folder for folder in originals if not _is_current(root / folder, originals[folder])]

    if missing():
        with locked(root / LOCK, wait=True):
            for_each(make_one, missing(), title, jobs, progress)


def _is_current(folder: Path, originals: Sequence[Path]) -> bool:
    try:
        origin = json.loads((folder / ORIGIN).read_text())
        made_from = origin["made from"]
        if any(made_from[name] != state for name, state in _states(originals).items()):
            return False
        return all((folder / name).stat().st_size == n for name, n in origin["files"].items())
    except (OSError, ValueError, KeyError):
        return False


def _states(paths: Sequence[Path]) -> States:
    states = {path.name: path.stat() for path in paths}
    return {name: [state.st_size, state.st_mtime_ns] for name, state in states.items()}
