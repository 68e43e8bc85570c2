"""What every measurement gives: something that prints, compares and can be saved."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import UsageError


@dataclass(frozen=True)
class Result:
    """Plain numbers in named fields.

    All of them are finite: the level of nothing at all is -400 dB, and what is unknown is ``None``.

    Raises:
        UsageError: (a ``ValueError``) for NaN or an infinity: what was measured is damaged.
    """

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not all(map(math.isfinite, _numbers(value))):
                raise UsageError(
                    f"{type(self).__name__}: no {name.replace('_', ' ')} can be told: weights or "
                    "samples are NaN, infinite, or too large for their power"
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return _plain(asdict(self))

    def differences(self, other: Result) -> dict[str, float]:
        """Largest absolute difference of each field that holds numbers.

        Args:
            other: A result of the same kind, for example the measurement beside the prediction.

        Raises:
            ValueError: If the two are of different kinds or shapes.
        """
        if type(self) is not type(other):
            raise ValueError(f"cannot compare {type(self).__name__} with {type(other).__name__}")
        mine, theirs = asdict(self), asdict(other)
        return {
            name: _largest_difference(name, _numbers(value), _numbers(theirs[name]))
            for name, value in mine.items()
            if _numbers(value)
        }

    def __str__(self) -> str:
        fields = self.to_dict().items()
        lines = [f"  {name.replace('_', ' ')}: {_words(value)}" for name, value in fields]
        return "\n".join([f"{type(self).__name__}:", *lines])


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _numbers(value: Any) -> list[float]:
    if isinstance(value, Result):
        value = vars(value)
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return []
    if isinstance(value, (int, float)):
        return [float(value)]
    items = value.values() if isinstance(value, dict) else value
    return [number for item in items for number in _numbers(item)]


def _largest_difference(name: str, mine: list[float], theirs: list[float]) -> float:
    if len(mine) != len(theirs):
        raise ValueError(f"{name}: {len(mine)} numbers against {len(theirs)}")
    pairs = zip(mine, theirs, strict=True)
    return max(0.0 if a == b else abs(a - b) for a, b in pairs)


def _words(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        shown = ", ".join(_words(item) for item in value[:8])
        return f"{shown}, ... ({len(value)})" if len(value) > 8 else shown
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key} {_words(item)}" for key, item in value.items()) + ")"
    return str(value)
