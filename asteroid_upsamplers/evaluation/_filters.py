"""The distortion filters of BSS Eval: from correlations over a whole song to least squares.

An estimate is projected onto references delayed by 0 to ``taps - 1`` samples. With ``s_i`` the
channels of these references and ``e`` a channel of the estimate, the filters ``h_i`` solve

    sum over j, b of <s_i delayed by a, s_j delayed by b> h_j(b) = <s_i delayed by a, e>

for all i and a. The song goes on with zeros at both ends, so the products depend on ``a - b`` only:
they are correlations ``r_ij(a - b)``, and the matrix consists of Toeplitz blocks.
"""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

import numpy as np

BLOCKS = 8
"""How many blocks of a song are transformed together."""


def read(signals: Any, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
    """Samples of some sources, ``(source, channel, time)``, in double precision."""
    if out is None:
        out = np.empty((len(signals), signals[0].shape[1], stop - start))
    for samples, signal in zip(out, signals, strict=True):
        samples[:] = signal[start:stop].T
    return out


def filter_sets(
    r: np.ndarray, channels: int, noise: float, arrays: Any
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Filters from references to estimates: onto the own source, and onto all of them.

    Args:
        r: As :func:`correlations` gives it.
        channels: Of each source.
        noise: As :func:`solve` takes it.
        arrays: Where to compute.

    Returns:
        Two arrays ``(channel of references, tap, channel of estimates)``. Then two more, for
        references with noise on top, unless the references do not determine the filters.
    """
    total = len(r)
    onto_all = solve(r, noise, arrays)
    if total == channels:
        return [(h, h) for h in onto_all]
    onto_own = [np.zeros_like(onto_all[0]) for _ in range(2)]
    count = len(onto_all)
    for first in range(0, total, channels):
        own = slice(first, first + channels)
        estimate = slice(total + first, total + first + channels)
        found = solve(np.concatenate([r[own, own], r[own, estimate]], 1), noise, arrays)
        count = min(count, len(found))
        for target, h in zip(onto_own, found, strict=False):
            target[own, :, own] = h
    return list(zip(onto_own, onto_all, strict=False))[:count]


def correlations(
    references: Any, estimates: Any, taps: int, arrays: Any, pool: Executor
) -> tuple[np.ndarray, float]:
    """Correlations of the channels of the references with those of references and estimates.

    The song is cut into blocks. Those of ``y`` are padded with zeros, and those of ``s`` begin
    ``taps - 1`` samples earlier: their circular correlation is the true one. The products of the
    spectra are summed over the blocks; only the sums are transformed back.

    Returns:
        ``r[i, k, a] = sum over n of s_i(n - a) y_k(n)`` for ``a`` from 0 to ``taps - 1``, and the
        loudest sample of ``s``.
    """
    context, length = taps - 1, len(references[0])
    size = 2 ** max(10, (8 * context - 1).bit_length())
    step = size - context

    def products(start: int) -> tuple[Any, float]:
        blocks = min(BLOCKS, -(-(length - start) // step))
        first, last = max(0, start - context), min(start + blocks * step, length)
        audio = np.zeros((2, len(references), references[0].shape[1], context + blocks * step))
        inside = audio[..., first - start + context : last - start + context]
        for signals, samples in zip((references, estimates), inside, strict=True):
            read(signals, first, last, samples)
        y = arrays.put(audio.reshape(-1, audio.shape[-1]))
        s = arrays.frames(y[: len(y) // 2], size, step)
        y = y[:, context:].reshape(len(y), blocks, step)
        s = arrays.permute(arrays.rfft(s), 2, 0, 1)
        y = arrays.permute(arrays.rfft(y, size).conj(), 2, 1, 0)
        return s @ y, np.abs(audio[0]).max()

    found = pool.map(products, range(0, length, BLOCKS * step))
    total, peak = next(found)
    for product, loudest in found:
        total += product
        peak = max(peak, loudest)
    r = arrays.get(arrays.irfft(arrays.permute(total, 1, 2, 0), size))
    return r[..., :taps][..., ::-1], peak


def solve(r: np.ndarray, noise: float, arrays: Any) -> list[np.ndarray]:
    """Filters from ``n`` channels of references to ``m`` channels of estimates.

    Where the matrix is not positive definite, they are found as museval finds them: by Gaussian
    elimination, or by least squares where that meets a zero.

    Args:
        r: Correlations of the references with themselves and with the estimates,
            ``(n, n + m, taps)``.
        noise: Energy of noise in each channel of the references, independent of all else.
        arrays: Where to compute.

    Returns:
        ``(n, taps, m)``, and, if the matrix is positive definite, the same for references with
        noise on top, to first order: ``(G + noise I)^-1 d = h - noise G^-1 h + ...``.
    """
    n, _, taps = r.shape
    right = r[:, n:].transpose(0, 2, 1).reshape(n * taps, -1)
    solver = arrays.cholesky(arrays.put(system(r[:, :n])))
    if solver is not None:
        h = solver(arrays.put(right))
        found = [arrays.get(h), arrays.get(h - noise * solver(h))]
    else:
        matrix = system(r[:, :n])
        try:
            found = [np.linalg.solve(matrix, right)]
        except np.linalg.LinAlgError:
            matrix.ravel()[:: n * taps + 1] -= np.finfo(float).eps
            found = [np.linalg.lstsq(matrix, right)[0]]
    return [h.reshape(n, taps, -1) for h in found]


def system(r: np.ndarray) -> np.ndarray:
    """The matrix of the delayed references, in the order (channel, delay)."""
    n, _, taps = r.shape
    lags = np.concatenate([r.swapaxes(0, 1)[..., :0:-1], r], axis=-1)
    # lags[i, j, taps - 1 + a - b] is <s_i delayed by a, s_j delayed by b>
    blocks = np.lib.stride_tricks.sliding_window_view(lags, taps, axis=-1)[..., ::-1]
    matrix = blocks.transpose(0, 2, 1, 3).copy().reshape(n * taps, n * taps)
    matrix.ravel()[:: n * taps + 1] += np.finfo(float).eps  # as museval does
    return matrix
