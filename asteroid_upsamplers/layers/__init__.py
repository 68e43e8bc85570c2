"""Upsampling layers, all behind one contract; see :class:`Upsampler`."""

from .base import Borders, Upsampler, available, get, register
from .conversion import to_subpixel, to_transposed
from .fitting import (
    Responses,
    covering_kernel_size,
    fit_responses,
    responses,
    tap_responses,
)
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
    "Responses",
    "Sinc",
    "Stretch",
    "Subpixel",
    "Transposed",
    "Upsampler",
    "available",
    "covering_kernel_size",
    "fit_responses",
    "get",
    "register",
    "responses",
    "tap_responses",
    "to_subpixel",
    "to_transposed",
]
