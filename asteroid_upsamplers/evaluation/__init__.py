"""Separation of whole songs, museval per song, and the figures of a results table."""

from .aggregation import METRICS, aggregate, load_scores
from .evaluate import (
    BASELINE,
    load_music_separator,
    read_config,
    score_experiments,
    separate_experiments,
    songs_to_test,
)
from .scoring import ScoringJob, score_song, score_songs
from .separate_files import Chunking, load_on_device, separate_files
from .separation import on_best_device, separate_songs

__all__ = [
    "BASELINE",
    "METRICS",
    "Chunking",
    "ScoringJob",
    "aggregate",
    "load_music_separator",
    "load_on_device",
    "load_scores",
    "on_best_device",
    "read_config",
    "score_experiments",
    "score_song",
    "score_songs",
    "separate_experiments",
    "separate_files",
    "separate_songs",
    "songs_to_test",
]
