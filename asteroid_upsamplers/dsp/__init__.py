"""Length formulas, the periodic shuffle, levels, chunked processing. Needs torch only."""

from .chunks import overlap_add, separate_chunks
from .lengths import center_trim, centered_padding, strided_length, transposed_length
from .levels import mono_level
from .shuffle import periodic_shuffle

__all__ = [
    "center_trim",
    "centered_padding",
    "mono_level",
    "overlap_add",
    "periodic_shuffle",
    "separate_chunks",
    "strided_length",
    "transposed_length",
]
