"""Stacks of three upsamplers by two, from 4 kHz to 32 kHz, as in [1] Figs. 6, 7, 8 and 10."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import layers

RATE, STRIDE, DEPTH, SECONDS = 4000, 2, 3, 3.0


@dataclass(frozen=True, eq=False)
class Stack:
    """The input of a stack and the output of each of its layers.

    Args:
        signals: Four arrays ``(time,)``: at 4, 8, 16 and 32 kHz.
        layers: The three layers.
    """

    signals: list[np.ndarray]
    layers: list[layers.Upsampler]

    @property
    def rates(self) -> list[int]:
        """Of each signal, in Hz."""
        return [RATE * STRIDE**level for level in range(DEPTH + 1)]


@torch.no_grad()
def run_stack(name: str, x: Tensor, seed: int, **settings: Any) -> Stack:
    """Three layers of one channel, drawn from a seed, fed with a signal at 4 kHz.

    Args:
        name: Of the upsampler.
        x: ``(time,)``, float64.
        seed: Of the weights.
        **settings: Of the upsampler.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        stack = [layers.get(name)(1, 1, STRIDE, bias=False, **settings) for _ in range(DEPTH)]
    return apply_stack([layer.double() for layer in stack], x)


@torch.no_grad()
def interpolate_stack(name: str, x: Tensor) -> Stack:
    """The same for interpolation alone, without convolutions."""
    stack = [layers.get(name)(1, 1, STRIDE, kernel_size=1, bias=False) for _ in range(DEPTH)]
    for layer in stack:
        nn.init.ones_(layer.weight)
    return apply_stack([layer.double() for layer in stack], x)


def apply_stack(stack: list[layers.Upsampler], x: Tensor) -> Stack:
    """Feed a signal ``(time,)`` through layers, one after the other."""
    signals = [x]
    for layer in stack:
        signals.append(layer(signals[-1][None, None])[0, 0])
    return Stack([signal.numpy() for signal in signals], list(stack))


def ones() -> Tensor:
    """Three seconds at 4 kHz."""
    return torch.ones(round(SECONDS * RATE), dtype=torch.float64)


def noise(seed: int) -> Tensor:
    """White noise of variance 1, three seconds at 4 kHz."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(round(SECONDS * RATE), generator=generator, dtype=torch.float64)
