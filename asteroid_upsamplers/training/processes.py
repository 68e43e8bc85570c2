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
from pytorch_lightning.strategies import DDPStrategy, FSDPStrategy, Strategy
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from pytorch_lightning.utilities import rank_zero_only
from torch.distributed.fsdp import MixedPrecision

from ..errors import TERMINATED, UsageError, one_line_errors, raise_terminated
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
        UsageError: If there are not as many GPUs, or nobody started the other machines' processes.
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
        nodes = conf["training"]["num_nodes"]
        if nodes > 1 and "NODE_RANK" not in os.environ:
            raise UsageError(
                f"training.num_nodes is {nodes}, but nothing started this process as one of "
                "several machines': start it with torchrun or SLURM's srun"
            )
        devices = conf["training"]["devices"] or _fitting_devices(conf, gpus)
    if gpus and devices > gpus:
        raise UsageError(
            f"{devices} processes a machine (training.devices, or what started them), allowed are "
            f"up to {gpus}, one for each GPU"
        )
    return Processes(accelerator, devices, nodes)


def _fitting_devices(conf: Config, gpus: int) -> int:
    """As many of the GPUs as can share a batch in whole groups of the remix augmentation."""
    training = conf["training"]
    parts = training["num_nodes"] * training["accumulate"] * conf["augmentation"]["remix_group"]
    fitting = [n for n in range(1, gpus + 1) if training["batch_size"] % (n * parts) == 0]
    devices = max(fitting, default=1)
    if devices < gpus:
        logger.info("training on %d of %d GPUs, which can share a batch evenly", devices, gpus)
    return devices


def strategy_of(conf: Config, model: MusicSeparator, processes: Processes) -> str | Strategy:
    """How Lightning divides the work: DDP, or FSDP in the units of the network.

    Raises:
        UsageError: If FSDP is asked for where it cannot be.
    """
    training = conf["training"]
    if training["strategy"] != "fsdp":
        # gradients are summed where they are: without that DDP holds them twice
        return DDPStrategy(gradient_as_bucket_view=True) if processes.world > 1 else "auto"
    if processes.accelerator != "gpu":
        raise UsageError("training.strategy is 'fsdp', which needs GPUs; allowed here: auto or ddp")
    if training["ema"]:
        raise UsageError(
            "training.ema needs the whole weights on every device: with training.strategy 'fsdp' "
            "allowed is 0"
        )
    if training["gradient_clip"]:
        raise UsageError(
            "training.gradient_clip needs the norm of all gradients: with training.strategy 'fsdp' "
            "allowed is 0"
        )
    half = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}.get(training["precision"])
    # torch would round what a step reads to half precision, the targets of the loss as well
    rounding = MixedPrecision(half, torch.float32, cast_root_forward_inputs=False) if half else None
    units = {type(block) for block in model.repeated_blocks}
    return FSDPStrategy(auto_wrap_policy=units, state_dict_type="full", mixed_precision=rounding)


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


class EndTogether(Callback):
    """No process of a run outlives the first; what ends the run is left at once.

    The last whole epoch is on the disk, and only the first process writes, so the others are
    killed: one that waits for a GPU would not hear anything else. Lightning's own answer to SIGTERM
    is a collective operation from within the signal handler, which blocks for ever where the other
    processes are in another one.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        def leave(*args: Any) -> None:
            _kill_others(trainer)
            if trainer.world_size > 1 and pl_module.device.type == "cuda":
                # to bring the weights to the CPU would wait for sums that will never be complete
                with contextlib.suppress(SystemExit), one_line_errors():
                    raise_terminated()
                os._exit(TERMINATED)
            raise_terminated()

        signal.signal(signal.SIGTERM, leave)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        _kill_others(trainer)


def _kill_others(trainer: pl.Trainer) -> None:
    """Those that this process started."""
    launcher = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        launcher.kill(signal.SIGKILL)
