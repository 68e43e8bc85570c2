"""The learning curve: what is logged an epoch, and how it is read back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class EpochSeconds(Callback):
    """Logs ``epoch_seconds``: the training batches of an epoch, without its validation."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        self._seconds = time.perf_counter() - self._start

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        pl_module.log("epoch_seconds", self._seconds)


def learning_curve(exp_dir: Path) -> list[dict[str, float]]:
    """The logged values of each epoch, over all runs of an experiment.

    Of an epoch that an interrupted run began and another repeated, the last one counts.

    Returns:
        One dictionary an epoch, in order: ``epoch`` and what was logged for it, among them
        ``loss_epoch``, ``val_loss`` and ``epoch_seconds``.
    """
    epochs: dict[int, dict[str, float]] = {}
    versions = (exp_dir / "logs" / "csv").glob("version_*/metrics.csv")
    for path in sorted(versions, key=lambda p: int(p.parent.name.split("_")[1])):
        try:
            table = pd.read_csv(path)
        except pd.errors.EmptyDataError:
            continue
        if "epoch" not in table:  # nor has the log of a run that ended within its first epoch
            continue
        for epoch, rows in table.groupby("epoch"):
            values = {column: rows[column].dropna() for column in rows}
            epochs[int(str(epoch))] = {
                str(column): float(series.iloc[-1])
                for column, series in values.items()
                if len(series)
            }
    return [epochs[epoch] for epoch in sorted(epochs)]
