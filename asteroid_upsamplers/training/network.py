"""What makes a step faster or smaller without changing what it computes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable

import torch
from asteroid.engine import optimizers
from torch import nn
from torch.utils.checkpoint import checkpoint

from ..errors import UsageError
from ..models import MusicSeparator
from .config import Config


def optimizer_maker(conf: Config) -> Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]:
    """Of parameters, the optimizer of ``optim``; in one pass over the memory where torch has that.

    Lightning lets no such optimizer clip gradients in half precision, and with FSDP it would look
    for gradients that overflow on each device by itself.
    """
    settings, training = dict(conf["optim"]), conf["training"]
    cls = optimizers.get(settings.pop("optimizer"))
    clips_half = training["gradient_clip"] and "mixed" in training["precision"]
    scales_parts = training["strategy"] == "fsdp" and training["precision"] == "16-mixed"
    if "fused" in inspect.signature(cls).parameters and not (clips_half or scales_parts):
        settings["fused"] = True
    return functools.partial(cls, **settings)


def checkpoint_activations(model: MusicSeparator) -> None:
    """Keep the inputs of the model's blocks only, and compute the rest again when it is needed.

    Recurrent layers are left as they are: they keep little and cost much.

    Args:
        model: Changed in place; its weights and their names stay.

    Raises:
        UsageError: If the model does not say what its blocks are.
    """
    if not model.repeated_blocks:
        raise UsageError(
            f"training.checkpoint_activations: {type(model).__name__} has no blocks to compute "
            "again; raise training.accumulate instead"
        )
    for block in model.repeated_blocks:
        if not any(isinstance(layer, nn.RNNBase) for layer in block.modules()):
            block.forward = functools.partial(
                checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False
            )
