"""Writing files and folders so that a half-written one is never taken for a whole one."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import UsageError

logger = logging.getLogger(__name__)

PARTIAL = ".partial"
DISCARDED = ".discarded"
LOCK = ".lock"


@contextlib.contextmanager
def whole_or_nothing(path: str | os.PathLike) -> Iterator[Path]:
    """Give a path to write to that becomes ``path`` only when the block ends without an error.

    Works for a file and for a folder (which the block makes itself). What an interrupted run left
    behind is removed first; an existing ``path`` stays until it is replaced.

    Args:
        path: Where the finished file or folder shall be.

    Yields:
        A path beside it, ending in ``.partial``.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with whole_or_nothing(folder / "scores.json") as partial:
        ...     _ = partial.write_text("{}")
        >>> [p.name for p in folder.iterdir()]
        ['scores.json']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    _remove(partial)
    try:
        yield partial
        if path.is_dir():
            discard(path)
        os.replace(partial, path)
    except BaseException:
        _remove(partial)
        raise


@contextlib.contextmanager
def locked(path: Path, wait: bool) -> Iterator[None]:
    """Hold a lock file, so that of several processes one does what is inside; the dead hold none.

    Args:
        path: The lock file; its folder is made.
        wait: Whether to wait for another process that holds it.

    Raises:
        filelock.Timeout: If another process holds it, and ``wait`` is not set.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not wait:
                raise
            logger.info("%s: waiting for another process", path)
            lock.acquire()
    except NotImplementedError:
        logger.warning("%s: no locks on this file system, see that one run works here", path)
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
    """Turn what a library raises on a full disk, without saying so, into the ``OSError`` it is.

    Args:
        path: What is being written.
        *errors: What the library raises when it cannot write.

    Raises:
        OSError: ``ENOSPC``, if hardly anything is free where ``path`` is; else the error itself.
    """
    try:
        yield
    except errors:
        if shutil.disk_usage(path.parent).free < 2**24:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
        raise


def damage_of(path: Path) -> str | None:
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
    doomed = folder.with_name(folder.name + DISCARDED)
    _remove(doomed)
    os.replace(folder, doomed)
    _remove(doomed)


def is_leftover(path: Path) -> bool:
    """Whether a file or folder is what an interrupted run left behind."""
    return path.name.endswith((PARTIAL, DISCARDED))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
