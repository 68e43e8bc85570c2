"""Checks of a layer's settings: an impossible one is refused in one line."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

from ..errors import UsageError


def integer(layer: str, setting: str, value: Any, least: int = 1) -> int:
    """``value`` as an ``int``.

    Args:
        layer: Name of the layer, for the message.
        setting: Name of the setting, for the message.
        value: What was given.
        least: The smallest possible value.

    Raises:
        UsageError: If it is no integer, or below ``least``.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least:
        raise UsageError(
            f"{layer}: {setting} must be an integer of at least {least}, not {value!r}"
        )
    return number


def number(layer: str, setting: str, value: Any, least: float, most: float) -> float:
    """``value`` as a ``float`` from ``least`` to ``most``; else a :class:`UsageError`."""
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not real or not least <= value <= most:
        raise UsageError(
            f"{layer}: {setting} must be a number from {least} to {most}, not {value!r}"
        )
    return float(value)


def flag(layer: str, setting: str, value: Any) -> bool:
    """``value`` if it is ``True`` or ``False``; else a :class:`UsageError`."""
    if not isinstance(value, bool):
        raise UsageError(f"{layer}: {setting} must be True or False, not {value!r}")
    return value


def one_of(layer: str, setting: str, value: Any, names: Iterable[str]) -> str:
    """``value`` if it is one of ``names``; else a :class:`UsageError`."""
    if not isinstance(value, str) or value not in names:
        known = ", ".join(repr(name) for name in names)
        raise UsageError(f"{layer}: {setting} must be one of {known}, not {value!r}")
    return value
