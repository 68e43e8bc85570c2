"""Speed and memory of a training step: what makes it lighter, and an estimate for ``--dry_run``."""

from __future__ import annotations

import functools
import inspect

import torch
from asteroid.engine import optimizers
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..errors import UsageError
from ..models import MusicSeparator
from .config import build_model
from .datamodule import SongSegments, samples
from .losses import LOSSES
from .schema import Config

GB = 2**30


def make_optimizer(conf: Config, model: nn.Module) -> torch.optim.Optimizer:
    """Asteroid's, in one pass over the memory (``fused``) where torch has that."""
    cls = optimizers.get(conf["optim"]["optimizer"])
    has_it = "fused" in inspect.signature(cls).parameters
    # Lightning lets no fused optimizer clip gradients in half precision
    clips_half = conf["training"]["gradient_clip"] and "mixed" in conf["training"]["precision"]
    more = {"fused": True} if has_it and not clips_half else {}
    return optimizers.make_optimizer(model.parameters(), **conf["optim"], **more)


def checkpoint_activations(model: MusicSeparator) -> None:
    """Keep the inputs of the model's blocks only, and compute the rest again in the backward pass.

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


def summary(conf: Config, processes: int) -> str:
    """What a training would be: parameters, memory, songs and steps, for ``--dry_run``."""
    training, rate = conf["training"], conf["data"]["sample_rate"]
    with torch.device("meta"):
        model = build_model(conf)
    segment = samples(conf, "data", "segment")
    context = model.needed_context(segment)
    quick = {**conf, "model": {**conf["model"], "normalize": False}}  # no levels are measured
    data = SongSegments(quick, context, processes)
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    weights = 4 * parameters * (5 if training["ema"] else 4)  # gradients and two moments of Adam
    activations = data.micro_batch * saved_bytes(conf, segment + sum(context))
    steps = data.sampler.steps
    sets = data.segments.songs, data.valid_songs.songs
    hours = [sum(song.frames for song in songs) / rate / 3600 for songs in sets]
    return (
        f"model: {conf['model']['name']}, {parameters:,} parameters\n"
        f"memory of a device, estimated for float32: {(weights + activations) / GB:.2f} GB "
        f"(weights and optimizer {weights / GB:.2f}, activations of {data.micro_batch} segments "
        f"{activations / GB:.2f})\n"
        f"data: {len(sets[0])} songs to train on ({hours[0]:.2f} h), "
        f"{len(sets[1])} to validate on ({hours[1]:.2f} h)\n"
        f"steps: {steps:,} an epoch, {steps * training['epochs']:,} in all {training['epochs']} "
        f"epochs, each of {training['batch_size']} segments\n"
    )


def saved_bytes(conf: Config, frames: int) -> int:
    """Bytes that one segment's forward pass keeps for its backward pass, in float32.

    Counted on shapes alone, without any numbers, where the network allows that, else on the CPU.
    """
    try:
        return _saved_bytes(conf, frames, "meta")
    except (NotImplementedError, RuntimeError):
        return _saved_bytes(conf, frames, "cpu")


def _saved_bytes(conf: Config, frames: int, device: str) -> int:
    with torch.device(device):
        model = build_model(conf)
        mixture = torch.zeros(1, model.in_channels, frames)
    own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}  # the tensors too: a freed one's address is taken by another

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        estimates = model.forward_with_context(mixture)
        LOSSES[conf["training"]["loss"]](estimates, torch.zeros_like(estimates))
    return sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own)
