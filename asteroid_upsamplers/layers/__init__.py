"""Upsampling layers, all behind one contract; see :class:`Upsampler`."""

from .base import Upsampler, available, get, register
from .interpolation import Linear, Nearest
from .subpixel import Subpixel
from .transposed import Transposed

__all__ = [
    "Linear",
    "Nearest",
    "Subpixel",
    "Transposed",
    "Upsampler",
    "available",
    "get",
    "register",
]
