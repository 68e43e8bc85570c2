"""Length and padding formulas, the periodic shuffle, chunked processing. Needs torch only."""

from .chunks import overlap_add, separate_chunks
from .lengths import center_trim, centered_padding, strided_length, transposed_length
from .shuffle import periodic_shuffle

__all__ = [
    "center_trim",
    "centered_padding",
    "overlap_add",
    "periodic_shuffle",
    "separate_chunks",
    "strided_length",
    "transposed_length",
]
