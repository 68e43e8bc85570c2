"""Which precision a sum is formed in, and whether torch is making a program of it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Keep autocast from rounding what is computed inside."""
    if device.type == "meta":  # it computes nothing, and knows no autocast
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def becomes_a_program() -> bool:
    """Whether torch records what runs (compiling, exporting, tracing), to run it at any length.

    Nothing may be decided by the length of a signal then.
    """
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def works_in_half_precision(x: torch.Tensor) -> bool:
    """Whether a matrix product or convolution of ``x`` would be rounded to 16 bits."""
    device, dtype = x.device.type, x.dtype
    if device != "meta" and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    return torch.finfo(dtype).bits < 32
