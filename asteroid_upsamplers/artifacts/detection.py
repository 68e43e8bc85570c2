r"""Whether there is a steady tone at a known frequency, with a stated rate of false alarms.

Music is no white noise: it has partials, decays and pauses, which a threshold for noise takes for
tones. What tells a tone of an upsampling layer from them is that its frequency is known exactly and
that it stays for the whole signal. Thomson's F-test ([8]) asks just that. It takes :math:`K`
orthogonal windows :math:`v_k` over the whole signal, whose spectra at a frequency are

.. math:: y_k(f) = \sum_n v_k[n] x[n] e^{-2 \pi i f n} .

A steady sinusoid gives :math:`\mu V_k`, with the windows' sums :math:`V_k`; anything else that is
smooth over the few bins of the windows' bandwidth gives random, uncorrelated :math:`y_k` of the
same power, whatever the spectrum and level. With the least-squares :math:`\hat\mu` the ratio

.. math:: F = \frac{(K - 1) |\hat\mu|^2 \sum_k V_k^2}{\sum_k |y_k - \hat\mu V_k|^2}

has an F distribution of 2 and :math:`2 K - 2` degrees of freedom if there is no tone.

[8] Thomson, "Spectrum estimation and harmonic analysis", Proc. IEEE 70, 1982, Sec. XIII.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import scipy  # its parts are imported when they are first used
import torch
from torch import Tensor
from torch.nn import functional as F

from ..dsp.spectra import decibels
from ..errors import UsageError
from .checks import real_signal, tone_bins, within
from .result import Result

BANDWIDTH = 8.0
"""Half the windows' bandwidth, in bins of the whole signal."""

WINDOWS = 14
LEAST_TIME = 64
LONGEST_PERIOD = 2**14
"""In samples; tones that share a longer one are looked at one by one."""

LONGEST_PART = 2**18
"""Samples; a longer signal is tested in parts, their p-values combined by Fisher's method."""


@dataclass(frozen=True)
class Detection(Result):
    """Tones at known frequencies in one signal.

    Args:
        frequencies_hz: Where was looked.
        levels_db: Of the tone there, rms in dB against 1, whether it is significant or not, in the
            channel where it is loudest; -400 for none.
        over_floor_db: Its power there against the power of everything else in one Hz.
        p_values: Probability that a signal without a tone looks so much like one.
        present: Whether the p-value is below the rate of false alarms.
        false_alarm: That rate, for each frequency.
    """

    frequencies_hz: list[float]
    levels_db: list[float]
    over_floor_db: list[float]
    p_values: list[float]
    present: list[bool]
    false_alarm: float


def detect_tones(
    signal: Tensor, sample_rate: float, frequencies: Sequence[float], false_alarm: float = 1e-3
) -> Detection:
    """Look for steady tones.

    Args:
        signal: ``(time,)`` or ``(channels, time)``; the channel with the surest tone counts for the
            p-value, which is corrected for the choice.
        sample_rate: In Hz.
        frequencies: In Hz, above 0, up to half the sample rate.
        false_alarm: For each frequency, between 0 and 1. Of ten frequencies in a signal without
            tones, one in a hundred signals shows one at 1e-3.

    Raises:
        UsageError: (a ``ValueError``) for a signal of fewer than 64 samples, or one that is not
            finite; for frequencies or a rate of false alarms out of range.
    """
    signal = real_signal(signal, LEAST_TIME).cpu()
    channels = signal.reshape(-1, signal.shape[-1])
    parts = (channels[:, part] for part in parts_of(channels.shape[-1]))
    return detect_in_parts(parts, sample_rate, frequencies, false_alarm)


def parts_of(time: int) -> list[slice]:
    """Equal parts of a signal of so many samples, as long as they may be.

    Raises:
        UsageError: (a ``ValueError``) if it has fewer than 64 samples.
    """
    if time < LEAST_TIME:
        raise UsageError(f"signal of {time} samples, at least {LEAST_TIME} are needed")
    count = -(-time // LONGEST_PART)
    length = time // count
    return [slice(k * length, (k + 1) * length) for k in range(count)]


def detect_in_parts(
    parts: Iterable[Tensor],
    sample_rate: float,
    frequencies: Sequence[float],
    false_alarm: float,
    shift: float = 0.0,
) -> Detection:
    """:func:`detect_tones` for a signal that need not be in memory as a whole.

    Args:
        parts: What :func:`parts_of` says, ``(channels, time)`` each.
        sample_rate: As there, and so are the other arguments.
        frequencies: See above.
        false_alarm: See above.
        shift: From each frequency to where is looked instead, in Hz.
    """
    within("false_alarm", false_alarm, 0, 1)
    frequencies = [float(frequency) for frequency in frequencies]
    tone_bins(sample_rate, frequencies, LEAST_TIME)  # are they in range?
    tests = []
    for part in parts:
        samples = real_signal(part, LEAST_TIME)
        windows = _windows(samples.shape[1])
        spectra = _spectra(samples, windows, frequencies, sample_rate, shift)
        pairs = zip(frequencies, spectra, strict=True)
        tests.append(
            [
                _f_test(s, windows.sum(1), f + shift == sample_rate / 2, sample_rate)
                for f, s in pairs
            ]
        )
    found = [_surest(column, false_alarm) for column in zip(*tests, strict=True)]
    return Detection(
        [frequency + shift for frequency in frequencies],
        [_db(power) for power, _, _ in found],
        [_db(power, floor) for power, floor, _ in found],
        [p_value for _, _, p_value in found],
        [p_value < false_alarm for _, _, p_value in found],
        false_alarm,
    )


def _surest(tests: Sequence[list[list[float]]], false_alarm: float) -> tuple[float, float, float]:
    """Power, power of the floor in one Hz, and p-value over all parts.

    The p-value is that of the surest channel, and so are the powers if there is no tone; else they
    are those of the loudest channel that has one.
    """
    powers, floors, p_values = torch.tensor(tests, dtype=torch.float64).permute(1, 2, 0)
    combined = [
        float(row[0]) if len(tests) == 1 else float(scipy.stats.combine_pvalues(row.numpy()).pvalue)
        for row in p_values
    ]
    corrected = [-math.expm1(len(combined) * math.log1p(-min(p, 1 - 1e-16))) for p in combined]
    levels = powers.mean(1).tolist()
    best = min(range(len(combined)), key=lambda k: (combined[k], -levels[k]))
    having = [k for k, p in enumerate(corrected) if p < false_alarm]
    shown = max(having, key=lambda k: levels[k], default=best)
    return levels[shown], float(floors[shown].mean()), corrected[best]


def _spectra(
    channels: Tensor,
    windows: Tensor,
    frequencies: Sequence[float],
    sample_rate: float,
    shift: float,
) -> Iterable[Tensor]:
    """Of each frequency ``(channels, windows)``, complex.

    Multiples of the sample rate over one whole number of samples are those of one short Fourier
    transform: of the windowed signal, folded to that many samples. To shift the frequencies, the
    signal's own are shifted the other way.
    """
    turns = torch.arange(channels.shape[1], dtype=torch.float64) * (2 * math.pi / sample_rate)
    ratios = [Fraction(f / sample_rate).limit_denominator(LONGEST_PERIOD) for f in frequencies]
    exact = all(abs(r - f / sample_rate) < 1e-12 for r, f in zip(ratios, frequencies, strict=True))
    period = math.lcm(*(ratio.denominator for ratio in ratios))
    if exact and period <= LONGEST_PERIOD:
        missing = -channels.shape[1] % period
        if shift:
            channels = channels * torch.polar(torch.ones_like(turns), -shift * turns)
        folded = [
            F.pad(channels * window, (0, missing)).unflatten(1, (-1, period)).sum(1)
            for window in windows
        ]
        lines = torch.fft.fft(torch.stack(folded, 1))
        yield from (lines[..., int(ratio * period)] for ratio in ratios)
        return
    for frequency in frequencies:
        angles = (frequency + shift) * turns
        yield torch.complex(
            (channels * angles.cos()) @ windows.T, -(channels * angles.sin()) @ windows.T
        )


def _f_test(spectra: Tensor, sums: Tensor, real: bool, sample_rate: float) -> list[list[float]]:
    """Powers of the tone, powers of the rest in one Hz, and p-values, each of all channels.

    No tensors, which would scatter over the memory of large ones if many are kept.
    """
    amplitude = (spectra @ sums.to(spectra.dtype)) / sums.square().sum()
    explained = amplitude.abs().square() * sums.square().sum()
    rest = (spectra - amplitude[:, None] * sums).abs().square().sum(1)
    ratio = ((WINDOWS - 1) * explained / rest).nan_to_num(nan=0.0)
    # at half the sample rate everything is real: half the degrees of freedom, no negative frequency
    degrees = (1, WINDOWS - 1) if real else (2, 2 * WINDOWS - 2)
    sides = 1 if real else 2
    p_values = torch.from_numpy(scipy.stats.f.sf(ratio.numpy(), *degrees))
    floor = sides * rest / (WINDOWS - 1) / sample_rate
    return torch.stack([sides * amplitude.abs().square(), floor, p_values]).tolist()


def detectable_level(seconds: float, false_alarm: float = 1e-3, power: float = 0.99) -> float:
    """The tone, in dB over the power of the noise in one Hz, that is found with a given certainty.

    Args:
        seconds: Length of the signal.
        false_alarm: As in :func:`detect_tones`.
        power: Probability of finding it, between 0 and 1.
    """
    within("seconds", seconds, 0)
    within("false_alarm", false_alarm, 0, 1)
    within("power", power, false_alarm, 1)
    degrees = 2, 2 * WINDOWS - 2
    threshold = scipy.stats.f.isf(false_alarm, *degrees)

    def excess(level: float) -> float:
        return (
            float(scipy.stats.ncf.sf(threshold, *degrees, _noncentrality(level, seconds))) - power
        )

    return float(scipy.optimize.brentq(excess, -40, 60))


def _noncentrality(level: float, seconds: float) -> float:
    """Of the F-test, for a tone of ``level`` dB over the noise in one Hz (one-sided)."""
    sums = _windows(4096).sum(1)
    return 2 * 10 ** (level / 10) * seconds * float(sums.square().sum()) / 4096


def _db(power: float, reference: float = 1.0) -> float:
    return float(decibels(torch.tensor(power, dtype=torch.float64), reference))


@functools.lru_cache(maxsize=4)
def _windows(time: int) -> Tensor:
    """``(WINDOWS, time)``, orthonormal."""
    return torch.from_numpy(scipy.signal.windows.dpss(time, BANDWIDTH, WINDOWS).copy())
