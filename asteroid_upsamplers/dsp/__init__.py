"""Lengths, polyphase algebra, fixed kernels, levels, chunked processing. Needs torch only."""

from .chunks import Context, no_context, overlap_add, separate_chunks
from .forms import InterpolatedConvolution
from .kernels import (
    InterpolationKernel,
    cubic_kernel,
    interpolate,
    linear_kernel,
    nearest_kernel,
    sinc_kernel,
    stretch_kernel,
)
from .lengths import center_trim, centered_padding, strided_length, transposed_length
from .levels import mono_level
from .polyphase import polyphase_merge, polyphase_split
from .shifts import shift_averaged, shifted_context

__all__ = [
    "Context",
    "InterpolatedConvolution",
    "InterpolationKernel",
    "center_trim",
    "centered_padding",
    "cubic_kernel",
    "interpolate",
    "linear_kernel",
    "mono_level",
    "nearest_kernel",
    "no_context",
    "overlap_add",
    "polyphase_merge",
    "polyphase_split",
    "separate_chunks",
    "shift_averaged",
    "shifted_context",
    "sinc_kernel",
    "stretch_kernel",
    "strided_length",
    "transposed_length",
]
