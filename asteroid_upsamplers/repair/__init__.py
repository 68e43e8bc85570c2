"""Takes the tones out of trained networks."""

from .judge import judge
from .phases import nearest_taps
from .repair import METHODS, repair
from .report import LayerRepair, RepairReport, restore
from .run import RepairResult, run_repair, run_undo
from .site import Site
from .sites import find_sites
from .verdict import Verdict

__all__ = [
    "METHODS",
    "LayerRepair",
    "RepairReport",
    "RepairResult",
    "Site",
    "Verdict",
    "find_sites",
    "judge",
    "nearest_taps",
    "repair",
    "restore",
    "run_repair",
    "run_undo",
]
