"""Separation of a set's test songs, BSS Eval of each, and the figures of a results table."""

from .aggregation import METRICS, aggregate, load_scores
from .experiments import (
    BASELINE,
    load_music_separator,
    score_experiments,
    separate_experiments,
    songs_to_test,
)
from .scoring import SCORERS, ScoringJob, score_song, score_songs

__all__ = [
    "BASELINE",
    "METRICS",
    "SCORERS",
    "ScoringJob",
    "aggregate",
    "load_music_separator",
    "load_scores",
    "score_experiments",
    "score_song",
    "score_songs",
    "separate_experiments",
    "songs_to_test",
]
