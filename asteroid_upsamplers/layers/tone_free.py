r"""Weights that cannot make a tone of a constant, whatever is learned.

A layer answers an input of ones with its phase gains: where they are equal there is no tone ([1]
Sec. 2 and 4). A ``tone_free`` layer filters with the projection of its weight on the weights with
that property. With :math:`w_r` the :math:`n_r` taps of phase :math:`r`, for one input and one
output channel,

.. math:: w_r' = w_r + \frac{S - S_r}{n_r}, \qquad S_r = \sum w_r, \qquad
   S = \frac{\sum_r S_r / n_r}{\sum_r 1 / n_r},

which is the nearest set of taps with equal sums. As it holds for each pair of channels, it holds
for any constant in any of them; biases that differ by phase are replaced by their mean.

This is about constants, exactly, in the precision of the weights: images of anything else pass, and
weights rounded to half precision have sums that differ again in the third digit.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def equal_phase_gains(weight: Tensor, stride: int, phases_first: bool) -> Tensor:
    """The nearest taps whose phases all have the same sum.

    Args:
        weight: ``(in, out, taps)`` as of a transposed convolution, where every ``stride``-th tap is
            of one phase; or ``(out * stride, in, taps)`` as of a subpixel convolution, where phases
            are neighbouring rows.
        stride: Number of phases.
        phases_first: Whether it is the second.

    Returns:
        Of the shape of ``weight``.

    Example:
        >>> import torch
        >>> equal_phase_gains(torch.tensor([[[0.0, 2.0, 4.0, 6.0]]]), 2, phases_first=False)
        tensor([[[1., 1., 5., 5.]]])
    """
    if phases_first:
        phases = weight.unflatten(0, (-1, stride))
        sums = phases.sum(-1, keepdim=True)
        correction = (sums.mean(1, keepdim=True) - sums) / weight.shape[-1]
        return (phases + correction).flatten(0, 1)
    taps, missing = weight.shape[-1], -weight.shape[-1] % stride
    counts = F.pad(weight.new_ones(taps), (0, missing)).unflatten(0, (-1, stride)).sum(0)
    sums = F.pad(weight, (0, missing)).unflatten(-1, (-1, stride)).sum(-2)
    common = (sums / counts).sum(-1, keepdim=True) / (1 / counts).sum()
    correction = (common - sums) / counts
    return weight + correction.repeat(1, 1, -(-taps // stride))[..., :taps]


def equal_phase_biases(bias: Tensor, stride: int) -> Tensor:
    """The mean of the biases of an output channel in place of each: ``(out * stride,)``."""
    phases = bias.unflatten(0, (-1, stride))
    return phases.mean(1, keepdim=True).expand_as(phases).flatten()
