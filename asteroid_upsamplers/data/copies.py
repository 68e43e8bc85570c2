"""Copies of songs in another form, which are made again when what they were made from changes."""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files import LOCK, discard, locked, tell_full_disk, whole_or_nothing
from .identity import Identity, identify, identities, is_unchanged, read_notes, same_content
from .parallel import failures

logger = logging.getLogger(__name__)

ORIGIN = "origin.json"
"""In the folder of a copy: how and from which files it was made, and which its own files are."""

OWNER = "set.json"
"""In the folder of all copies: the set of songs that they were made from."""

Originals = Mapping[Path, Sequence[Path]]
"""For the folder ``<subset>/<song>`` of each copy, the files that it is made from."""


def update_copies(
    base: Path,
    song_set: Path,
    originals: Originals,
    songs: Collection[Path],
    make: Callable[[Path, Sequence[Path]], None],
    how: str,
    title: str,
    jobs: int | None = None,
    progress: bool = True,
) -> tuple[Path, dict[Path, str]]:
    """Make the copies that are missing, damaged, or not of the originals as they are now.

    A copy appears under its name only when it is whole, so an interrupted run goes on where it
    stopped. Of processes that start together, the first one makes the copies. Copies of songs that
    have changed or are no longer in the set are removed where no new copy can be made.

    Args:
        base: Folder of all copies. Where it belongs to another set of songs, a folder beside it is
            taken whose name ends in a digest of ``song_set``.
        song_set: Folder of the set. One that was moved keeps its copies: their contents tell.
        originals: What copies are made from.
        songs: Every song of the same subsets, also those of which this run wants no copy.
        make: Writes a copy: called with an empty folder and the originals.
        how: How copies are made, in words; copies that were made in another way are made again.
        title: Of the progress bar.
        jobs: Copies at a time; one a core if ``None``.
        progress: Whether to show a progress bar.

    Returns:
        The folder of all copies; and by their folders, why some copies could not be made.
    """
    root = _folder_of_set(base, song_set, originals)

    def make_one(folder: Path) -> None:
        paths = originals[folder]
        if _is_current(root / folder, paths, how):
            return
        if (root / folder).exists():
            discard(root / folder)
        before = identities(paths)
        with (
            whole_or_nothing(root / folder) as partial,
            tell_full_disk(partial / ORIGIN, UsageError),
        ):
            partial.mkdir()
            make(partial, paths)
            if not same_content(before, identities(paths, before)):
                raise UsageError(f"{paths[0]}: changed while it was copied; run again")
            _note(partial, how, before, identities(_files_in(partial), folder=partial))

    missing = [f for f, paths in originals.items() if not _is_as_noted(root / f, paths, how)]
    gone = _outdated(root, originals, songs)
    if not (missing or gone):
        return root, {}
    with locked(root / LOCK, wait=True):
        for folder in gone:
            if folder.exists():  # another process may have been first
                logger.info("%s: removed; its song is gone from %s or changed", folder, song_set)
                discard(folder)
        return root, failures(make_one, missing, title, jobs, progress)


def _is_as_noted(folder: Path, originals: Sequence[Path], how: str) -> bool:
    """Whether a copy is whole and of these originals, as far as can be told without reading."""
    origin, files = read_notes(folder / ORIGIN), _files_in(folder)
    made_from, own = origin.get("made from", {}), origin.get("files", {})
    return (
        origin.get("how") == how
        and _names(made_from) == {path.name for path in originals}
        and _names(own) == {path.name for path in files}
        and all(is_unchanged(path, made_from[path.name]) for path in originals)
        and all(is_unchanged(path, own[path.name], folder) for path in files)
    )


def _is_current(folder: Path, originals: Sequence[Path], how: str) -> bool:
    """Whether a copy is whole and of these originals, by their contents; notes new times."""
    origin = read_notes(folder / ORIGIN)
    if origin.get("how") != how:
        return False
    made_from = identities(originals, origin.get("made from"))
    files = identities(_files_in(folder), origin.get("files"), folder)
    same = same_content(made_from, origin.get("made from"))
    if not (same and same_content(files, origin.get("files"))):
        return False
    if os.access(folder, os.W_OK):
        _note(folder, how, made_from, files)
    return True


def _files_in(folder: Path) -> list[Path]:
    """The files of a copy."""
    paths = sorted(folder.glob("[!.]*"))
    return [path for path in paths if path.name != ORIGIN]


def _names(files: Any) -> set[str]:
    return set(files) if isinstance(files, dict) else set()


def _note(
    folder: Path, how: str, made_from: dict[str, Identity], files: dict[str, Identity]
) -> None:
    with whole_or_nothing(folder / ORIGIN) as partial:
        partial.write_text(json.dumps({"how": how, "made from": made_from, "files": files}))


def _outdated(root: Path, originals: Originals, songs: Collection[Path]) -> list[Path]:
    """Copies, in the subsets of some songs, that no run can use any more."""
    subsets = sorted({folder.parts[0] for folder in songs})
    paths = [path.parent for subset in subsets for path in root.glob(f"{subset}/*/{ORIGIN}")]
    unused = [path for path in paths if path.relative_to(root) not in originals]
    return [p for p in unused if p.relative_to(root) not in songs or not _is_of_its_files(p)]


def _is_of_its_files(folder: Path) -> bool:
    """Whether the files that a copy was made from are there, and have the same content."""
    noted = read_notes(folder / ORIGIN).get("made from")
    files = noted if isinstance(noted, dict) else {}
    paths = {Path(one["path"]): one for one in files.values() if isinstance(one, dict)}
    return all(path.is_file() for path in paths) and same_content(
        {path.name: identify(path, one) for path, one in paths.items()}, noted
    )


def _folder_of_set(base: Path, song_set: Path, originals: Originals) -> Path:
    """The folder for copies of a set: its own, that of before it was moved, or a new one."""
    own_name = str(song_set.resolve())
    for folder in _folders_beside(base):
        if _owner(folder) == own_name:
            return folder
    with locked(base / LOCK, wait=True):
        for folder in _folders_beside(base):
            owner = _owner(folder)
            if owner == own_name:  # another process was first
                return folder
            if owner and not Path(owner).exists() and _has_copies_of(folder, originals):
                return _claim(folder, own_name)
        if not _owner(base) and _is_ours(base):
            return _claim(base, own_name)
        folder, text = base, own_name
        while folder == base or folder.exists():
            digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
            folder, text = base.with_name(f"{base.name}-{digest}"), text + "/"
        logger.info("%s holds other files; copies of %s go to %s", base, song_set, folder.name)
        return _claim(folder, own_name)


def _folders_beside(base: Path) -> list[Path]:
    return [base, *sorted(base.parent.glob(f"{glob.escape(base.name)}-????????"))]


def _owner(folder: Path) -> str | None:
    """The set that a folder of copies belongs to."""
    return read_notes(folder / OWNER).get("set")


def _claim(folder: Path, song_set: str) -> Path:
    if folder.exists() and not os.access(folder, os.W_OK):
        return folder
    with whole_or_nothing(folder / OWNER) as partial:
        partial.write_text(json.dumps({"set": song_set}))
    return folder


def _is_ours(base: Path) -> bool:
    """Whether there is nothing in a folder, or copies from before folders had owners."""
    return not any(base.glob("[!.]*")) or any(base.glob(f"*/*/{ORIGIN}"))


def _has_copies_of(root: Path, originals: Originals) -> bool:
    """Whether one of the originals, at least, is what its copy was made from."""
    for folder, paths in originals.items():
        noted = read_notes(root / folder / ORIGIN).get("made from")
        sizes = {path.name: path.stat().st_size for path in paths}  # saves reading others
        if sizes == _sizes(noted) and same_content(identities(paths), noted):
            return True
    return False


def _sizes(files: Any) -> dict[str, Any]:
    noted = files.items() if isinstance(files, dict) else ()
    return {name: one.get("size") for name, one in noted if isinstance(one, dict)}
