"""Find the audio in what a network returns, whatever it is wrapped in."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from .lengths import time_axis

AUDIO = ("audio", "wav", "sources", "estimate", "speech", "signal", "samples")
"""Words in the names of outputs that are audio."""


class Audio(NamedTuple):
    """Which of a network's outputs is the audio.

    Args:
        name: Where it stands, such as ``"audio"`` or ``"1.waveform"``; empty if it is all.
        axis: Which is time.
        alike: Names of other outputs of the same length.
    """

    name: str
    axis: int
    alike: list[str]


def named_tensors(output: Any, name: str = "") -> dict[str, Tensor]:
    """All tensors in an output, by the keys, fields or positions that lead to them."""
    if isinstance(output, (np.ndarray, np.generic)):
        output = torch.as_tensor(output) if output.dtype.kind in "fiubc" else None
    if isinstance(output, Tensor):
        return {name: output}
    items: Any = ()
    if isinstance(output, Mapping):
        items = output.items()
    elif dataclasses.is_dataclass(output):
        items = [(f.name, getattr(output, f.name)) for f in dataclasses.fields(output)]
    elif isinstance(output, tuple) and hasattr(output, "_fields"):
        items = zip(output._fields, output, strict=True)
    elif isinstance(output, (list, tuple)):
        items = enumerate(output)
    elif hasattr(output, "__dict__"):
        items = vars(output).items()
    found: dict[str, Tensor] = {}
    for key, value in items:
        found |= named_tensors(value, f"{name}.{key}" if name else str(key))
    return found


def audio_in(output: Any, shorter: Any, wanted: str | None, given: tuple[int, ...]) -> Audio:
    """Which tensor of an output is audio: that with the longest time axis, by its name if several.

    Args:
        output: What the network returned.
        shorter: What it returned for a shorter input; time is the axis whose size differs. If
            ``None``, it is the longest one.
        wanted: The name of the audio, if the user gave one.
        given: Shape of the input, for messages.

    Raises:
        UsageError: If there is none.
    """
    tensors = named_tensors(output)
    others = named_tensors(shorter) if shorter is not None else {}
    signals = {name: y for name, y in tensors.items() if _may_be_audio(y)}
    found = {name: _time(y, others.get(name)) for name, y in signals.items()}
    times = {name: axis for name, axis in found.items() if axis is not None}
    lengths = {name: tensors[name].shape[axis] for name, axis in times.items()}
    if wanted is not None:
        names = [n for n in tensors if n == wanted or n.split(".")[-1] == wanted]
        if not names or names[0] not in lengths:
            raise UsageError(f"no audio is called {wanted!r}: the network gives {said(output)}")
        return Audio(names[0], times[names[0]], [])
    if not lengths:
        raise UsageError(
            f"the network gives {said(output)} for an input of shape {given}, which holds no signal"
            + (
                ": an inverse STFT must follow"
                if any(map(torch.is_complex, tensors.values()))
                else ""
            )
        )
    called = [n for n in lengths if any(word in n.split(".")[-1].lower() for word in AUDIO)]
    most = max(lengths[name] for name in called or lengths)
    alike = [name for name in called or lengths if lengths[name] == most]
    return Audio(alike[0], times[alike[0]], alike[1:])


def said(output: Any) -> str:
    """What was returned, in an error message."""
    tensors = named_tensors(output)
    shapes = [
        f"{name} {_words(y)}".strip()
        if name and not isinstance(output, (list, tuple))
        else _words(y)
        for name, y in tensors.items()
    ]
    return f"a {type(output).__name__}" + (f" of {', '.join(shapes)}" if shapes else "")


def _words(y: Tensor) -> str:
    return f"{str(y.dtype).removeprefix('torch.')} {tuple(y.shape)}"


def _may_be_audio(y: Tensor) -> bool:
    return y.is_floating_point() and y.dim() > 0 and y.numel() > 0


def _time(y: Tensor, other: Tensor | None) -> int | None:
    if other is None:
        return max(range(y.dim()), key=lambda axis: (y.shape[axis], axis))
    found = time_axis(tuple(y.shape), tuple(other.shape))
    return found.axis if found else None
