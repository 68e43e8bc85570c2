"""Upsampling layers, all behind one contract; see :class:`Upsampler`."""

from .base import Borders, Upsampler, available, get, register
from .conversion import to_subpixel, to_transposed
from .interpolation import Cubic, Interpolation, Linear, Nearest, Sinc, Stretch
from .learned import Learned
from .polyphase import PolyphaseUpsampler
from .subpixel import Subpixel
from .transposed import Transposed
from .wavelet import Haar, LazyWavelet

__all__ = [
    "Borders",
    "Cubic",
    "Haar",
    "Interpolation",
    "LazyWavelet",
    "Learned",
    "Linear",
    "Nearest",
    "PolyphaseUpsampler",
    "Sinc",
    "Stretch",
    "Subpixel",
    "Transposed",
    "Upsampler",
    "available",
    "get",
    "register",
    "to_subpixel",
    "to_transposed",
]
