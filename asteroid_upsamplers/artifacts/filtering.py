r"""What a layer does to the spectrum: filtering artifacts ([1] Sec. 3).

White noise in all input channels gives, on average over the phases, the power density

.. math:: S_o(f) = \frac{1}{s} \sum_i |H_{oi}(f)|^2 .

Interpolation by a rectangle has :math:`|H|` of a sinc, with valleys at multiples of the input rate,
and by a triangle of a squared sinc. torch's linear interpolation puts no output sample on an input
sample where the stride is even, and is that triangle times :math:`\cos \pi f` at the output rate.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ..dsp.spectra import decibels, welch
from .checks import at_least, real_signal
from .result import Result
from .system import AnyLayer, system_of

POINTS = 1024
"""Frequencies up to half the output rate; or a little fewer, for one to lie at each valley."""

FINER, LEAST_WINDOWS = 8, 3
"""Spectra are made so many times finer, those of long signals too, and averaged back."""


@dataclass(frozen=True)
class Filtering(Result):
    """The mean power response of a layer to white noise.

    Frequencies are in cycles per output sample. Levels are ratios in dB; -400 stands for none.

    Args:
        frequencies: From 0 to 0.5.
        response_db: Mean over the output channels, against its mean below half the input rate.
        high_band_db: Mean from half the input rate up, against the mean below it.
        top_db: Mean of the top eighth of the band, against the same.
        valleys_db: At k times the input rate, k = 1 .. stride // 2: median within 1/64 of the input
            rate, against the median from 1/8 to 1/4 of it away.
        valley_frequencies: Where the response is least, within half the input rate around each.
    """

    frequencies: list[float]
    response_db: list[float]
    high_band_db: float
    top_db: float
    valleys_db: list[float]
    valley_frequencies: list[float]


@torch.no_grad()
def filtering(layer: AnyLayer) -> Filtering:
    """The mean power response of a layer.

    Args:
        layer: An upsampler, torch's transposed convolution, or a system.

    Example:
        >>> from asteroid_upsamplers import layers
        >>> nearest = layers.Nearest(1, 1, stride=2, kernel_size=1)
        >>> round(filtering(nearest).high_band_db, 1)
        -6.5
    """
    system = system_of(layer)
    power = power_response(system.responses, FINER * _points(system.stride))
    averaged, exact = _averaged(power, FINER), power[::FINER]
    base = averaged[: len(averaged) // system.stride].mean()
    found = _summary(averaged, system.stride)
    return replace(found, response_db=decibels(exact, base).tolist())


def power_response(responses: Tensor, points: int) -> Tensor:
    """Sum of ``|H(f)|**2`` over all pairs of channels, without a spectrum for each of them.

    With the responses of all pairs as rows of a matrix :math:`A = Q R`, the sum is that over the
    few rows of :math:`R`, as :math:`Q` keeps lengths.

    Args:
        responses: ``(out_channels, in_channels, samples)``.
        points: Frequencies from 0 to 0.5 are ``points + 1``.
    """
    rows = torch.linalg.qr(responses.flatten(0, 1), mode="r").R.cpu()
    finer = -(-rows.shape[-1] // (2 * points))  # a transform covers the whole response
    return torch.fft.rfft(rows, finer * 2 * points)[:, ::finer].abs().square().sum(0)


def filtering_of_signal(signal: Tensor, stride: int) -> Filtering:
    """The same, measured on the response of anything that upsamples to white noise.

    Args:
        signal: ``(channels, time)``, at least 2048 samples; its mean is left out.
        stride: Upsampling factor.

    Raises:
        UsageError: (a ``ValueError``) for a signal that is too short, or not finite.
    """
    window = 2 * _points(at_least("stride", stride, 1))
    signal = real_signal(signal, window)
    signal = signal.reshape(-1, signal.shape[-1])
    signal = signal - signal.mean(-1, keepdim=True)
    finer = FINER if signal.shape[-1] >= LEAST_WINDOWS * FINER * window else 1
    return _summary(_averaged(welch(signal, finer * window).mean(0).cpu(), finer), stride)


def _averaged(power: Tensor, finer: int) -> Tensor:
    """Around every ``finer``-th point: edges are steep, and leak over few of the finer bins."""
    if finer == 1:
        return power
    around = F.pad(power[None, None], (finer // 2, finer // 2 - 1), mode="reflect")
    return F.avg_pool1d(around, finer)[0, 0]


def _points(stride: int) -> int:
    return POINTS // stride * stride if stride <= POINTS // 16 else 16 * stride


def _summary(power: Tensor, stride: int) -> Filtering:
    points = len(power) - 1
    frequencies = torch.arange(points + 1) / (2 * points)
    step = 2 * points // stride  # the input rate, in points
    base, top = power[: step // 2], power[-(points // 8) :]
    above = power[step // 2 :] if stride > 1 else power[:0]
    valleys, places = [], []
    for centre in range(step, points + 1, step):
        distance = (torch.arange(points + 1) - centre).abs()
        near = power[distance <= step / 64].median()
        around = power[(distance >= step / 8) & (distance <= step / 4)].median()
        valleys.append(float(decibels(near, around)))
        low = max(0, centre - step // 4)
        window = power[low : centre + step // 4 + 1]
        places.append(float(frequencies[low + int(window.argmin())]))
    reference = base.mean()
    return Filtering(
        frequencies.tolist(),
        decibels(power, reference).tolist(),
        float(decibels(above.mean(), reference)) if stride > 1 else 0.0,
        float(decibels(top.mean(), reference)),
        valleys,
        places,
    )
