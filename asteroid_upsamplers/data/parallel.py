"""Work on many songs at a time, in threads: the slow parts release the GIL."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tqdm.contrib.concurrent import thread_map

from ..errors import UsageError

Item = TypeVar("Item")


def cores() -> int:
    """CPU cores available to this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def for_each(
    function: Callable[[Item], Any],
    items: Sequence[Item],
    title: str,
    jobs: int | None = None,
    progress: bool = True,
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

    def attempt(item: Item) -> str | None:
        try:
            function(item)
        except UsageError as error:
            return str(error)
        return None

    if items:
        jobs = jobs or cores()
        results = thread_map(attempt, items, max_workers=jobs, desc=title, disable=not progress)
        raise_problems([problem for problem in results if problem], len(items), "files")


def raise_problems(problems: Sequence[str], tried: int, kind: str) -> None:
    """Say in one line what the first three problems are, and how many more there are.

    Args:
        problems: Nothing is raised if there are none.
        tried: How many things were tried.
        kind: What they are, such as ``"songs"``.

    Raises:
        UsageError: If there are problems.
    """
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UsageError(f"{len(problems)} of {tried} {kind}: {'; '.join(problems[:3])}{more}")
