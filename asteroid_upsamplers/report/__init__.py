"""Comparison tables, a chart and a page over any number of experiments and published scores."""

from .artifact_scores import measure_experiments
from .models import ScoredModel, read_models
from .repaired import repair_experiments
from .results import collect, tabulate
from .song_by_song import compare_models
from .write import write_report

__all__ = [
    "ScoredModel",
    "collect",
    "compare_models",
    "measure_experiments",
    "read_models",
    "repair_experiments",
    "tabulate",
    "write_report",
]
