"""How many processes train together, who started them, and what to say when they cannot go on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch
from pytorch_lightning.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from ..errors import UsageError, is_out_of_memory, one_line, raise_terminated
from ..separation import visible_gpus
from .schema import Config


def devices_and_nodes(conf: Config) -> tuple[int, int]:
    """Processes on each machine, and machines: as torchrun says, else as configured.

    Raises:
        UsageError: If there are not as many GPUs, or nobody started the other machines' processes,
            or torchrun started others than are configured.
    """
    training, gpus = conf["training"], visible_gpus()
    devices, nodes = training["devices"] or max(1, gpus), training["num_nodes"]
    if TorchElasticEnvironment.detect():
        started = int(os.environ["LOCAL_WORLD_SIZE"])
        machines = int(os.environ["WORLD_SIZE"]) // started
        if (training["devices"] or started) != started or nodes not in (1, machines):
            raise UsageError(
                f"training.devices is {training['devices']} and training.num_nodes {nodes}, but "
                f"torchrun started {started} process(es) on {machines} machine(s): leave them out"
            )
        devices, nodes = started, machines
    elif nodes > 1 and not SLURMEnvironment.detect() and "NODE_RANK" not in os.environ:
        raise UsageError(
            f"training.num_nodes is {nodes}, but nothing started this process as one of several "
            "machines': start it with torchrun or SLURM's srun"
        )
    elif not SLURMEnvironment.detect():
        _check_variables(devices, nodes)
    if gpus and devices > gpus:
        raise UsageError(f"training.devices is {devices}: must be at most {gpus}, the GPUs here")
    return devices, nodes


def _check_variables(devices: int, nodes: int) -> None:
    """Refuse what a user, or an earlier program, left in the environment."""
    for name, allowed in {
        "WORLD_SIZE": (1, devices * nodes),  # Lightning tells its own processes
        "RANK": (0,),
        "NODE_RANK": range(nodes),
    }.items():
        if os.environ.get(name, str(allowed[0])) not in map(str, allowed):
            raise UsageError(
                f"{name} is {os.environ[name]} in the environment, but this is a training in "
                f"{devices} process(es) on {nodes} machine(s): unset it, set training.devices and "
                "num_nodes, or start it with torchrun"
            )


@contextlib.contextmanager
def possible_trainer(conf: Config) -> Iterator[None]:
    """Say in one line why Lightning cannot train so.

    Raises:
        UsageError: If the environment (SLURM's or torchrun's variables) and the configuration
            contradict each other, or this machine has no such precision.
    """
    precision = conf["training"]["precision"]
    if precision == "16-mixed" and not torch.cuda.is_available():
        raise UsageError(f"training.precision is {precision}: needs a GPU, and there is none here")
    try:
        yield
    except UsageError:
        raise
    except (ValueError, RuntimeError, KeyError, MisconfigurationException) as error:
        variables = sorted(name for name in os.environ if name.startswith(_LAUNCHERS))
        raise UsageError(
            f"training cannot start: {' '.join(str(error).split())} (set in the environment: "
            f"{', '.join(variables) or 'nothing of a launcher'})"
        ) from None


_LAUNCHERS = ("SLURM_", "WORLD_SIZE", "RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "MASTER_")


def slurm_plugins(devices: int, nodes: int) -> list[SLURMEnvironment]:
    """SLURM without Lightning's own requeueing.

    That one writes a checkpoint in the middle of an epoch, from which the epoch's other segments
    could not be told; here a run goes on from the last whole epoch.

    Raises:
        ValueError: If SLURM started other processes than are configured.
    """
    if not SLURMEnvironment.detect() or TorchElasticEnvironment.detect():
        return []
    slurm = SLURMEnvironment(auto_requeue=False)
    slurm.validate_settings(devices, nodes)
    return [slurm]


@contextlib.contextmanager
def explained(conf: Config) -> Iterator[None]:
    """Say in one line what ended a training, where the user can do something about it.

    Raises:
        UsageError: If memory ran out, a process that reads segments died, or a song is unreadable.
        KeyboardInterrupt: For Ctrl-C, which Lightning turns into an exit.
        Terminated: If SIGTERM reached a process that reads segments first.
    """
    training, data = conf["training"], conf["data"]
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    except UsageError as error:  # a reading process puts its traceback before the message
        said_by = f"{UsageError.__module__}.{UsageError.__qualname__}: "
        raise UsageError(str(error).strip().splitlines()[-1].removeprefix(said_by)) from None
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise UsageError(
                f"the device is out of memory: raise training.accumulate ({training['accumulate']})"
                f" or set training.checkpoint_activations ({training['checkpoint_activations']}), "
                "and training goes on from the last whole epoch; or, with another --tag, lower "
                f"training.batch_size ({training['batch_size']}), data.segment "
                f"({data['segment']} s) or the size of the model"
            ) from None
        if "DataLoader worker" not in str(error):
            raise
        if "signal: Terminated" in f"{error} {error.__cause__}":  # SLURM sends it to all processes
            raise_terminated()
        raise UsageError(
            f"a process that reads segments died ({one_line(error)}); if memory is "
            f"short, lower data.num_workers ({data['num_workers']}); run the same command again "
            "to go on from the last whole epoch"
        ) from None
