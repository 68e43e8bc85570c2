"""BSS Eval v4 as museval computes it: the same numbers, in a tenth of the time or less.

An estimate ``e`` of a source ``s`` is compared with two projections: ``P_j e`` onto the source's
own reference and ``P e`` onto the references of all sources, both with delays of 0 to 511 samples
and one set of filters for the whole song (:mod:`._filters`). In each window, of the window's
samples alone and over all channels,

    SDR = |s|^2 / |e - s|^2               distortion of any kind
    ISR = |s|^2 / |P_j e - s|^2           filtering and panning
    SIR = |P_j e|^2 / |P e - P_j e|^2     interference of the other sources
    SAR = |P e|^2 / |e - P e|^2           artifacts: what no filter makes of the references

in dB. museval convolves each reference with each filter in each window. Here each reference and
estimate of a window is transformed once and multiplied by the spectra of the filters; the energies
are those of the spectra (Parseval's theorem). The filters of all estimates come from one
factorisation.

SDR does not depend on the filters. The other three are worth as much as the filters are, and those
are not determined where the references have no energy: two channels are equal, or nothing sounds
in some band, not even the noise of a recording. There the filters are large and arbitrary. Over
the whole song that cancels, but not at the edges of a window. So windows are also scored with a
second set of filters: those of the references with inaudible noise on top, -120 dB against their
loudest sample, 30 dB below the last of 16 bits. The noise is independent of everything, so all it
does on average is to add its energy to the diagonal of the matrix. Where this moves the median over
the windows of any of the three by more than 0.1 dB, they say nothing of the estimates: ``reliable``
is false.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import scipy.fft
import torch
from threadpoolctl import threadpool_limits

from ..errors import UsageError
from ._arrays import NumPy, Torch
from ._filters import correlations, filter_sets, read
from ._samples import FileSamples, blocks

NOISE_DB = -120.0
"""Of the noise that must not matter, against the loudest sample of the references."""

MOST_DB = 0.1
"""How far that noise may move a median."""

CEILING_DB = 60.0
"""Medians beyond it are taken as equal: what filters make of the references exactly, such as their
sum, has a SAR of 200 dB, which is rounding noise.
"""

WINDOWS = 4
"""How many windows are transformed together."""

GROUPS_WITH_NOISE = 8
"""How many such groups, spread over the song, are scored with the second set of filters."""


class Scores(NamedTuple):
    """Scores of the estimates of a song, in dB, each ``(source, window)``.

    NaN in windows in which a reference or an estimate is silent, as museval has it.
    """

    SDR: np.ndarray
    ISR: np.ndarray
    SIR: np.ndarray
    SAR: np.ndarray
    reliable: bool
    """Whether ISR, SIR and SAR say something: the references determine the filters."""


def bss_eval(
    references: np.ndarray | Sequence[np.ndarray | FileSamples],
    estimates: np.ndarray | Sequence[np.ndarray | FileSamples],
    window: float = 44100,
    hop: float = 44100,
    filters_len: int = 512,
    *,
    sdr_only: bool = False,
    threads: int = 1,
    device: str | torch.device = "cpu",
) -> Scores:
    """Score the estimates of a song as ``museval.metrics.bss_eval`` does (images, v4).

    Besides its input it needs memory for the square matrix of ``source * channel * filters_len``,
    and for some windows; how long the song is does not matter.

    Args:
        references: True sources, ``(source, time, channel)``, or a ``(time, channel)`` for each:
            an array, or :class:`._samples.FileSamples`, which stay in their files.
        estimates: The same for the estimates, in the same order.
        window: Length of a window in samples, at least 1. A song that is not longer is one window.
        hop: Samples from the start of a window to that of the next, above 0.
        filters_len: Taps of the distortion filters, at least 1.
        sdr_only: Whether to leave out ISR, SIR and SAR, which take most of the time: they are NaN.
        threads: How many cores to use on the CPU.
        device: Where to compute: ``"cpu"``, or ``"cuda"`` for a GPU.

    Raises:
        UsageError: A wrong setting; sources of different shapes, or without samples; a sample that
            is NaN or infinite; or a source that is silent throughout (its channels add up to 0).

    Example:
        >>> drums, bass = np.random.default_rng(0).standard_normal((2, 8000, 1))
        >>> scores = bss_eval([drums, bass], [drums + 0.1 * bass, bass], 4000, 4000, filters_len=8)
        >>> scores.SDR.round(0)
        array([[20., 20.],
               [inf, inf]])
    """
    pair = [_as_signals(references), _as_signals(estimates)]
    _check_settings(window, hop, filters_len, threads)
    _check_shapes(*pair)
    for name, signals in zip(("reference", "estimate"), pair, strict=True):
        for number, signal in enumerate(signals):
            _check_samples(signal, f"{name} {number}")
    bounds = _windows(len(pair[0][0]), window, hop)
    if sdr_only:
        with threadpool_limits(1):
            sdr = np.array([_sdr(pair, *window) for window in bounds]).T
        nothing = np.full_like(sdr, np.nan)
        return Scores(sdr, nothing, nothing, nothing, False)
    groups = [bounds[n : n + WINDOWS] for n in range(0, len(bounds), WINDOWS)]
    with_noise = range(0, len(groups), -(-len(groups) // GROUPS_WITH_NOISE))
    arrays = NumPy() if torch.device(device).type == "cpu" else Torch(torch.device(device))
    with threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
        r, peak = correlations(pair[0], pair[1], filters_len, arrays, pool)
        noise = len(pair[0][0]) * peak**2 * 10 ** (NOISE_DB / 10)
        with threadpool_limits(threads):
            sets = filter_sets(r, pair[0][0].shape[1], noise, arrays)
        scorer = _WindowScorer(pair, max(b - a for a, b in bounds), sets, arrays)
        counts = [len(sets) if n in with_noise else 1 for n in range(len(groups))]
        scores = np.concatenate(list(pool.map(scorer, groups, counts)), axis=-1)
    sdr, isr, sir, sar = scores[0]
    return Scores(sdr, isr, sir, sar, len(sets) == 2 and _is_steady(*scores[:, 1:]))


def _sdr(pair: Any, start: int, stop: int) -> list[float]:
    """SDR of every source in one window."""
    found = []
    for both in zip(*pair, strict=True):
        s, e = (np.asarray(signal[start:stop], dtype=float) for signal in both)
        if not (_is_heard(s) and _is_heard(e)):
            return [math.nan] * len(pair[0])
        error = (e - s).ravel()
        found.append(float(_decibels(s.ravel() @ s.ravel(), error @ error)))
    return found


def _is_heard(signal: np.ndarray) -> bool:
    """Whether the channels ever add up to something; most songs say it in their first samples."""
    return any(part.sum(axis=1, dtype=float).any() for part in (signal[:64], signal[64:]))


class _WindowScorer:
    """Scores windows of a song with one or two sets of filters."""

    def __init__(self, pair: Any, longest: int, sets: Any, arrays: Any) -> None:
        self.pair, self.longest, self.arrays = pair, longest, arrays
        self.size = _fast_size(longest + sets[0][0].shape[1] - 1)
        self.spectra = [[self._spectra(filters) for filters in both] for both in sets]

    def _spectra(self, filters: np.ndarray) -> Any:
        """From ``(reference, tap, estimate)`` to ``(frequency, reference, estimate)``."""
        signals = self.arrays.put(filters.swapaxes(1, 2))
        return self.arrays.permute(self.arrays.rfft(signals, self.size), 2, 0, 1)

    def __call__(self, bounds: Sequence[tuple[int, int]], count: int) -> np.ndarray:
        """Scores in dB, ``(2, metric, source, window)``, with the first ``count`` sets of filters.

        ``bounds`` are the first sample of each window and one past its last.
        """
        audio = self._read(bounds)
        heard = audio.sum(axis=3).any(axis=-1).all(axis=(1, 2))
        scores = np.full((2, 4, audio.shape[2], len(bounds)), np.nan)
        if not heard.any():
            return scores
        audio = audio if heard.all() else audio[heard]
        true = _energy(audio[:, 0])
        scores[0, 0][:, heard] = _decibels(true, _energy(audio[:, 1] - audio[:, 0]))
        spatial, own, others, everything, artifacts = self._projected(audio, count)
        scores[:count, 1][..., heard] = _decibels(true, spatial)
        scores[:count, 2][..., heard] = _decibels(own, others)
        scores[:count, 3][..., heard] = _decibels(everything, artifacts)
        return scores

    def _read(self, bounds: Sequence[tuple[int, int]]) -> np.ndarray:
        """``(window, reference or estimate, source, channel, time)``."""
        sources, channels = len(self.pair[0]), self.pair[0][0].shape[1]
        audio = np.zeros((len(bounds), 2, sources, channels, self.longest))
        for window, (start, stop) in zip(audio, bounds, strict=True):
            for samples, signals in zip(window, self.pair, strict=True):
                read(signals, start, stop, samples[..., : stop - start])
        return audio

    def _projected(self, audio: np.ndarray, count: int) -> np.ndarray:
        """Energies of ``P_j e - s``, ``P_j e``, ``P e - P_j e``, ``P e`` and ``e - P e``.

        Returns:
            ``(which of these, set of filters, source, window)``.
        """
        arrays, (windows, _, sources, channels, _) = self.arrays, audio.shape
        x = arrays.rfft(arrays.put(audio.reshape(windows, -1, audio.shape[-1])), self.size)
        x[..., [0, -1]] *= 0.5**0.5  # all others stand for a negative frequency too
        energies: Any = 0
        for first in range(0, x.shape[-1], arrays.bins):
            part = slice(first, first + arrays.bins)
            both = arrays.permute(x[..., part], 2, 0, 1)
            s, e = both[..., : sources * channels], both[..., sources * channels :]
            found = []
            for own_filters, all_filters in self.spectra[:count]:
                own, everything = s @ own_filters[part], s @ all_filters[part]
                wanted = (own - s, own, everything - own, everything, e - everything)
                found.append([arrays.get(arrays.energy(y)) for y in wanted])
            energies = energies + np.array(found)
        energies = energies.reshape(count, 5, windows, sources, channels).sum(axis=-1)
        return 2 / self.size * energies.transpose(1, 0, 3, 2)


def _energy(samples: np.ndarray) -> np.ndarray:
    return np.einsum("wsct,wsct->sw", samples, samples)


def _decibels(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Infinite where the denominator is 0, as museval has it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator == 0, np.inf, 10 * np.log10(numerator / denominator))


def _is_steady(scores: np.ndarray, with_noise: np.ndarray) -> bool:
    """Whether medians over windows, ``(metric, source, window)``, stay where they were."""
    both = ~np.isnan(scores + with_noise).any(axis=(0, 1))
    if not both.any():
        return False
    medians, moved = (
        np.clip(np.median(values[..., both], axis=-1), -CEILING_DB, CEILING_DB)
        for values in (scores, with_noise)
    )
    return bool((np.abs(moved - medians) <= MOST_DB).all())


def _fast_size(least: int) -> int:
    """An even length with a fast transform: multiples of large powers of two are the fastest."""
    unit = 2 ** max(1, least.bit_length() - 8)
    return unit * scipy.fft.next_fast_len(-(-least // unit), real=True)


def _windows(length: int, window: float, hop: float) -> list[tuple[int, int]]:
    """First sample of each window, and one past its last, as museval's ``Framing`` has them."""
    if window >= length:
        return [(0, length)]
    if hop == math.inf:
        raise UsageError("hop is infinite: must be finite unless the window is the whole song")
    count = int((length - window + hop) / hop)
    return [(int(n * hop), int(min(n * hop + window, length))) for n in range(count)]


def _as_signals(sources: Any) -> list[Any]:
    """A ``(time, channel)`` for each source."""
    signals: list[Any] = [s if isinstance(s, FileSamples) else np.asarray(s) for s in sources]
    return [signal[:, None] if signal.ndim == 1 else signal for signal in signals]


def _check_settings(window: float, hop: float, filters_len: int, threads: int) -> None:
    if not (window >= 1 and hop > 0):
        raise UsageError(f"window {window} must be at least 1 sample, and hop {hop} above 0")
    if filters_len < 1 or threads < 1:
        raise UsageError(f"filters_len {filters_len} and threads {threads} must be at least 1")


def _check_shapes(references: list[np.ndarray], estimates: list[np.ndarray]) -> None:
    shapes, others = ([s.shape for s in signals] for signals in (references, estimates))
    if shapes != others or len(set(shapes)) > 1:
        raise UsageError(
            "references and estimates must have the same shape (time, channel) for each source, "
            f"not {shapes} and {others}"
        )
    if not shapes or len(shapes[0]) != 2 or not min(shapes[0]):
        raise UsageError(f"sources are {shapes}, must be (time, channel) with at least one sample")


def _check_samples(signal: np.ndarray | FileSamples, name: str) -> None:
    if not all(np.isfinite(block).all() for block in blocks(signal)):
        raise UsageError(f"{name} has NaN or infinite samples")
    if not any(_is_heard(block) for block in blocks(signal)):
        raise UsageError(f"{name} is silent throughout: its channels add up to 0")
