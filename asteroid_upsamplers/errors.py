"""Errors that a user can put right, and how a command line shows them."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Iterator


class UsageError(ValueError):
    """A setting, file or folder that the user can put right.

    The message is shown as it is, so it says in one line what is wrong, where, and what is allowed.
    """


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what a user can cause into one line on standard error and an exit status.

    Exit status: 2 for a :class:`UsageError`, 1 for a failing disk, 130 for Ctrl-C. Any other
    exception is a mistake of ours and keeps its traceback.
    """
    try:
        yield
    except UsageError as error:
        _leave(2, f"error: {error}")
    except KeyboardInterrupt:
        _leave(130, "interrupted: run the same command again to go on")
    except OSError as error:
        if error.errno not in _DISK_TROUBLE:
            raise
        where = f": {error.filename}" if error.filename else ""
        _leave(1, f"error: {error.strerror}{where}; put it right and run again to go on")


_DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM)


def _leave(status: int, line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.exit(status)
