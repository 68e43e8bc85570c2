"""Training checkpoints: written whole, read as plain values, the one before the last kept.

``last.ckpt`` is what a run goes on from. If it is damaged, ``previous.ckpt`` is taken, which is one
epoch older; so one bad block of a disk costs an epoch, not a training.
"""

from __future__ import annotations

import logging
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from ..errors import UsageError
from ..files import damage_of, tell_full_disk, whole_or_nothing

logger = logging.getLogger(__name__)

LAST, PREVIOUS = "last", "previous"


def newest_checkpoint(folder: Path, epochs: int) -> Path | None:
    """The checkpoint to go on from, ``None`` if there is none; a damaged one is named.

    Args:
        folder: Of the checkpoints.
        epochs: How many epochs are wanted in all.

    Raises:
        UsageError: If none of those that are there can be used, with the reason for the newest; or
            if it has more epochs than are wanted.
    """
    problems: list[UsageError] = []
    for path in (folder / f"{LAST}.ckpt", folder / f"{PREVIOUS}.ckpt"):
        if not path.exists():
            continue
        try:
            done = load_checkpoint(path)["epoch"] + 1
        except UsageError as error:
            problems.append(error)
            continue
        if problems:
            logger.warning("%s; going on from %s", problems[0], path)
        if done > epochs:
            raise UsageError(f"training.epochs is {epochs}, but {path} has {done} already")
        return path
    if problems:
        raise problems[0]
    return None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a training checkpoint, every byte of it checked; never runs code in it.

    Raises:
        UsageError: If it is no whole checkpoint, or holds pickled code.
    """
    advice = "delete it to train from the start"
    damage = damage_of(path)
    if damage is not None:
        raise UsageError(f"{path}: damaged ({damage}); {advice}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError:
        raise UsageError(
            f"{path}: refused, it is no checkpoint or holds pickled code; {advice}"
        ) from None
    except (RuntimeError, EOFError, ValueError):
        raise UsageError(f"{path}: not a whole checkpoint; {advice}") from None
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise UsageError(f"{path}: not a training checkpoint; {advice}")
    return checkpoint


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all, and keeps the one that ``last.ckpt`` replaces."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        path = Path(path)
        save_whole(checkpoint, path, path.with_stem(PREVIOUS) if path.stem == LAST else None)


def save_whole(content: dict[str, Any], path: Path, previous: Path | None = None) -> None:
    """``torch.save``, so that a half-written file is never taken for a whole one.

    Args:
        content: Plain values and tensors.
        path: Where to write.
        previous: Where to keep what is there, if anything is.
    """
    with whole_or_nothing(path) as partial, tell_full_disk(partial, RuntimeError):
        torch.save(content, partial)
        if previous is not None and path.exists():
            os.replace(path, previous)
