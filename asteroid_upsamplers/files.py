"""Names that are safe to write to, and no half-written file or folder taken for a whole one."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import shutil
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PureWindowsPath
from typing import IO, Any

from filelock import FileLock, Timeout

from .errors import UsageError

logger = logging.getLogger(__name__)

PARTIAL = ".partial"
LOCK = ".lock"

LONGEST_NAME = 100
"""Bytes of a name that becomes a part of a file name, of which 255 are possible."""


def file_names(what: str, names: Any) -> tuple[str, ...]:
    """Names that others chose and that files are named after; each must be plain on every system.

    A name from a model file or a configuration must never choose the folder that is written to.
    Refused are separators and the other signs that Windows forbids, ``.``, ``..``, names of devices
    (``con.txt`` is one), spaces or dots at an end, control and invisible characters (those that
    reverse the direction of writing, too), more than 100 bytes, and names that some file systems
    take for the same one: which differ in upper and lower case, or in how Unicode writes an accent.

    Args:
        what: What they name, for the message, such as ``"DemucsLike: sources"``.
        names: A list or tuple of at least one.

    Raises:
        UsageError: Naming the first that cannot be used, and why.

    Example:
        >>> file_names("sources", ["vocals", "../vocals"])
        Traceback (most recent call last):
        asteroid_upsamplers.errors.UsageError: sources: '../vocals' cannot be part of a file name: \
it contains '/'
    """
    if not isinstance(names, Sequence) or isinstance(names, (str, bytes)) or not names:
        raise UsageError(f"{what} is {names!r:.80}, must be a list of at least one name")
    seen: dict[str, str] = {}
    for name in names:
        reason = _unfit(name)
        if reason:
            raise UsageError(f"{what}: {name!r:.80} cannot be part of a file name: {reason}")
        same = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
        if same in seen:
            raise UsageError(f"{what} must be different names, {seen[same]!r} and {name!r} are not")
        seen[same] = name
    return tuple(names)


def _unfit(name: Any) -> str | None:
    if not isinstance(name, str):
        return f"it is of type {type(name).__name__}"
    for sign in name:
        if sign in '/\\:*?"<>|':
            return f"it contains {sign!r}"
        if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            return f"it contains the invisible character U+{ord(sign):04X}"
    if not name.strip(". "):
        return "it is empty, or dots and spaces"
    if name != name.strip() or name.endswith("."):
        return "it begins or ends with a space or ends with a dot"
    if len(name.encode()) > LONGEST_NAME:
        return f"it has more than {LONGEST_NAME} bytes"
    if PureWindowsPath(name).is_reserved():
        return "Windows has a device of this name"
    return None


@contextlib.contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A hidden folder for what is half done, of this run alone, removed when the block ends.

    Those of runs that were killed are removed first: nobody holds their lock any more.

    Args:
        parent: Where it is made, on the disk where the results shall be; made if it is missing.

    Raises:
        UsageError: If ``parent`` is a file, or is to be made below one.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{error.filename}: must be a folder, and cannot be made one") from error
    for leftover in parent.glob(f".*{PARTIAL}"):
        if (leftover / LOCK).is_file() and (lock := _taken(leftover)):
            lock.release()
            shutil.rmtree(leftover, ignore_errors=True)
    while True:
        folder = Path(tempfile.mkdtemp(PARTIAL, ".", parent))
        lock = _taken(folder)
        if lock is not None and folder.is_dir():  # another run may have been faster to lock it
            break
    try:
        yield folder
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def _taken(folder: Path) -> FileLock | None:
    """The lock of a scratch folder; ``None`` if another run holds it, or has removed the folder."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except (Timeout, FileNotFoundError):
        return None
    except NotImplementedError:  # no locks on this file system
        pass
    return lock


@contextlib.contextmanager
def whole_or_nothing(path: str | os.PathLike) -> Iterator[Path]:
    """Give a path to write to that becomes ``path`` only when the block ends without an error.

    Works for a file and for a folder (which the block makes itself). An existing ``path`` stays
    until it is replaced. Several runs may write the same ``path``: the last one counts.

    Args:
        path: Where the finished file or folder shall be.

    Yields:
        A path of the same name in a :func:`scratch_folder` beside it.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> with whole_or_nothing(folder / "scores.json") as partial:
        ...     _ = partial.write_text("{}")
        >>> [p.name for p in folder.iterdir()]
        ['scores.json']
    """
    path = Path(path)
    with scratch_folder(path.parent) as scratch:
        (scratch / "new").mkdir()
        partial = scratch / "new" / path.name
        yield partial
        if path.is_dir():
            os.replace(path, scratch / "old")
        os.replace(partial, path)


def json_text(content: Any, indent: int | None = 2) -> str:
    """Plain values as JSON that every program reads, which has no NaN and no infinities.

    Args:
        content: Dictionaries, lists, texts, numbers, ``None``.
        indent: As in ``json.dumps``.

    Raises:
        UsageError: (a ``ValueError``) for a number that JSON does not have, naming its key.

    Example:
        >>> json_text({"scores": [1.0, float("nan")]})
        Traceback (most recent call last):
        asteroid_upsamplers.errors.UsageError: scores.1 is nan, which no JSON file can hold
    """
    for place, number in _numbers(content, ()):
        if not math.isfinite(number):
            name = ".".join(map(str, place))
            raise UsageError(f"{name} is {number}, which no JSON file can hold")
    return json.dumps(content, indent=indent, allow_nan=False) + "\n"


def write_json(path: str | os.PathLike, content: Any, indent: int | None = 2) -> None:
    """Write :func:`json_text` to a file, whole or not at all."""
    text = json_text(content, indent)
    with whole_or_nothing(path) as partial:
        partial.write_text(text)


def _numbers(content: Any, place: tuple) -> Iterator[tuple[tuple, float]]:
    """All floats in plain values, with the keys and indices that lead to them."""
    if isinstance(content, float):
        yield place, content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from _numbers(value, (*place, key))
    elif isinstance(content, (list, tuple)):
        for index, value in enumerate(content):
            yield from _numbers(value, (*place, index))


@contextlib.contextmanager
def locked(path: Path, wait: bool) -> Iterator[None]:
    """Hold a lock file, so that of several processes one does what is inside; the dead hold none.

    Args:
        path: The lock file; its folder is made.
        wait: Whether to wait for another process that holds it. If so, a folder that cannot be
            written needs no lock: who finds all there goes on, anybody else fails at writing.

    Raises:
        filelock.Timeout: If another process holds it, and ``wait`` is not set.
    """
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not wait:
                raise
            logger.info("%s: waiting for another process", path)
            lock.acquire()
    except NotImplementedError:
        logger.warning("%s: no locks on this file system, see that one run works here", path)
    except OSError:
        if not wait or os.access(path.parent, os.W_OK):
            raise
        logger.debug("%s: read-only, so that no run can write here", path.parent)
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder.

    Raises:
        UsageError: If another run is at work there.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / LOCK, wait=False))
        except Timeout:
            raise UsageError(
                f"{folder}: another run is at work here; wait for its end, or choose another --tag"
            ) from None
        yield


@contextlib.contextmanager
def tell_full_disk(path: Path, *errors: type[Exception]) -> Iterator[None]:
    """Turn what a library raises when it cannot write, without saying why, into the ``OSError``.

    Args:
        path: What is being written.
        *errors: What the library raises.

    Raises:
        OSError: What the system says when more is written there: that the disk or the user's share
            of it is full, the file too large, the folder gone; else the error itself.
    """
    try:
        yield
    except errors:
        _write_more(path)
        raise


def _write_more(path: Path) -> None:
    try:
        with path.open("ab", buffering=0) as file:
            for _ in range(2**8):
                file.write(bytes(2**16))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def damage_of(path: Path | IO[bytes]) -> str | None:
    """What is wrong with a zip archive, such as ``torch.save`` writes; ``None`` if nothing is.

    Every byte is read: torch itself does not look at the checksums.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
    except (FileNotFoundError, PermissionError):
        raise
    except (zipfile.BadZipFile, EOFError, ValueError, RuntimeError, OSError) as error:
        return str(error)
    return None if part is None else f"checksum of {part}"


def discard(folder: Path) -> None:
    """Remove a folder that was whole: renamed first, so that half of it is never taken for all."""
    with scratch_folder(folder.parent) as scratch:
        os.replace(folder, scratch / "old")
