"""Multitrack songs: finding, preparing, cutting into extracts, augmenting; two-speaker mixtures."""

from .augment import Augment
from .demo_mixtures import render_demo_mixtures
from .demo_songs import render_demo_set
from .extracts import Extract, Extracts, ExtractSampler, SharedSongs, WholeSongs, seeded
from .packed import pack_songs
from .parallel import cores
from .prepare import (
    download_sample,
    prepare,
    rate_of_set,
    songs_at_rate,
    training_songs,
    wav_root,
)
from .songs import MIXTURE, SOURCES, Song, find_songs, split_validation

__all__ = [
    "MIXTURE",
    "SOURCES",
    "Augment",
    "Extract",
    "ExtractSampler",
    "Extracts",
    "SharedSongs",
    "Song",
    "WholeSongs",
    "cores",
    "download_sample",
    "find_songs",
    "pack_songs",
    "prepare",
    "rate_of_set",
    "render_demo_mixtures",
    "render_demo_set",
    "seeded",
    "songs_at_rate",
    "split_validation",
    "training_songs",
    "wav_root",
]
