"""What a user runs on audio: separating files of any format, in chunks, with any Asteroid model."""

from .channels import source_names
from .chunks import Context, no_context, overlap_add, separate_chunks
from .devices import visible_gpus
from .file import Chunking, separate_file
from .files import SomeFailedError, load_on_device, output_paths, separate_files
from .live import separate_live
from .shifts import MAX_SHIFT, shift_averaged, shifted_context
from .streaming import ModelStream, stream

__all__ = [
    "MAX_SHIFT",
    "Chunking",
    "Context",
    "ModelStream",
    "SomeFailedError",
    "load_on_device",
    "no_context",
    "output_paths",
    "overlap_add",
    "separate_chunks",
    "separate_file",
    "separate_files",
    "separate_live",
    "shift_averaged",
    "shifted_context",
    "source_names",
    "stream",
    "visible_gpus",
]
