"""Multitrack songs: finding, preparing, cutting into extracts, augmenting; two-speaker mixtures."""

from .augment import Augment
from .demo_mixtures import render_demo_mixtures
from .demo_songs import render_demo_set
from .extracts import Extracts, ExtractSampler, WholeSongs, seeded
from .ffmpeg import require_ffmpeg
from .prepare import download_sample, prepare, wav_root
from .songs import MIXTURE, SOURCES, Song, find_songs, split_validation

__all__ = [
    "MIXTURE",
    "SOURCES",
    "Augment",
    "ExtractSampler",
    "Extracts",
    "Song",
    "WholeSongs",
    "download_sample",
    "find_songs",
    "prepare",
    "render_demo_mixtures",
    "render_demo_set",
    "require_ffmpeg",
    "seeded",
    "split_validation",
    "wav_root",
]
