"""What a run would be, without running it: parameters, memory, data and steps."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..data import SegmentSampler, Song
from ..models import MusicSeparator
from .config import Config, build_model
from .losses import LOSSES

GIGABYTE = 2**30
BYTES_A_PARAMETER = {"weights": 4, "gradients": 4, "two moments of the optimizer": 8}
"""In float32, which is what mixed precision keeps them in."""


def describe_run(
    conf: Config,
    samples: int,
    train_loader: DataLoader,
    songs: dict[str, list[Song]],
    devices: int,
) -> str:
    """Lines for a person: the model, its memory, the data that was found, the steps.

    Args:
        conf: A checked configuration.
        samples: Of a segment as the network sees it, with its context.
        train_loader: Of the segments.
        songs: By their use.
        devices: Among which a batch is divided.
    """
    training, rate = conf["training"], conf["data"]["sample_rate"]
    with torch.device("meta"):
        model = build_model(conf)
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    part = train_loader.batch_size or 1
    steps = cast(SegmentSampler, train_loader.sampler).steps
    memory = {name: parameters * size for name, size in BYTES_A_PARAMETER.items()}
    if training["ema"]:
        memory["moving average"] = 4 * parameters
    half = "16-mixed" in training["precision"]
    memory[f"activations of {part} segments"] = (
        part * saved_bytes(conf, samples) // (2 if half else 1)
    )
    listing = ", ".join(f"{name} {size / GIGABYTE:.2f}" for name, size in memory.items())
    found = ", ".join(
        f"{len(some)} songs to {use} ({sum(s.frames for s in some) / rate / 3600:.2f} h)"
        for use, some in songs.items()
    )
    return "\n".join(
        [
            f"model: {conf['model']['name']}, {parameters:,} parameters",
            f"memory of a device, estimated: {sum(memory.values()) / GIGABYTE:.2f} GB ({listing})",
            f"data: {found}, {steps * training['batch_size']:,} segments an epoch",
            f"steps: {steps:,} an epoch, {steps * training['epochs']:,} in all "
            f"{training['epochs']} epochs, each of {training['batch_size']} segments: {devices} "
            f"device(s) x {training['accumulate']} part(s) x {part}",
        ]
    )


def saved_bytes(conf: Config, samples: int) -> int:
    """Bytes that one segment's forward pass keeps for its backward pass, in float32.

    Counted on shapes alone, without any numbers, where the network allows that, else on the CPU.

    Args:
        conf: A checked configuration.
        samples: Of the segment.
    """
    try:
        return _saved_bytes(conf, samples, "meta")
    except (NotImplementedError, RuntimeError):
        return _saved_bytes(conf, samples, "cpu")


def _saved_bytes(conf: Config, samples: int, device: str) -> int:
    with torch.device(device):
        model: MusicSeparator = build_model(conf)
        mixture = torch.zeros(1, model.in_channels, samples)
    own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    sizes: dict[int, int] = {}
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            sizes[storage._cdata] = storage.nbytes()
            kept.append(tensor)  # a freed one's address would be taken by another
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        estimates = model.forward_with_context(mixture)
        LOSSES[conf["training"]["loss"]](estimates, torch.zeros_like(estimates))
    return sum(sizes.values())
