"""What is noted of every epoch, and how a run ends that cannot go on."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from ..errors import TERMINATED, UsageError, one_line_errors, raise_terminated
from ..files import whole_or_nothing

CURVE = "learning_curve.json"


class LearningCurve(Callback):
    """Writes the values of every epoch before its checkpoint is written, and stops at NaN.

    So whatever ends a run, the curve has the epochs that the checkpoint has. Loggers write theirs
    after the checkpoint, and could lose them.

    Args:
        exp_dir: The experiment.
    """

    def __init__(self, exp_dir: Path):
        self.exp_dir = exp_dir
        self._validated: dict[str, float] = {}
        self._unreadable = 0

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
        self._validated = {"val_loss": _finite(trainer, "val_loss")}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loss = _finite(trainer, "loss_epoch")
        row = {"epoch": trainer.current_epoch, "epoch_seconds": self._seconds, "loss_epoch": loss}
        loader: Any = trainer.train_dataloader
        unreadable = loader.dataset.unreadable.sum().to(pl_module.device)
        total = int(trainer.strategy.reduce(unreadable, reduce_op="sum"))
        row["unreadable_segments"], self._unreadable = total - self._unreadable, total
        self._rows.append(row | self._validated)
        self._validated = {}
        if trainer.is_global_zero:
            with whole_or_nothing(self.exp_dir / CURVE) as partial:
                partial.write_text(json.dumps(self._rows, indent=1))


def _finite(trainer: pl.Trainer, name: str) -> float:
    value = float(trainer.callback_metrics[name])
    if not math.isfinite(value):
        raise UsageError(
            f"{name} is {value}, not finite, in epoch {trainer.current_epoch + 1}: choose another "
            "--tag and lower optim.lr, or set training.gradient_clip"
        )
    return value


def learning_curve(exp_dir: Path) -> list[dict[str, float]]:
    """The values of each epoch, over all runs of an experiment.

    Returns:
        One dictionary an epoch, in order: ``epoch`` (from 0), ``epoch_seconds`` (of its training
        batches, without validation), ``loss_epoch``, ``unreadable_segments`` (other songs stood in
        for them) and, if the epoch was validated, ``val_loss``.
    """
    try:
        return json.loads((exp_dir / CURVE).read_text())
    except FileNotFoundError:
        return []


class MovableCheckpoint(ModelCheckpoint):
    """Knows the lowest validation loss so far also in a folder that was moved.

    Lightning forgets it when the folder's path has changed.
    """

    @property
    def state_key(self) -> str:
        """That of Lightning's own class, whose state the checkpoints of version 0.1 hold."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The state of an earlier run, at the path where the folder is now."""

        def here(path: str) -> str:
            return os.path.join(str(self.dirpath), os.path.basename(path)) if path else path

        paths = {
            name: here(state_dict[name]) for name in ("best_model_path", "kth_best_model_path")
        }
        best = {here(path): score for path, score in state_dict["best_k_models"].items()}
        moved = {"dirpath": self.dirpath, "best_k_models": best, **paths}
        super().load_state_dict({**state_dict, **moved})


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
