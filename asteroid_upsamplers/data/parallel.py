"""Work on many songs at a time, in threads: what is slow in it holds no lock of Python's."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, TypeVar

from tqdm import tqdm

from ..errors import UsageError
from .songs import shorten

Item = TypeVar("Item")


def cores() -> int:
    """Those that this process may use, which a cluster can make fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def for_each(
    function: Callable[[Item], Any],
    items: Sequence[Item],
    title: str,
    jobs: int | None,
    progress: bool,
) -> None:
    """Call ``function`` on every item, and report what failed when all others are done.

    Args:
        function: May raise a :class:`UsageError`.
        items: What to call it on.
        title: Of the progress bar.
        jobs: Threads; one a core if ``None``.
        progress: Whether to show a progress bar.

    Raises:
        UsageError: The first of the problems, and how many more there are.
    """
    if not items:
        return
    problems = []
    with ThreadPoolExecutor(jobs or cores()) as pool:
        futures = [pool.submit(function, item) for item in items]
        try:
            bar = tqdm(as_completed(futures), title, len(futures), disable=not progress)
            for future in bar:
                try:
                    future.result()
                except UsageError as error:
                    problems.append(str(error))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if problems:
        raise UsageError(f"{len(problems)} of {len(items)} files: {shorten(sorted(problems))}")
