"""Modules that make signals longer and that no weights tell of: by their names and their source."""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .modules import UpsamplingModule
from .state import undisturbed

NAMES = re.compile(
    r"upsampl|interpolat|stretch|unpool|overlap_?add|i_?stft|idwt|griffin_?lim|^fold$"
    r"|(inverse|inv)_?(stft|spectrogram|wavelet)",
    re.IGNORECASE,
)
"""Of classes."""

CALLS = re.compile(
    r"(?<!self\.)\b(interpolate|functional\.upsample|F\.upsample|repeat_interleave|pixel_shuffle|istft|irfft|conv_transpose[123]d"
    r"|fold|max_unpool[123]d|col2im|index_add_?)\("
)
"""Of functions of torch, in the source of a class."""

SAMPLES = 64
"""Of the constant that a module is run on."""

SHOWN = 2
"""So many modules of a class are named."""


def interpolating(name: str, module: nn.Module) -> UpsamplingModule | None:
    """A module without others in it that by its name makes signals longer, run on a constant.

    ``None`` if it is none, takes no signal, or makes it longer by no whole number.
    """
    if not NAMES.search(type(module).__name__) or next(module.children(), None) is not None:
        return None
    channels = next((parameter.numel() for parameter in module.parameters()), 1)
    try:
        with undisturbed(module):
            short, long = (module(torch.ones(1, channels, k * SAMPLES)) for k in (1, 2))
    except Exception:  # whatever a stranger's module raises for a signal that it does not take
        return None
    if not (isinstance(long, Tensor) and long.dim() == 3 and long.is_floating_point()):
        return None
    stride, rest = divmod(long.shape[-1] - short.shape[-1], SAMPLES)
    if rest or stride < 2:
        return None
    middle = long[0, :, SAMPLES // 2 * stride :][:, : SAMPLES * stride]
    return UpsamplingModule(name, stride, middle.double().unflatten(1, (-1, stride)).mean(1))


def unread(named: Iterable[tuple[str, nn.Module]]) -> list[str]:
    """A line for each class of modules that by its name or source makes signals longer."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, module in named:
        kind = type(module)
        calls = _calls(kind)
        if calls:
            found[kind.__name__, f"calls {', '.join(calls)}"].append(name)
        elif NAMES.search(kind.__name__) and next(module.children(), None) is None:
            found[kind.__name__, "makes signals longer, by its name"].append(name)
    lines = []
    for (kind_name, why), names in found.items():
        shown = ", ".join(name or "the network" for name in names[:SHOWN])
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        lines.append(f"{shown}{more} ({kind_name}) {why}")
    return lines


def _calls(kind: type) -> list[str]:
    if kind.__module__.startswith("torch."):
        return []
    try:
        source = inspect.getsource(kind)
    except (OSError, TypeError):  # written in a console, for example
        return []
    return sorted({match[1] for match in CALLS.finditer(source)})
