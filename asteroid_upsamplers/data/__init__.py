"""Multitrack songs: finding, preparing, reading in segments, augmenting; demo songs and speech."""

from .augment import Augment
from .demo_mixtures import render_demo_mixtures
from .demo_set import render_demo_set
from .demo_songs import render_song
from .finding import find_songs, list_songs, stem_file
from .identity import changed_since, read_notes
from .midi_set import render_midi_set
from .parallel import cores
from .prepare import download_sample, prepare, songs_at_rate
from .segments import Segments, SegmentSampler, WholeSongs, seeded
from .songs import MIXTURE, SOURCES, Song, split_validation

__all__ = [
    "MIXTURE",
    "SOURCES",
    "Augment",
    "SegmentSampler",
    "Segments",
    "Song",
    "WholeSongs",
    "changed_since",
    "cores",
    "download_sample",
    "find_songs",
    "list_songs",
    "prepare",
    "read_notes",
    "render_demo_mixtures",
    "render_demo_set",
    "render_midi_set",
    "render_song",
    "seeded",
    "songs_at_rate",
    "split_validation",
    "stem_file",
]
