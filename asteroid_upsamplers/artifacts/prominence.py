r"""Tones in real signals: how far a line stands out of the noise around it.

The floor at a frequency is the median of Welch's spectrum 4 to 24 bins away. Over ``M`` windows of
Gaussian noise that is flat there, the spectrum of one bin has a gamma distribution of shape
:math:`M_e = M / (1 + 1/18)` (Hann windows that overlap by half share a little of their noise), and
the median of :math:`B` bins is nearly normal, of variance :math:`\pi / (2 B_e M_e)`, with
:math:`B_e \approx B / 1.94`, as neighbouring bins of a Hann window share 4/9 of their power. From
these follows the threshold that noise exceeds with a stated probability.

The level of a line over the floor grows with the length of the window, by 3 dB for each doubling,
and does not depend on the signal's length; the threshold falls with that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import scipy  # its parts are imported when they are first used
import torch
from torch import Tensor

from ..dsp.spectra import decibels, welch, welch_frames
from ..errors import UsageError
from .checks import at_least, real_signal, tone_bins, within

NEAR, FAR = 4, 24
"""The floor is measured so many bins away, on either side."""

NOTHING = 1e-28
"""Bins below this share of the largest are rounding errors, and taken for zero."""

BINS = 2 * (FAR - NEAR + 1)
SHARED = 1 / 18
"""Squared correlation of the power in neighbouring windows, times two."""

NEIGHBOURS = 1 + 2 * (4 / 9 + 1 / 36)
"""How many bins of a Hann window count as one."""


def prominence(
    signal: Tensor, sample_rate: float, frequencies: Sequence[float], n_fft: int = 16384
) -> Tensor:
    """How far a signal stands out of the noise floor around each frequency.

    Args:
        signal: ``(..., time)``, at least ``n_fft`` samples; spectra are averaged over the channels.
        sample_rate: In Hz.
        frequencies: In Hz, above 0, up to half the sample rate; each is taken at the nearest bin,
            of which there are ``n_fft / sample_rate`` in a Hz.
        n_fft: Length of a window, in samples.

    Returns:
        ``(len(frequencies),)`` in dB: the power at the bin over the median of the bins 4 to 24
        away, those of the other ``frequencies`` left out; 400 for a line with nothing around it, 0
        where there is nothing at all.

    Raises:
        UsageError: (a ``ValueError``) for a signal that is not finite or shorter than a window, or
            frequencies out of range.

    Example:
        >>> time = torch.arange(2**16) / 16000
        >>> noise = torch.randn(2**16, generator=torch.Generator().manual_seed(0))
        >>> hum = torch.sin(2 * math.pi * 4000 * time)
        >>> bool(prominence(hum + noise, 16000, [4000.0], n_fft=4096)[0] > 25)
        True
    """
    signal = real_signal(signal)
    bins = tone_bins(sample_rate, frequencies, at_least("n_fft", n_fft, 2 * FAR))
    power = welch(signal.reshape(-1, signal.shape[-1]), n_fft).mean(0).cpu()
    if not power.isfinite().all():
        raise UsageError("the signal's samples are too large for their power")
    power = torch.where(power > NOTHING * power.max(), power, 0.0)
    taken = torch.zeros(len(power), dtype=torch.bool)
    for index in bins:  # a Hann window spreads a line over its neighbours
        taken[max(0, index - 1) : index + 2] = True
    levels = []
    for index in bins:
        near = _around(index, len(power))
        free = near[~taken[near]]
        floor = power[free if len(free) else near].median()
        nothing = torch.zeros((), dtype=power.dtype)
        levels.append(decibels(power[index], floor) if power[index] > 0 else nothing)
    return torch.stack(levels) if levels else power[:0]


def prominence_threshold(
    time: int,
    n_fft: int = 16384,
    tones: int = 1,
    false_alarm: float = 1e-3,
    at_half_rate: bool = False,
) -> float:
    """The prominence, in dB, that the loudest of ``tones`` bins of white noise exceeds with a
    probability of ``false_alarm``.

    Args:
        time: Samples of the signal, one channel.
        n_fft: As in :func:`prominence`.
        tones: How many frequencies are looked at; their errors count as independent.
        false_alarm: Between 0 and 1.
        at_half_rate: For the bin at half the sample rate, which is real and so half as certain.
    """
    within("false_alarm", false_alarm, 0, 1)
    at_least("time", time, n_fft)
    at_least("tones", tones, 1)
    shape = welch_frames(time, n_fft) / (1 + SHARED)
    line_shape = shape / 2 if at_half_rate else shape
    line = scipy.stats.gamma(line_shape, scale=1 / line_shape)
    floors = scipy.stats.gamma(shape, scale=1 / shape)
    middle = floors.median()
    spread = math.sqrt(NEIGHBOURS / BINS) / (2 * floors.pdf(middle))
    quantiles = scipy.stats.norm.ppf((torch.arange(200) + 0.5).numpy() / 200)
    floor = (middle + spread * quantiles).clip(min=middle / 10)
    wanted = -math.expm1(math.log1p(-false_alarm) / tones)

    def excess(level: float) -> float:
        return float(line.sf(10 ** (level / 10) * floor).mean()) - wanted

    return float(scipy.optimize.brentq(excess, -10, 60))


def _around(index: int, length: int) -> Tensor:
    offsets = torch.arange(NEAR, FAR + 1)
    near = torch.cat([index - offsets, index + offsets])
    return near[(near > 0) & (near < length - 1)]
