"""Which layer the tones of a network come from: take out what a layer makes, and listen again."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from .calls import UpsamplingCall
from .trace import Change

NOTHING_LEFT_DB = 400.0


def attributions(
    calls: Sequence[UpsamplingCall],
    before: float,
    tone_power: Callable[[Mapping[int, Change]], float],
) -> tuple[list[float], float]:
    """By how many dB the tones in the network's output fall without each layer's own tones.

    Args:
        calls: The upsampling layers; those of one group are examined together.
        before: Power of the tones in the network's output.
        tone_power: Runs the network with changes to its operations, and gives that power.

    Returns:
        The levels, 400 where nothing is left, negative where the tones rise; and the share of the
        tones' power that is left without those of all layers.
    """
    changes: dict[str, dict[int, Change]] = defaultdict(dict)
    for call in calls:
        changes[call.group or call.name][call.op] = _change(call)
    left = {name: tone_power(together) for name, together in changes.items()}
    levels = {
        name: 10 * math.log10(before / power) if power > 0 else NOTHING_LEFT_DB
        for name, power in left.items()
    }
    all_left = next(iter(left.values()))
    if len(left) > 1:
        all_left = tone_power({op: one for some in changes.values() for op, one in some.items()})
    return [levels[call.group or call.name] for call in calls], all_left / before


def _change(call: UpsamplingCall) -> Change:
    def change(y: Tensor) -> Tensor:
        if y.dim() <= call.axis or y.shape[call.axis] != call.time or y.is_complex():
            return y  # the network did something else this time, or it is a spectrum
        return without_tones(y.movedim(call.axis, -1), call.period).movedim(-1, call.axis)

    return change


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
