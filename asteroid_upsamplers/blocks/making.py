"""Stands in for ``layers.make`` until that is there."""

from __future__ import annotations

import inspect
from typing import Any

from .. import layers
from ..errors import UsageError
from ..registry import nearest_names


def make(
    upsampler: Any, in_channels: int, out_channels: int, stride: int, **settings: Any
) -> layers.Upsampler:
    """See ``layers.make``."""
    family = layers.get(upsampler)
    known = [*inspect.signature(family).parameters][3:]
    for name in settings:
        if name not in known:
            raise UsageError(
                f"{family.name}: unknown setting {name!r}: {nearest_names(name, known)}"
            )
    return family(in_channels, out_channels, stride, **settings)
