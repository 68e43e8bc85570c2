"""What a user runs on audio: separating files of any format, in chunks, with any Asteroid model."""

from .chunks import Context, no_context, overlap_add, separate_chunks
from .files import Chunking, load_on_device, separate_files
from .shifts import shift_averaged, shifted_context
from .songs import on_best_device, separate_songs

__all__ = [
    "Chunking",
    "Context",
    "load_on_device",
    "no_context",
    "on_best_device",
    "overlap_add",
    "separate_chunks",
    "separate_files",
    "separate_songs",
    "shift_averaged",
    "shifted_context",
]
