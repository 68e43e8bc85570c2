"""Work on many songs at a time, in threads: the slow parts release the GIL."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from tqdm.contrib.concurrent import thread_map

from ..errors import UsageError

Item = TypeVar("Item", bound=Hashable)


def cores() -> int:
    """CPU cores available to this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def failures(
    function: Callable[[Item], Any],
    items: Sequence[Item],
    title: str,
    jobs: int | None = None,
    progress: bool = True,
) -> dict[Item, str]:
    """Call ``function`` on every item, and say on which it failed.

    Args:
        function: May raise a :class:`UsageError`.
        items: What to call it on.
        title: Of the progress bar.
        jobs: Threads; one a core if ``None``.
        progress: Whether to show a progress bar.

    Returns:
        The message of the error of each item on which it failed.
    """

    def attempt(item: Item) -> str | None:
        try:
            function(item)
        except UsageError as error:
            return str(error)
        return None

    if not items:
        return {}
    jobs = jobs or cores()
    results = thread_map(
        attempt, items, max_workers=jobs, desc=title, disable=not progress, delay=1
    )
    return {item: problem for item, problem in zip(items, results, strict=True) if problem}
