"""Comparison tables, a figure and a page over any number of experiments."""

from .artifact_scores import measure_experiments
from .collect import collect
from .figure import draw_comparison
from .page import write_report
from .probing import ProbeResult, run_probe
from .table import to_csv, to_markdown

__all__ = [
    "ProbeResult",
    "collect",
    "draw_comparison",
    "measure_experiments",
    "run_probe",
    "to_csv",
    "to_markdown",
    "write_report",
]
