r"""Periodicity that a loss puts into its gradient ([1] Sec. 2, issue iii).

A loss that looks at a signal through strided convolutions sends its gradient back through
transposed ones. Where these overlap unevenly, or their filters are of uneven energy, some samples
get larger gradients than others, with the period of the stride. What is measured is the power of
the gradient with respect to the estimate, for noise, phase by phase:

.. math:: Q[r] = \mathrm{E} \, g[n S + r]^2, \qquad
          c_k = \frac{|\sum_r Q[r] e^{-2 \pi i k r / S}|}{\sum_r Q[r]} .

For one strided convolution :math:`W` of stride :math:`s` and the absolute or the squared difference
of its outputs, the differences are Gaussian with a covariance that follows from :math:`W`,
:math:`\rho_{oo'}[l]`, and the power is known without any simulation: with :math:`\rho` itself for
the squares and :math:`\frac{2}{\pi} \arcsin \rho` of the correlations for the signs,

.. math:: Q[r] \propto \sum_{o, o', l} \rho_{oo'}[l] \sum_j W_o[r + j s] \, W_{o'}[r + (j + l) s].

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..dsp.spectra import decibels
from ..errors import UsageError
from .checks import at_least, real_signal
from .result import Result


@dataclass(frozen=True)
class GradientPeriodicity(Result):
    """How unevenly a loss spreads its gradient over the phases of a period.

    Args:
        period: In samples.
        levels_db: ``20 log10 c_k`` at k = 1 .. period // 2: the modulation of the gradient's power
            at k / period of the sample rate, against its mean; -400 for none.
        modulation: Standard deviation of the power over the phases, as a share of its mean.
        uncertainty: What ``modulation`` would be by chance, from the number of samples; 0 if it was
            computed.
    """

    period: int
    levels_db: list[float]
    modulation: float
    uncertainty: float


def loss_gradient(
    loss: Callable[[Tensor, Tensor], Tensor],
    period: int,
    time: int = 2**15,
    batch: int = 4,
    repeats: int = 8,
    seed: int = 0,
) -> GradientPeriodicity:
    """Measure it, with white noise as the estimate and other white noise as the target.

    Args:
        loss: Of two tensors ``(batch, 1, time)``: estimate and target, to a scalar.
        period: In samples: the product of the strides that the loss has.
        time: Samples of each signal; the outer eighths are left out.
        batch: Signals at a time.
        repeats: Draws of the noise, and of anything that the loss itself draws.
        seed: Of all of them.

    Raises:
        UsageError: (a ``ValueError``) for a gradient that is not finite, or zero everywhere; for
            signals shorter than two periods.
    """
    at_least("time", time, 4 * at_least("period", period, 1))
    first = -(-time // 8 // period) * period
    last = first + (time - 2 * first) // period * period
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(period, dtype=torch.float64)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for _ in range(repeats):
            estimate, target = torch.randn(2, batch, 1, time, generator=generator)
            estimate.requires_grad_()
            scaled = _scaled(_gradient(loss(estimate, target), estimate).double())
            phases = scaled[..., first:last].unflatten(-1, (-1, period))
            total += phases.square().mean((0, 1, 2)) / repeats
    samples = repeats * batch * (last - first) / period
    return _summary(total, math.sqrt(2 / samples))


def _gradient(loss: Tensor, estimate: Tensor) -> Tensor:
    if not loss.requires_grad:
        return torch.zeros_like(estimate)
    (gradient,) = torch.autograd.grad(loss, estimate, materialize_grads=True)
    return gradient


def _scaled(gradient: Tensor) -> Tensor:
    """Brought to an rms of 1."""
    rms = float(gradient.square().mean().sqrt())
    if not 0 < rms < math.inf:
        zero = "zero everywhere: the loss does not depend on the estimate"
        raise UsageError(
            f"the gradient is {'NaN or infinite: weights are damaged' if rms else zero}"
        )
    return gradient / rms


@torch.no_grad()
def strided_gradient(weight: Tensor, stride: int, power: int) -> GradientPeriodicity:
    """The closed form for one strided convolution without padding, and white Gaussian noise.

    Args:
        weight: ``(out_channels, 1, kernel_size)``, as ``nn.Conv1d``.
        stride: Of the convolution.
        power: 1 for the mean absolute difference of its outputs, 2 for the mean square.
    """
    if power not in (1, 2):
        raise UsageError(f"power must be 1 or 2, not {power}")
    at_least("stride", stride, 1)
    if not real_signal(weight, name="weight").any():
        raise UsageError("the weight is zero everywhere: there is no gradient")
    taps = nn.functional.pad(weight[:, 0].double(), (0, -weight.shape[-1] % stride))
    taps = taps.unflatten(1, (-1, stride))  # (out, frames, phase)
    frames = taps.shape[1]
    total = torch.zeros(stride, dtype=torch.float64)
    deviation = taps.square().sum((1, 2)).sqrt()
    scale = deviation[:, None] * deviation
    for lag in range(-frames + 1, frames):
        ahead = slice(max(0, lag), frames + min(0, lag))
        behind = slice(max(0, -lag), frames - max(0, lag))
        products = torch.einsum("ojr,pjr->opr", taps[:, behind], taps[:, ahead])
        covariance = products.sum(2)
        if power == 1:
            correlation = torch.where(scale > 0, covariance / scale, 0.0).clamp(-1, 1)
            covariance = correlation.asin() * 2 / math.pi
        total += torch.einsum("op,opr->r", covariance, products)
    return _summary(total, 0.0)


def _summary(power: Tensor, uncertainty: float) -> GradientPeriodicity:
    lines = torch.fft.rfft(power)[1:].abs() / power.sum()
    return GradientPeriodicity(
        len(power),
        decibels(lines.square()).tolist(),
        float(power.std(correction=0) / power.mean()),
        uncertainty,
    )
