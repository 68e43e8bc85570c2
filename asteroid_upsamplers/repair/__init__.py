"""Takes the tones out of trained networks."""

from .phases import nearest_taps
from .repair import METHODS, repair
from .report import LayerRepair, RepairReport, restore
from .site import Site
from .sites import find_sites

__all__ = [
    "METHODS",
    "LayerRepair",
    "RepairReport",
    "Site",
    "find_sites",
    "nearest_taps",
    "repair",
    "restore",
]
