"""Errors that a user can put right, and how a command line shows them."""

from __future__ import annotations

import contextlib
import errno
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, NoReturn


class UsageError(ValueError):
    """A setting, file or folder that the user can put right.

    The message is shown as it is, so it says in one line what is wrong, where, and what is allowed.
    """


LONGEST_REASON = 300
"""Characters."""


def one_line(error: BaseException) -> str:
    """All that an exception says, in one line; of a long text the middle is left out.

    Its type stands before it where the text alone says nothing (``KeyError: 'weight'``). Signs that
    a terminal would obey are spelled out.
    """
    text = printable(" ".join(str(error).split()))
    if not text or isinstance(error, LookupError):
        text = f"{type(error).__name__}: {text}".removesuffix(": ")
    if len(text) > LONGEST_REASON:
        text = f"{text[: LONGEST_REASON - 100].rstrip()} ... {text[-95:].lstrip()}"
    return text


def is_out_of_memory(error: BaseException) -> bool:
    """Whether no memory was found, such as for a tensor on a GPU or on the CPU."""
    by_type = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return by_type or any(words in str(error) for words in _NO_MEMORY)


_NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "ALLOC_FAILED",
)
TERMINATED = 143
"""Exit status of a process that SIGTERM ended."""
PIPE_CLOSED = 141
"""Exit status of a process that SIGPIPE ended."""


class Terminated(BaseException):
    """The process was asked to end (SIGTERM), as a cluster does when a job's time is over."""


def raise_terminated(*args: Any) -> NoReturn:
    """A handler for SIGTERM: what is half done is put away on the way out, as for Ctrl-C.

    Raises:
        Terminated: Always.
    """
    raise Terminated


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what a user can cause into one line on standard error and an exit status.

    Exit status: 2 for a :class:`UsageError`, 1 for a failing disk, 130 for Ctrl-C, 143 for SIGTERM,
    141 without a line for a reader that closed the pipe.
    Any other exception is a mistake of ours and keeps its traceback.
    """
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, raise_terminated) if in_main else None
    try:
        yield
    except UsageError as error:
        _leave(2, f"error: {error}")
    except Terminated:
        _leave(TERMINATED, "terminated: run the same command again to go on")
    except KeyboardInterrupt:
        _leave(130, "interrupted: run the same command again to go on")
    except BrokenPipeError:  # whoever read our output has seen enough, as ``head`` has
        sys.exit(PIPE_CLOSED)
    except FileExistsError as error:
        _leave(2, f"error: {error.filename}: is a file, must be a folder")
    except OSError as error:
        if error.errno not in DISK_TROUBLE:
            raise
        where = f": {error.filename}" if error.filename else ""
        _leave(1, f"error: {error.strerror}{where}; put it right and run again to go on")
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, before)


DISK_TROUBLE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EPERM, errno.EIO),
    *(errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP),
)
"""What :func:`one_line_errors` shows in one line, and what is no mistake of ours."""


def printable(text: str) -> str:
    """Text whose line ends and control characters, as names of files may have, are spelled out.

    Example:
        >>> printable("a\\nb.wav")
        'a\\\\nb.wav'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _leave(status: int, line: str) -> None:
    sys.stderr.write(printable(line) + "\n")
    sys.exit(status)
