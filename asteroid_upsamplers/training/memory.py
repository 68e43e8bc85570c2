"""Speed and memory of a training step: what makes it lighter, and an estimate for ``--dry_run``."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass

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
BYTES = {
    "32-true": (4, 0, 4),
    "bf16-mixed": (4, 2, 2),
    "16-mixed": (4, 2, 2),
    "bf16-true": (2, 0, 2),
    "64-true": (8, 0, 8),
}
"""By Lightning's name of a precision: bytes of a weight, of its copy for the layers that compute in
half precision, and of an activation (whose layers are nearly all among those)."""


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


@dataclass(frozen=True)
class Sizes:
    """Bytes that a training takes.

    Attributes:
        weights: On each device: weights, gradients, moments of the optimizer, moving average, and
            the half-precision copies of mixed precision.
        segment: Activations of one segment, as many times as a micro-batch has.
        checkpoint: One file to go on from.
        kept: All files of weights that a run leaves.
    """

    weights: int
    segment: int
    checkpoint: int
    kept: int


def sizes(conf: Config) -> Sizes:
    """Of a configuration, from the shapes of its network and a step of its optimizer."""
    training = conf["training"]
    with torch.device("meta"):
        model = build_model(conf)
    number, cast, activation = BYTES[training["precision"]]
    weights = number * sum(tensor.numel() for tensor in model.state_dict().values())
    moments = round(moments_a_weight(conf) * weights)
    average = weights if training["ema"] else 0
    checkpoint = weights + moments + average
    frames = samples(conf, "data", "segment")
    activations = saved_bytes(conf, frames + sum(model.needed_context(frames)))
    return Sizes(
        weights=checkpoint + weights + weights * cast // number,
        segment=activations * activation // BYTES["32-true"][2],
        checkpoint=checkpoint,
        kept=2 * checkpoint + 2 * weights,  # last and previous; best and best_model.pth
    )


def moments_a_weight(conf: Config) -> float:
    """Numbers that the optimizer keeps for each weight, after its first step: 2 for Adam."""
    layer = nn.Linear(64, 64, bias=False)
    optimizer = make_optimizer(conf, layer)
    layer(torch.ones(64)).sum().backward()
    optimizer.step()
    kept = [x.numel() for x in optimizer.state[layer.weight].values() if isinstance(x, Tensor)]
    return sum(x for x in kept if x > 1) / layer.weight.numel()


def summary(conf: Config, processes: int) -> str:
    """What a training would be: parameters, memory, disk, songs and steps, for ``--dry_run``."""
    training, rate = conf["training"], conf["data"]["sample_rate"]
    with torch.device("meta"):
        model = build_model(conf)
    context = model.needed_context(samples(conf, "data", "segment"))
    quick = {**conf, "model": {**conf["model"], "normalize": False}}  # no levels are measured
    data = SongSegments(quick, context, processes)
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    size = sizes(conf)
    activations = data.micro_batch * size.segment
    steps = data.sampler.steps
    sets = data.segments.songs, data.valid_songs.songs
    hours = [sum(song.frames for song in songs) / rate / 3600 for songs in sets]
    again = ", before checkpoint_activations" if training["checkpoint_activations"] else ""
    return (
        f"model: {conf['model']['name']}, {parameters:,} parameters\n"
        f"memory of a device, estimated for {training['precision']} and "
        f"{conf['optim']['optimizer']}: {(size.weights + activations) / GB:.2f} GB "
        f"(weights and optimizer {size.weights / GB:.2f}, activations of {data.micro_batch} "
        f"segments {activations / GB:.2f}{again})\n"
        f"disk: {size.kept / GB:.1f} GB of checkpoints and models, and {size.checkpoint / GB:.1f} "
        "GB more while one is written\n"
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
