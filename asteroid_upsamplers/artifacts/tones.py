r"""Tones that layers add to a constant, from their weights alone ([1] Sec. 2, 4 and 5).

For an input of ones the steady output has period ``stride``, with the values :math:`P[r]`. Its
Fourier coefficients are the tones at :math:`k f_s / s`:

.. math:: A_k = \frac{1}{s} \sum_{r=0}^{s-1} P[r] e^{-2 \pi i k r / s}.

Through a stack of layers the period grows with every stride. Biases and ReLUs between the layers
are constants at zero frequency, which the next layer turns into tones: the replicas of signal
offsets of [1] Sec. 5. All of it is exact for a constant input, ReLUs included, since they act on
one period sample by sample. Noise through a ReLU is another matter: see :mod:`.nonlinearity`.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..dsp.spectra import decibels
from ..errors import UsageError
from .checks import at_least, within
from .result import Result
from .system import AnyLayer, steady_period, system_of


@dataclass(frozen=True)
class ToneLevels(Result):
    """Levels of the tones of one layer, for a constant input.

    Args:
        levels_db: At k = 1 .. stride // 2, ``20 log10(|A_k| / rms)``, against the rms of the steady
            period; powers are summed over the output channels; -400 for none.
        per_channel_db: The same for every output channel by itself.
        tonal_fraction: Share of the steady power that is not at zero frequency, pooled over the
            output channels; from 0 (a constant) to 1.
    """

    levels_db: list[float]
    per_channel_db: list[list[float]]
    tonal_fraction: float


@dataclass(frozen=True)
class StackTones(Result):
    """The lines in the output of one layer of a stack, for a constant input.

    Args:
        sample_rate: Of the layer's output, in Hz.
        frequencies_hz: Multiples of the stack's input rate, up to half the sample rate.
        levels_db: Of each line against the rms of the output, pooled over channels; -400 for none.
        own: Whether the layer itself makes a line there: a multiple of its own input rate. The
            others are replicas of what came before.
    """

    sample_rate: float
    frequencies_hz: list[float]
    levels_db: list[float]
    own: list[bool]


@torch.no_grad()
def tone_levels(layer: AnyLayer, bias: bool = True) -> ToneLevels:
    """The tones that ``layer`` adds to an input of ones.

    Args:
        layer: An upsampler, torch's transposed convolution, or a system.
        bias: Whether its bias counts.

    Example:
        >>> from asteroid_upsamplers import layers
        >>> tone_levels(layers.Nearest(8, 8, stride=4)).tonal_fraction < 1e-12
        True
    """
    system = system_of(layer, together=True)
    gains = system.phase_gains()
    return tones_of_period(gains + system.offsets if bias else gains)


def tones_of_period(period: Tensor) -> ToneLevels:
    """The tones of a steady period, ``(channels, stride)``, float64."""
    stride = period.shape[1]
    power = period.square().mean(1)
    amplitudes = torch.fft.rfft(period, dim=1)[:, 1:].abs() / stride
    tones = amplitudes.square()
    tonal = (power - period.mean(1).square()).clamp(min=0).sum()
    return ToneLevels(
        decibels(tones.sum(0), power.sum()).tolist(),
        decibels(tones, power[:, None]).tolist(),
        float(tonal / power.sum()) if power.any() else 0.0,
    )


@torch.no_grad()
def stack_tones(
    stack: Sequence[AnyLayer],
    sample_rate: float,
    activation: Callable[[Tensor], Tensor] | None = None,
) -> list[StackTones]:
    """The lines after every layer of a stack that is fed with ones ([1] Figs. 7 and 8).

    Args:
        stack: Layers, the output of one the input of the next.
        sample_rate: Of the stack's input, in Hz.
        activation: Applied between the layers, sample by sample, such as ``torch.relu``.

    Returns:
        One result a layer.

    Raises:
        UsageError: (a ``ValueError``) for no layers, or layers that do not fit one another.
    """
    within("sample_rate", sample_rate, 0)
    at_least("the number of layers", len(stack), 1)
    signal = torch.ones(system_of(stack[0]).in_channels, 1, dtype=torch.float64)
    results = []
    for index, layer in enumerate(stack):
        if index and activation is not None:
            signal = activation(signal)
        system, inputs = system_of(layer), signal.shape[-1]
        if system.in_channels != len(signal):
            raise UsageError(
                f"layer {index} of the stack takes {system.in_channels} channels, but gets "
                f"{len(signal)}"
            )
        signal = steady_period(system, signal.to(system.responses.device))
        length = signal.shape[-1]
        lines = torch.fft.rfft(signal)[:, 1:].abs().square().sum(0) / length**2
        results.append(
            StackTones(
                sample_rate * length,
                [sample_rate * k for k in range(1, length // 2 + 1)],
                decibels(lines, signal.square().mean(1).sum()).tolist(),
                [k % inputs == 0 for k in range(1, length // 2 + 1)],
            )
        )
    return results
