"""Which content a file has, so that what is made of it can be made again when that changes.

Size and times alone do not tell: ``cp -p``, ``rsync -a`` and unpacked archives keep the times, and
songs of the same length have the same size. The content's digest does, but a set of 30 GB takes
minutes to read. So a file counts as unchanged, without being read, where its path, size, time of
modification, time of status change (which no program can set) and inode are those noted before;
where one of them differs, its digest decides. A set that was moved or copied is read once more and
is the same set.
"""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import UsageError

Identity = dict[str, Any]
"""``path``, ``size``, ``mtime_ns``, ``ctime_ns``, ``inode`` and ``digest`` of a file."""

SETTLED_NS = 2 * 10**9
"""A file that changed so recently may change again without a new time: disks have coarse clocks."""

_BLOCK = 2**20


def stamp(path: Path, folder: Path | None = None) -> Identity:
    """What :func:`is_unchanged` compares, to be noted before a file is read."""
    now = _stamp(path, folder)
    if folder is None and time.time_ns() - now["ctime_ns"] < SETTLED_NS:
        now["ctime_ns"] = None  # equals none: the file is read again next time
    return now


def is_unchanged(path: Path, known: Any, folder: Path | None = None) -> bool:
    """Whether a file is the one that was noted, as far as can be told without reading it."""
    try:
        now = _stamp(path, folder)
    except OSError:
        return False
    # an older version noted lists
    return isinstance(known, dict) and all(known.get(key) == now[key] for key in now)


def identify(path: Path, known: Any = None, folder: Path | None = None) -> Identity:
    """The identity of a file, which is read unless it is as ``known`` says.

    Args:
        path: The file.
        known: Its identity as noted before.
        folder: Where given, the path is noted relative to this folder, so that a whole folder may
            be renamed; and changes right after the note are taken to be impossible.

    Raises:
        UsageError: If the file cannot be read.
    """
    if is_unchanged(path, known, folder):
        return known
    try:
        now = stamp(path, folder)
        read = _digest.__wrapped__ if now["ctime_ns"] is None else _digest
        return now | {"digest": read(path, tuple(now.values()))}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error


def identities(
    paths: Iterable[Path], known: Any = None, folder: Path | None = None
) -> dict[str, Identity]:
    """The identity of each of some files, by name; arguments as :func:`identify` takes them."""
    known = known if isinstance(known, dict) else {}
    return {path.name: identify(path, known.get(path.name), folder) for path in paths}


def same_content(first: Any, second: Any) -> bool:
    """Whether noted files have the same names and contents."""
    return _digests(first) == _digests(second) != {}


def changed_since(
    known: Any, files: Mapping[str, Iterable[Path]]
) -> tuple[dict[str, dict[str, Identity]], set[str]]:
    """Compare groups of files, such as those of each song, with what was noted of them.

    Args:
        known: What this function gave before; anything else counts as nothing.
        files: By the name of a group.

    Returns:
        What to note, and the names of the groups that are new or have another content.
    """
    known = known if isinstance(known, dict) else {}
    now = {name: identities(paths, known.get(name)) for name, paths in files.items()}
    return now, {name for name in now if not same_content(now[name], known.get(name))}


def read_notes(path: Path) -> dict[str, Any]:
    """What was noted in a JSON file; nothing if it is missing or damaged."""
    try:
        notes = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def _digests(files: Any) -> dict[str, Any]:
    noted = files.items() if isinstance(files, dict) else ()
    return {name: one.get("digest") for name, one in noted if isinstance(one, dict)}


def _stamp(path: Path, folder: Path | None) -> Identity:
    state = path.stat()
    return {
        "path": str(path.resolve() if folder is None else path.relative_to(folder)),
        "size": state.st_size,
        "mtime_ns": state.st_mtime_ns,
        "ctime_ns": state.st_ctime_ns,
        "inode": state.st_ino,
    }


@functools.lru_cache(maxsize=2**16)
def _digest(path: Path, stamp: tuple) -> str:
    """Of the content; read once in a process, as long as ``stamp`` stays."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
