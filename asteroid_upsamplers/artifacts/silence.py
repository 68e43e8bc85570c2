"""What a network makes of silence: the sharpest test of tones, and one that SDR cannot see.

Biases and ReLUs make offsets; upsampling layers turn these into tones at multiples of the output
rate / ``stride`` ([1] Sec. 5). Measured are the response of a network to zeros, and what an
estimate has left in the windows where its source is silent.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..dsp.spectra import decibels
from ..errors import UsageError
from .checks import at_least, output_of, real_signal, tone_bins
from .result import Result

SILENT_DB = -60.0
"""A source whose rms in a window is below this, in dB against 1, is silent there."""

GROUP = 32
"""Windows in memory at a time."""

SOURCE, ESTIMATE = 0, 1
OFFSETS = (0.0, *(float(sign * k) for k in range(4, 13) for sign in (-1, 1)))
"""In bins: a tone, and what is around it."""

LEAST_WINDOW = 64
QUIETEST = 10
"""Of a source that is never silent, one window in so many is looked at: the quietest."""


@dataclass(frozen=True)
class SilenceResponse(Result):
    """The steady output for zeros, without its mean.

    Args:
        rms_db: In dB against 1; -400 for exact silence.
        share_at_tones: Share of that power at multiples of the rate / stride, from 0 to 1.
    """

    rms_db: float
    share_at_tones: float


@dataclass(frozen=True)
class SilentWindows(Result):
    """What an estimate has left where its source is silent.

    Args:
        windows: How many windows were looked at.
        silent: Whether the source is silent in them; else they are its quietest ones.
        rms_db: Of the estimate in these windows, in dB against 1; -400 for exact silence.
        tones_db: Of the tones in it, the same way: power at the frequencies beyond the floor around
            them.
        share_at_tones: The tones' share of the power, from 0 to 1.
    """

    windows: int
    silent: bool
    rms_db: float
    tones_db: float
    share_at_tones: float


@torch.no_grad()
def silence_response(
    network: Callable[[Tensor], Tensor],
    channels: int,
    stride: int,
    length: int = 2**17,
    device: torch.device | str = "cpu",
) -> SilenceResponse:
    """Feed zeros, drop the first and last quarter, and look at the rest.

    The network runs as it is: put it into evaluation mode first.

    Args:
        network: ``(1, channels, time)`` -> ``(1, ..., time)``.
        channels: Channels of its input.
        stride: Of its last upsampling layer: the tones are at k / stride of the output's rate.
        length: Samples to feed; shortened to a multiple of ``2 * stride``.
        device: Where the network is.

    Raises:
        UsageError: (a ``ValueError``) if its output holds NaN or infinities; of a module, with the
            layer that gives them first.
    """
    at_least("length", length, 2 * at_least("stride", stride, 1))
    half = length // (2 * stride) * stride
    start = half // 2
    y = output_of(network, torch.zeros(1, channels, 2 * half, device=device))
    steady = real_signal(y[..., start : start + half], half, "steady output")
    power, lines = line_powers(steady, stride)
    level = float(decibels(lines.new_tensor(power)))
    return SilenceResponse(level, float(lines.sum()) / power if power else 0.0)


def line_powers(y: Tensor, stride: int) -> tuple[float, Tensor]:
    """Mean power of a signal without its mean, and of its lines at k / stride of its rate.

    Args:
        y: ``(..., time)``, a multiple of ``stride``.
        stride: The lines are at k = 1 .. stride // 2.

    Returns:
        The power, and ``(stride // 2,)`` the powers of the lines, all averaged over the channels.
    """
    time = y.shape[-1]
    if time % stride:
        raise UsageError(f"time must be a multiple of the stride, {stride}, not {time}")
    y = y.double().reshape(-1, time).cpu()
    y = y - y.mean(-1, keepdim=True)
    periods = y.unflatten(-1, (-1, stride)).mean(-2)
    lines = torch.fft.rfft(periods)[:, 1:].abs().square() / stride**2
    lines[:, : (stride - 1) // 2] *= 2  # each stands for its negative frequency as well
    return float(y.square().mean()), lines.mean(0)


@torch.no_grad()
def silent_windows(
    source: Tensor, estimate: Tensor, sample_rate: int, frequencies: Sequence[float]
) -> SilentWindows:
    """What is heard of an estimate in the windows where its source is below -60 dB.

    Windows last one second and do not overlap; what is left at the end is not looked at. A song
    without a silent window is judged by its quietest ones, so that the score is defined for every
    song; ``silent`` tells.

    Args:
        source: What should be there, ``(channels, time)``.
        estimate: What is there, of the same shape and level.
        sample_rate: In Hz.
        frequencies: Of the tones, in Hz.

    Raises:
        UsageError: (a ``ValueError``) if the two differ in shape, are shorter than 64 samples or
            not finite, or frequencies are out of range.
    """
    source, estimate = torch.as_tensor(source), torch.as_tensor(estimate)
    if source.shape != estimate.shape or source.dim() != 2 or source.shape[1] < LEAST_WINDOW:
        raise UsageError(
            f"source of shape {tuple(source.shape)} and estimate of shape {tuple(estimate.shape)}: "
            f"the same (channels, time of at least {LEAST_WINDOW} samples) is needed"
        )
    return silent_windows_of(
        lambda start, stop: (source[:, start:stop], estimate[:, start:stop]),
        source.shape[1],
        sample_rate,
        frequencies,
    )


def silent_windows_of(
    read: Callable[[int, int], tuple[Tensor, Tensor]],
    time: int,
    sample_rate: int,
    frequencies: Sequence[float],
) -> SilentWindows:
    """:func:`silent_windows` for signals that need not be in memory as a whole.

    Args:
        read: ``read(start, stop)`` gives these samples of the source and of the estimate,
            ``(channels, stop - start)``.
        time: Their length in samples.
        sample_rate: In Hz.
        frequencies: Of the tones, in Hz.
    """
    frequencies = [float(frequency) for frequency in frequencies]
    tone_bins(sample_rate, frequencies, LEAST_WINDOW)  # are they in range?
    window = min(max(LEAST_WINDOW, int(sample_rate)), time)
    starts = torch.arange(0, time - window + 1, window).split(GROUP)

    def windows(group: Tensor, which: int) -> Tensor:
        """``(channels, windows, window)``."""
        parts = [read(start, start + window)[which] for start in group.tolist()]
        return real_signal(torch.stack(parts, 1), name=("source", "estimate")[which])

    powers: list[float] = []  # of tensors, small ones would scatter over the memory of large ones
    for group in starts:
        powers += windows(group, SOURCE).square().mean((0, 2)).tolist()
    levels = decibels(torch.tensor(powers, dtype=torch.float64))
    quiet = levels < SILENT_DB
    silent = bool(quiet.any())
    if not silent:
        count = -(-len(levels) // QUIETEST)
        quiet[levels.argsort()[:count]] = True
    chosen = torch.cat(starts)[quiet]
    power, spectra = 0.0, torch.zeros(len(frequencies), len(OFFSETS), dtype=torch.float64)
    for group in chosen.split(GROUP):
        heard = windows(group, ESTIMATE)
        power += float(heard.square().mean()) * len(group) / len(chosen)
        spectra += _power_near(heard, sample_rate, frequencies) * len(group) / len(chosen)
    sides = torch.tensor([1.0 if f == sample_rate / 2 else 2.0 for f in frequencies])
    beyond = (spectra[:, 0] - spectra[:, 1:].mean(1)).clamp(min=0)
    tones = min(power, float((sides * beyond).sum()))
    return SilentWindows(
        len(chosen),
        silent,
        float(decibels(heard.new_tensor(power))),
        float(decibels(heard.new_tensor(tones))),
        tones / power if power else 0.0,
    )


def _power_near(windows: Tensor, sample_rate: float, frequencies: Sequence[float]) -> Tensor:
    """``(frequencies, offsets)``: mean power of tapered windows, so many bins away from each."""
    time = windows.shape[-1]
    taper = torch.hann_window(time, dtype=torch.float64)
    sample = torch.arange(time, dtype=torch.float64)
    offsets = torch.tensor(OFFSETS).long()
    places: dict[float, list[tuple[int, int]]] = defaultdict(list)  # by what is beyond whole bins
    for row, frequency in enumerate(frequencies):
        place = frequency * time / sample_rate
        places[round(place % 1, 9)].append((row, int(place // 1)))
    rows = torch.zeros(len(frequencies), len(OFFSETS), dtype=torch.float64)
    for rest, members in places.items():
        turned = windows * torch.polar(taper, -2 * math.pi * rest / time * sample)
        spectrum = torch.fft.fft(turned).abs().square().mean((0, 1)) / taper.sum().square()
        for row, index in members:
            rows[row] = spectrum[(index + offsets) % time]
    return rows
