"""Upsampling layers, all behind one contract; see :class:`Upsampler`."""

from .base import Upsampler, assign, available, get, make, register
from .conversion import to_subpixel, to_transposed
from .hold import Hold
from .inference import FoldedUpsampler, fold_for_inference
from .interpolation import Cubic, Interpolation, Linear, Nearest, Sinc, Stretch
from .learned import Learned
from .lifting import Lifting
from .measured import linear_system, measured_system
from .polyphase import PolyphaseUpsampler
from .resample import Resample
from .streaming import LayerStream, StreamState, stream
from .subpixel import Subpixel
from .tone_free import equal_phase_biases, equal_phase_gains
from .transposed import Transposed
from .wavelet import Haar, LazyWavelet

__all__ = [
    "Cubic",
    "FoldedUpsampler",
    "Haar",
    "Hold",
    "Interpolation",
    "LayerStream",
    "LazyWavelet",
    "Learned",
    "Lifting",
    "Linear",
    "Nearest",
    "PolyphaseUpsampler",
    "Resample",
    "Sinc",
    "StreamState",
    "Stretch",
    "Subpixel",
    "Transposed",
    "Upsampler",
    "assign",
    "available",
    "equal_phase_biases",
    "equal_phase_gains",
    "fold_for_inference",
    "get",
    "linear_system",
    "make",
    "measured_system",
    "register",
    "stream",
    "to_subpixel",
    "to_transposed",
]
