"""The learning curve: what is kept of an epoch, and how it is read back."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from ..files import whole_or_nothing

CURVE = "learning_curve.json"


class LearningCurve(Callback):
    """Writes the values of every epoch before its checkpoint is written.

    So whatever ends a run, the curve has the epochs that the checkpoint has; of an epoch that is
    repeated, the last one counts. Loggers write theirs behind the checkpoint, and could lose them.

    Args:
        exp_dir: The experiment.
    """

    def __init__(self, exp_dir: Path):
        self.exp_dir = exp_dir
        self._validated: dict[str, float] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        before = trainer.current_epoch
        self._rows = [row for row in learning_curve(self.exp_dir) if row["epoch"] < before]

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        self._seconds = time.perf_counter() - self._start

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validated = {"val_loss": float(trainer.callback_metrics["val_loss"])}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        pl_module.log("epoch_seconds", self._seconds)
        logged = trainer.callback_metrics  # in all processes, which compute them together
        row = {"epoch": trainer.current_epoch, "epoch_seconds": self._seconds}
        row |= {name: float(logged[name]) for name in ("loss_epoch", "unreadable_segments")}
        self._rows.append(row | self._validated)
        self._validated = {}
        if trainer.is_global_zero:
            with whole_or_nothing(self.exp_dir / CURVE) as partial:
                partial.write_text(json.dumps(self._rows, indent=1))


def learning_curve(exp_dir: Path) -> list[dict[str, float]]:
    """The values of each epoch, over all runs of an experiment.

    Returns:
        One dictionary an epoch, in order: ``epoch``, ``epoch_seconds`` (of its training batches,
        without validation), ``loss_epoch``, ``unreadable_segments`` and, if the epoch was
        validated, ``val_loss``.
    """
    try:
        return json.loads((exp_dir / CURVE).read_text())
    except FileNotFoundError:
        return []
