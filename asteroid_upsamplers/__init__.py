"""Upsampling layers for audio synthesis networks: an Asteroid plug-in.

Rooms are imported when they are first used: ``asteroid_upsamplers.layers``, ``artifacts``,
``probe`` and ``repair`` need torch only; ``asteroid_upsamplers.models`` loads Asteroid and
registers the models.
"""

from __future__ import annotations

import importlib
from typing import Any

from ._version import __version__
from .errors import UsageError

ROOMS = (
    "artifacts",
    "audio",
    "blocks",
    "data",
    "dsp",
    "evaluation",
    "export",
    "figures",
    "layers",
    "models",
    "probe",
    "repair",
    "report",
    "separation",
    "testing",
    "training",
)
__all__ = ["UsageError", "__version__", *ROOMS]


def __getattr__(name: str) -> Any:
    """Import a room when it is first asked for (PEP 562)."""
    if name in ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *ROOMS})
