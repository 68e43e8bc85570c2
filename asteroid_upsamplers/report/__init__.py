"""Comparison tables, a figure and a page over any number of experiments and published scores."""

from .artifact_scores import measure_experiments
from .collect import collect, tabulate
from .figure import draw_comparison
from .formats import to_csv, to_json, to_latex, to_markdown
from .page import write_report
from .song_by_song import compare_systems
from .systems import Reading, Run, System, read_systems
from .table import Table, make_notes, make_tables

__all__ = [
    "Reading",
    "Run",
    "System",
    "Table",
    "collect",
    "compare_systems",
    "draw_comparison",
    "make_notes",
    "make_tables",
    "measure_experiments",
    "read_systems",
    "tabulate",
    "to_csv",
    "to_json",
    "to_latex",
    "to_markdown",
    "write_report",
]
