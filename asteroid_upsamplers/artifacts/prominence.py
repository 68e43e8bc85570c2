r"""Tones in real signals: how far a line stands out of the noise around it.

The floor at a frequency is the median of Welch's spectrum 4 to 24 bins away. Over ``M`` windows of
Gaussian noise that is flat there, the spectrum of one bin has a gamma distribution of shape
:math:`M_e = M / (1 + 1/18)` (Hann windows that overlap by half share a little of their noise), and
the median of :math:`B` bins is nearly normal, of variance :math:`\pi / (2 B_e M_e)`, with
:math:`B_e \approx B / 1.94`, as neighbouring bins of a Hann window share 4/9 of their power. From
these follows the threshold that noise exceeds with a stated probability.

The level of a line over the floor grows with the length of the window, by 3 dB for each doubling,
and does not depend on the signal's length; the threshold falls with that.

Where the floor is not flat, such as between the valleys of an interpolation or at the edge of its
band, a smooth hill stands out of such a median, too. A line is narrow: it also stands out of the
bins right beside it, and of each side alone. That is its *narrowness*.
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

BESIDE = 2, 4
"""A line in a Hann window's own bin reaches its neighbours, but not these."""

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
    power, bins, taken = _spectrum(signal, sample_rate, frequencies, n_fft)
    levels = []
    for index in bins:
        near = _around(index, len(power), NEAR, FAR)
        free = near[~taken[near]]
        levels.append(_over(power[index], power[free if len(free) else near].median()))
    return torch.stack(levels) if levels else power[:0]


def narrowness(
    signal: Tensor, sample_rate: float, frequencies: Sequence[float], n_fft: int = 16384
) -> Tensor:
    """How far a signal stands out of both sides of each frequency, right beside it and further.

    It is near the prominence for a line, and near 0, or below, for a hill, slope or valley of the
    spectrum. The arguments are those of :func:`prominence`.

    Returns:
        ``(len(frequencies),)`` in dB: the power at the bin over the greatest of four levels: on
        either side the mean of the bins 2 to 4 away, and the median of those 4 to 24 away.

    Example:
        >>> noise = torch.randn(2**16, generator=torch.Generator().manual_seed(0))
        >>> up = torch.nn.functional.interpolate(noise[None, None], scale_factor=256, mode="linear")
        >>> hill = up[0, :, : 2**18], 256.0, [10.5], 8192  # half way from one valley to the next
        >>> bool(prominence(*hill) > 5), bool(narrowness(*hill) < 3)
        (True, True)
    """
    power, bins, taken = _spectrum(signal, sample_rate, frequencies, n_fft)
    levels = []
    for index in bins:
        floors = [power.new_zeros(())]
        for ring in (BESIDE, (NEAR, FAR)):
            near = _around(index, len(power), *ring)
            for side in (near[near < index], near[near > index]):
                free = power[side[~taken[side]]]
                if len(free):
                    floors.append(free.mean() if ring is BESIDE else free.median())
        levels.append(_over(power[index], torch.stack(floors).max()))
    return torch.stack(levels) if levels else power[:0]


def _spectrum(
    signal: Tensor, sample_rate: float, frequencies: Sequence[float], n_fft: int
) -> tuple[Tensor, list[int], Tensor]:
    """Powers of all bins, the bins of the frequencies, and which bins these reach."""
    signal = real_signal(signal)
    bins = tone_bins(sample_rate, frequencies, at_least("n_fft", n_fft, 2 * FAR))
    power = welch(signal.reshape(-1, signal.shape[-1]), n_fft).mean(0).cpu()
    if not power.isfinite().all():
        raise UsageError("the signal's samples are too large for their power")
    power = torch.where(power > NOTHING * power.max(), power, 0.0)
    taken = torch.zeros(len(power), dtype=torch.bool)
    for index in bins:  # a Hann window spreads a line over its neighbours
        taken[max(0, index - 1) : index + 2] = True
    return power, bins, taken


def _over(power: Tensor, floor: Tensor) -> Tensor:
    return decibels(power, floor) if power > 0 else torch.zeros_like(power)


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


def _around(index: int, length: int, first: int, last: int) -> Tensor:
    offsets = torch.arange(first, last + 1)
    near = torch.cat([index - offsets, index + offsets])
    return near[(near > 0) & (near < length - 1)]
