"""What is noted of every epoch, and how a run ends that cannot go on."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint, WeightAveraging
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from ..errors import TERMINATED, UsageError, one_line_errors, raise_terminated
from ..files import write_json
from .checkpoints import (
    BEST,
    CHECKPOINTS,
    CURVE,
    LAST,
    best_so_far,
    learning_curve,
    not_finite,
    save_whole,
)

logger = logging.getLogger(__name__)


class StopNotFinite(Callback):
    """Ends a training that cannot get better: a loss, weight or moment is NaN or infinite.

    All processes look before a validation, after it, and at the end of an epoch, and all of them
    stop, so that the checkpoints of the epochs before stay. It stands before callbacks that write.
    """

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._check(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._check(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._check(trainer, pl_module)

    def _check(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        found = {
            f"{name.removesuffix('_step').removesuffix('_epoch')} is {float(loss)}": None
            for name, loss in trainer.callback_metrics.items()
            if not loss.isfinite()
        }
        state = {
            "weight": pl_module.state_dict(),
            "optimizer": [optimizer.state_dict()["state"] for optimizer in trainer.optimizers],
        }
        if (name := not_finite(state)) is not None:
            found[f"{name} has NaN or infinite numbers"] = None
        somewhere = torch.tensor(float(bool(found)), device=pl_module.device)
        if trainer.strategy.reduce(somewhere, reduce_op="sum") > 0:
            what = ", ".join(found) or "NaN in another process"
            raise UsageError(
                f"epoch {trainer.current_epoch + 1}: {what}; training stops, and what was written "
                "before stays. With another --tag, lower optim.lr or clip gradients "
                "(training.gradient_clip)"
            )


class LearningCurve(Callback):
    """Writes the values of every epoch before its checkpoint is written, which holds them too.

    So whatever ends a run, the curve has the epochs that the checkpoint has. Loggers write theirs
    after the checkpoint, and could lose them.

    Args:
        exp_dir: The experiment.
    """

    def __init__(self, exp_dir: Path):
        self.exp_dir = exp_dir
        self._rows: list[dict[str, float]] = []
        self._validated: dict[str, float] = {}
        self._unreadable = 0

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self._rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._rows = state_dict["rows"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._rows:  # checkpoints of earlier versions hold none
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
        loss = float(trainer.callback_metrics["loss_epoch"])
        row = {"epoch": trainer.current_epoch, "epoch_seconds": self._seconds, "loss_epoch": loss}
        loader: Any = trainer.train_dataloader
        unreadable = loader.dataset.unreadable.sum().to(pl_module.device)
        total = int(trainer.strategy.reduce(unreadable, reduce_op="sum"))
        row["unreadable_segments"], self._unreadable = total - self._unreadable, total
        self._rows.append(row | self._validated)
        self._validated = {}
        if trainer.is_global_zero:
            write_json(self.exp_dir / CURVE, self._rows, indent=1)


class Checkpoints(Checkpoint):
    """Writes the weights of the lowest validation loss, and every so often all that a run needs.

    Lightning's own callback would forget the lowest loss where the folder has moved, and writes the
    optimizer's moments into every file.

    Args:
        exp_dir: The experiment; its folder ``checkpoints`` gets ``best.ckpt`` and ``last.ckpt``.
        every: Epochs between two ``last.ckpt``; the last epoch always has one.
    """

    def __init__(self, exp_dir: Path, every: int = 1):
        self.exp_dir, self.folder, self.every = exp_dir, exp_dir / CHECKPOINTS, every
        self.lowest = math.inf

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch and trainer.is_global_zero:
            best = best_so_far(self.exp_dir)
            if best is None:
                logger.warning(
                    "%s: the best model is that of the epochs from here on", self.exp_dir
                )
            self.lowest = best["val_loss"] if best else math.inf

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        loss = float(trainer.callback_metrics["val_loss"])
        if loss < self.lowest:
            self.lowest = loss
            content = {"state_dict": pl_module.state_dict()}
            callbacks: Any = trainer.callbacks  # type: ignore[attr-defined]
            for callback in callbacks:  # the average is what was validated
                if isinstance(callback, WeightAveraging):
                    callback.on_save_checkpoint(trainer, pl_module, content)
            best = {"epoch": trainer.current_epoch, "val_loss": loss}
            save_whole({**best, "state_dict": content["state_dict"]}, self.folder / f"{BEST}.ckpt")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        done = trainer.current_epoch + 1
        if done % self.every == 0 or done == trainer.max_epochs or trainer.should_stop:
            trainer.save_checkpoint(self.folder / f"{LAST}.ckpt", weights_only=False)


class EndTogether(Callback):
    """No process of a run outlives the first, and SIGTERM ends all of them at once.

    The last whole epoch is on the disk. Lightning's own answer to SIGTERM is a collective operation
    within the signal handler, which blocks for ever where the other processes are in another one.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        def leave(*args: Any) -> None:
            _kill_children(trainer)
            if trainer.world_size > 1:  # tearing down would wait for sums that never complete
                with contextlib.suppress(SystemExit), one_line_errors():
                    raise_terminated()
                os._exit(TERMINATED)
            raise_terminated()

        signal.signal(signal.SIGTERM, leave)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        _kill_children(trainer)


def _kill_children(trainer: pl.Trainer) -> None:
    """The processes that this one started: one that waits for a GPU would hear nothing else."""
    launcher = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        launcher.kill(signal.SIGKILL)
