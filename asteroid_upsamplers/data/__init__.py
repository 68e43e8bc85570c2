"""Multitrack songs: finding, preparing, reading in segments, augmenting; demo songs and speech."""

from .augment import Augment
from .demo_mixtures import render_demo_mixtures
from .demo_set import render_demo_set
from .parallel import cores
from .prepare import (
    download_sample,
    prepare,
    rate_of_set,
    songs_at_rate,
    wav_root,
)
from .segments import Segments, SegmentSampler, WholeSongs, seeded
from .songs import MIXTURE, SOURCES, Song, find_songs, split_validation

__all__ = [
    "MIXTURE",
    "SOURCES",
    "Augment",
    "SegmentSampler",
    "Segments",
    "Song",
    "WholeSongs",
    "cores",
    "download_sample",
    "find_songs",
    "prepare",
    "rate_of_set",
    "render_demo_mixtures",
    "render_demo_set",
    "seeded",
    "songs_at_rate",
    "split_validation",
    "wav_root",
]
