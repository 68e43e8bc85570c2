"""Training checkpoints: written whole, read as plain values, the one before the last kept.

``last.ckpt`` is what a run goes on from. If it is damaged, or holds NaN, ``previous.ckpt`` is
taken, the one before; so one bad block of a disk costs an epoch, not a training. ``best.ckpt``
holds weights only, with their epoch and validation loss.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import sys
from pathlib import Path
from typing import Any, NoReturn

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor

from ..errors import UsageError
from ..files import damage_of, tell_full_disk, whole_or_nothing

logger = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
LAST, PREVIOUS, BEST = "last", "previous", "best"
CURVE = "learning_curve.json"
BEST_MODEL = "best_model.pth"
SUMMARY = "training.json"
NUMBERS = ("state_dict", "current_model_state", "averaging_state", "optimizer_states")
"""The parts of a checkpoint in which every number is finite."""


def newest_checkpoint(folder: Path, epochs: int, every: int = 1) -> Path | None:
    """The checkpoint to go on from, ``None`` if there is none; a damaged one is named.

    Args:
        folder: Of the checkpoints.
        epochs: How many epochs are wanted in all.
        every: Epochs between two checkpoints.

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
    best = folder / f"{BEST}.ckpt"
    if best.exists() and load_checkpoint(best)["epoch"] >= every:  # a first epoch may have been cut
        raise UsageError(
            f"{folder}: there is {best.name}, but neither {LAST}.ckpt nor {PREVIOUS}.ckpt to go on "
            "from; put one back, or delete the folder to train from the start"
        )
    return None


def is_over(path: Path, epochs: int, early_stop: int | None) -> bool:
    """Whether nothing is left to train behind a checkpoint that :func:`newest_checkpoint` gave.

    Args:
        path: The checkpoint.
        epochs: How many epochs are wanted in all.
        early_stop: After how many validations without a better loss a training stops.
    """
    checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    waited = [
        state["wait_count"]
        for key, state in checkpoint["callbacks"].items()
        if key.startswith("EarlyStopping")
    ]
    stopped = early_stop is not None and bool(waited) and max(waited) >= early_stop
    return stopped or checkpoint["epoch"] + 1 >= epochs


def epochs_of(exp_dir: Path) -> int:
    """How many epochs an experiment was trained for, as its newest checkpoint says."""
    path = newest_checkpoint(exp_dir / CHECKPOINTS, sys.maxsize)
    return load_checkpoint(path)["epoch"] + 1 if path else 0


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
    if not isinstance(checkpoint, dict) or not checkpoint.keys() >= {"state_dict", "epoch"}:
        raise UsageError(f"{path}: not a training checkpoint; {advice}")
    name = not_finite({part: checkpoint[part] for part in NUMBERS if part in checkpoint})
    if name is not None:
        raise UsageError(f"{path}: {name} has numbers that are not finite; {advice}")
    return checkpoint


def not_finite(content: Any, name: str = "") -> str | None:
    """Where NaN or infinity stands first in nested dictionaries and lists of tensors."""
    if isinstance(content, Tensor):
        return None if content.isfinite().all() else name
    parts: Any = ()
    if isinstance(content, dict):
        parts = content.items()
    elif isinstance(content, (list, tuple)):
        parts = enumerate(content)
    found = (not_finite(part, f"{name}.{key}" if name else str(key)) for key, part in parts)
    return next((where for where in found if where is not None), None)


def best_so_far(exp_dir: Path) -> dict[str, Any] | None:
    """The best epoch's ``epoch`` (from 0), ``val_loss`` and ``state_dict``; ``None`` if unknown.

    From ``best.ckpt``, wherever the experiment is now; if that cannot be used, which is said, from
    the model that an earlier, shorter training left.
    """
    path = exp_dir / CHECKPOINTS / f"{BEST}.ckpt"
    try:
        best = load_checkpoint(path)
        if "val_loss" not in best:  # written by an earlier version
            losses = {row["epoch"]: row.get("val_loss") for row in learning_curve(exp_dir)}
            best["val_loss"] = losses[best["epoch"]]
        return best
    except FileNotFoundError:
        logger.warning("%s: missing", path)
    except UsageError as error:
        logger.warning("%s", error)
    except KeyError:
        logger.warning("%s: its loss is not in %s", path, CURVE)
    try:
        summary = read_json(exp_dir / SUMMARY)
        saved = torch.load(exp_dir / BEST_MODEL, map_location="cpu", weights_only=True)
        weights = {f"model.{name}": weight for name, weight in saved["state_dict"].items()}
        loss, epoch = summary["best_val_loss"], summary["best_epoch"] - 1
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError):
        return None
    return {"epoch": epoch, "val_loss": loss, "state_dict": weights}


def learning_curve(exp_dir: Path) -> list[dict[str, float]]:
    """The values of each epoch, over all runs of an experiment.

    From ``learning_curve.json``; if that is missing or damaged, from ``last.ckpt``.

    Returns:
        One dictionary an epoch, in order: ``epoch`` (from 0), ``epoch_seconds`` (of its training
        batches, without validation), ``loss_epoch``, ``unreadable_segments`` (other songs stood in
        for them) and, if the epoch was validated, ``val_loss``.
    """
    try:
        rows = read_json(exp_dir / CURVE)
        return sorted(rows, key=lambda row: row["epoch"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    try:
        last = load_checkpoint(exp_dir / CHECKPOINTS / f"{LAST}.ckpt")
        return last["callbacks"]["LearningCurve"]["rows"]
    except (FileNotFoundError, UsageError, KeyError):
        return []


def read_json(path: Path) -> Any:
    """A JSON file, in which NaN and Infinity are no numbers.

    Raises:
        ValueError: If it is no JSON.
    """

    def refuse(word: str) -> NoReturn:
        raise ValueError(f"{path}: {word} is no number of JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


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
