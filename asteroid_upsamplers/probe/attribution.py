"""Which layer the tones of a network come from: take out what a layer makes, and listen again."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .calls import UpsamplingCall
from .watch import watching

NOTHING_LEFT_DB = 400.0


def attributions(
    network: Callable[..., object], tone_power: Callable[[], float], count: int
) -> list[float]:
    """By how many dB the tones in the network's output fall without each layer's own tones.

    ``tone_power`` runs the network, which has ``count`` upsampling layers, and gives the power of
    the tones in its output. Levels are 400 where nothing is left, negative where the tones rise.
    """
    before = tone_power()
    found = []
    for number in range(count):

        def change(index: int, call: UpsamplingCall, y: Tensor, number: int = number) -> Tensor:
            return without_tones(y, call.stride) if index == number else y

        with watching(network, change):
            left = tone_power()
        found.append(10 * math.log10(before / left) if left > 0 else NOTHING_LEFT_DB)
    return found


@torch.no_grad()
def without_tones(y: Tensor, stride: int) -> Tensor:
    """The output of a layer, ``(..., time)``, without what repeats with its stride, but the mean.

    That is the mean period of the middle half.
    """
    start = y.shape[-1] // 4
    count = (y.shape[-1] - 2 * start) // stride
    if not count:
        return y
    period = y[..., start : start + count * stride].unflatten(-1, (count, stride)).mean(-2)
    period = (period - period.mean(-1, keepdim=True)).roll(start % stride, -1)
    repeats = math.ceil(y.shape[-1] / stride)
    return y - period.repeat(*[1] * (y.dim() - 1), repeats)[..., : y.shape[-1]]
