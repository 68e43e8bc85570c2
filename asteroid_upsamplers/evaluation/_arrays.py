"""The array operations of BSS Eval: NumPy and SciPy on the CPU, torch on a GPU.

On one core of a CPU NumPy takes a tenth of torch's time for the small matrix products over all
frequencies that BSS Eval is made of, and SciPy two thirds of it for the factorisation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.fft
import scipy.linalg
import torch

Solver = Callable[[Any], Any]


class NumPy:
    """On the CPU."""

    bins = 1024
    """Frequencies whose numbers fit into the cache of a core together."""

    concatenate = staticmethod(np.concatenate)
    rfft = staticmethod(scipy.fft.rfft)
    irfft = staticmethod(scipy.fft.irfft)

    def put(self, array: np.ndarray) -> Any:
        """The array where it is computed with."""
        return array

    def get(self, array: Any) -> np.ndarray:
        """The array on the CPU."""
        return array

    def frames(self, signals: Any, size: int, step: int) -> Any:
        """``(..., time)`` cut into ``(..., frame, size)``."""
        return np.lib.stride_tricks.sliding_window_view(signals, size, -1)[..., ::step, :]

    def permute(self, array: Any, *axes: int) -> Any:
        """The axes in another order, in memory too, as matrix products want it."""
        return np.ascontiguousarray(array.transpose(axes))

    def energy(self, spectra: Any) -> Any:
        """Sum of squared magnitudes over the first axis of ``(frequency, window, signal)``."""
        parts = spectra.view(float)
        squares = np.einsum("fws,fws->ws", parts, parts)
        return squares[:, ::2] + squares[:, 1::2]

    def cholesky(self, matrix: Any) -> Solver | None:
        """What solves with a symmetric matrix; ``None`` if it is not positive definite.

        The matrix is overwritten.
        """
        factor, info = scipy.linalg.lapack.dpotrf(matrix.T, lower=1, clean=0, overwrite_a=1)
        if info:
            return None
        return lambda right: scipy.linalg.lapack.dpotrs(factor, right, lower=1)[0]


class Torch:
    """On a device of torch."""

    bins = 2**16

    def __init__(self, device: torch.device) -> None:
        self.device = device

    concatenate = staticmethod(torch.cat)
    rfft = staticmethod(torch.fft.rfft)
    irfft = staticmethod(torch.fft.irfft)

    def put(self, array: np.ndarray) -> Any:
        """As :meth:`NumPy.put`."""
        return torch.as_tensor(array, device=self.device)

    def get(self, array: Any) -> np.ndarray:
        """As :meth:`NumPy.get`."""
        return array.cpu().numpy()

    def frames(self, signals: Any, size: int, step: int) -> Any:
        """As :meth:`NumPy.frames`."""
        return signals.unfold(-1, size, step)

    def permute(self, array: Any, *axes: int) -> Any:
        """As :meth:`NumPy.permute`."""
        return array.permute(axes).contiguous()

    def energy(self, spectra: Any) -> Any:
        """As :meth:`NumPy.energy`."""
        return torch.view_as_real(spectra).square().sum((0, -1))

    def cholesky(self, matrix: Any) -> Solver | None:
        """As :meth:`NumPy.cholesky`."""
        factor, info = torch.linalg.cholesky_ex(matrix)
        if info:
            return None
        return lambda right: torch.cholesky_solve(right, factor)
