"""What ``layers.fold_for_inference`` gains where nothing is learned any more.

Each of Demucs' six upsampling layers, and a whole ``DemucsLike``, as they were trained and folded,
in turns.

    python benchmarks/run.py inference channels=24 seconds=10
"""

from __future__ import annotations

import copy
from typing import Any

import layers as single
import measure
import torch
from steps import SOURCES
from torch import nn

from asteroid_upsamplers import layers
from asteroid_upsamplers.models import DemucsLike

SETTINGS: dict[str, dict[str, Any]] = {
    "nearest": {},
    "linear": {},
    "cubic": {},
    "haar": {},
    "lazy_wavelet": {},
    "transposed": {"tone_free": True},
}


def run(
    device: torch.device,
    channels: int = 24,
    seconds: float = 10,
    batch: int = 1,
    rounds: int = 5,
    depth: int = 6,
) -> list[dict[str, Any]]:
    """One row for every layer at each shape, and for every network.

    Args:
        device: That separates.
        channels: Of the outermost encoder block of Demucs.
        seconds: Of audio at 44.1 kHz.
        batch: Segments.
        rounds: Of each.
        depth: Number of shapes, and of blocks of the network each way.
    """
    torch.manual_seed(0)
    rows = []
    for name, settings in SETTINGS.items():
        for shape in single.demucs_shapes(channels, seconds, batch, depth):
            layer = single.our_layer(name, shape.in_channels, shape.out_channels, **settings)
            x = torch.randn(batch, shape.in_channels, shape.time, device=device)
            what = {"upsampler": name, **settings, "level": shape.level, "channels": channels}
            rows.append(what | compared(layer.to(device), x, rounds))
        network = DemucsLike(
            SOURCES, name, channels=channels, depth=depth, upsampler_kwargs=settings
        )
        x = torch.randn(batch, 2, int(seconds * single.SAMPLE_RATE), device=device)
        what = {"upsampler": name, **settings, "level": "whole network", "channels": channels}
        rows.append(what | compared(network.to(device), x, rounds))
    return rows


def compared(module: nn.Module, x: torch.Tensor, rounds: int) -> dict[str, Any]:
    """Times of a module as trained and folded, and how far their outputs differ."""
    module.eval()
    folded = layers.fold_for_inference(copy.deepcopy(module))
    calls = {"trained": single.forward(module, x), "folded": single.forward(folded, x)}
    times = measure.interleaved(calls, rounds, x.device, "folded for inference")
    difference = measure.relative_difference(calls["folded"](), calls["trained"]())
    return {"trained_ms": times["trained"], "folded_ms": times["folded"], "difference": difference}
