"""Lengths, polyphase algebra, fixed kernels, levels. Needs torch only."""

from .forms import InterpolatedConvolution
from .kernels import (
    InterpolationKernel,
    cubic_kernel,
    hold_kernel,
    interpolate,
    linear_kernel,
    nearest_kernel,
    sinc_kernel,
    stretch_kernel,
)
from .lengths import (
    center_trim,
    centered_padding,
    covering_frames,
    strided_length,
    transposed_length,
)
from .levels import mono_level
from .polyphase import polyphase_merge, polyphase_split
from .system import UpsamplingSystem

__all__ = [
    "InterpolatedConvolution",
    "InterpolationKernel",
    "UpsamplingSystem",
    "center_trim",
    "centered_padding",
    "covering_frames",
    "cubic_kernel",
    "hold_kernel",
    "interpolate",
    "linear_kernel",
    "mono_level",
    "nearest_kernel",
    "polyphase_merge",
    "polyphase_split",
    "sinc_kernel",
    "stretch_kernel",
    "strided_length",
    "transposed_length",
]
