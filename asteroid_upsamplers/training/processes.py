"""How many processes train together, who starts them, and how they end.

Lightning starts the processes of one machine itself; those of several are started by torchrun or
SLURM, which say so in the environment.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from pytorch_lightning.strategies import FSDPStrategy, Strategy
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from pytorch_lightning.utilities import rank_zero_only

from ..errors import UsageError, raise_terminated
from ..files import alone_in
from ..models import MusicSeparator
from .config import Config

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Processes:
    """Those that share a batch.

    Args:
        accelerator: ``"gpu"`` or ``"cpu"``.
        devices: Processes on each machine, one a device.
        nodes: Machines.
    """

    accelerator: str
    devices: int
    nodes: int

    @property
    def world(self) -> int:
        """All of them."""
        return self.devices * self.nodes


def planned_processes(conf: Config) -> Processes:
    """As torchrun or SLURM started them, else as ``training.devices`` and ``num_nodes`` ask.

    Raises:
        UsageError: If there are not as many GPUs.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    accelerator = "gpu" if gpus else "cpu"
    if TorchElasticEnvironment.detect():
        local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        devices, nodes = local, world // local
    elif SLURMEnvironment.detect():
        nodes = int(os.environ.get("SLURM_NNODES", "1"))
        tasks = os.environ.get("SLURM_NTASKS_PER_NODE")
        devices = int(tasks) if tasks else int(os.environ["SLURM_NTASKS"]) // nodes
    else:
        devices = conf["training"]["devices"] or max(1, gpus)
        nodes = conf["training"]["num_nodes"]
    if gpus and devices > gpus:
        raise UsageError(
            f"{devices} processes a machine (training.devices, or what started them), allowed are "
            f"up to {gpus}, one for each GPU"
        )
    return Processes(accelerator, devices, nodes)


def strategy_of(conf: Config, model: MusicSeparator, processes: Processes) -> str | Strategy:
    """How Lightning divides the work: DDP, or FSDP in the units of the network.

    Raises:
        UsageError: If FSDP is asked for where it cannot be.
    """
    training = conf["training"]
    if training["strategy"] != "fsdp":
        return training["strategy"]
    if processes.accelerator != "gpu":
        raise UsageError("training.strategy is 'fsdp', which needs GPUs; allowed here: auto or ddp")
    if training["ema"]:
        raise UsageError(
            "training.ema needs the whole weights on every device: with training.strategy 'fsdp' "
            "allowed is 0"
        )
    units = {type(block) for block in model.repeated_blocks}
    return FSDPStrategy(auto_wrap_policy=units, state_dict_type="full")


def environment_plugins() -> list[SLURMEnvironment]:
    """SLURM without Lightning's own requeueing.

    That one writes a checkpoint in the middle of an epoch, from which the epoch's other extracts
    could not be told; here a run goes on from the last whole epoch.
    """
    in_slurm = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()
    return [SLURMEnvironment(auto_requeue=False)] if in_slurm else []


@contextlib.contextmanager
def one_run_in(exp_dir: Path) -> Iterator[None]:
    """Keep other runs out of a folder; the processes of one run come in behind the first.

    Raises:
        UsageError: If another run is at work there.
    """
    first = not getattr(rank_zero_only, "rank", 0)
    with alone_in(exp_dir) if first else contextlib.nullcontext():
        yield


class EndOnSigterm(Callback):
    """Leave at once when asked to; the last whole epoch is on the disk.

    Lightning's own answer to SIGTERM is a collective operation from within the signal handler,
    which blocks for ever where the other processes are in another one.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        launcher = trainer.strategy.launcher

        def leave(*args: Any) -> None:
            if isinstance(launcher, _SubprocessScriptLauncher):
                launcher.kill(signal.SIGTERM)
            raise_terminated()

        signal.signal(signal.SIGTERM, leave)
