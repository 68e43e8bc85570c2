"""Separation of whole songs, museval per song, and the figures of a results table."""

from .aggregation import METRICS, aggregate, load_scores
from .evaluate import BASELINE, score_experiments, separate_experiments
from .scoring import ScoringJob, score_song, score_songs
from .separation import separate_songs

__all__ = [
    "BASELINE",
    "METRICS",
    "ScoringJob",
    "aggregate",
    "load_scores",
    "score_experiments",
    "score_song",
    "score_songs",
    "separate_experiments",
    "separate_songs",
]
