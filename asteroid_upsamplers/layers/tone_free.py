r"""Weights that cannot make a tone of a constant, whatever is learned.

A layer answers ones with its phase sums (:meth:`Upsampler.phase_sums`): where they are equal there
is no tone ([1] Sec. 2 and 4). Training keeps them equal if the layer's weight is the projection of
a free one: with :math:`w_r` the :math:`n_r` taps of phase :math:`r`, for one input and output
channel,

.. math:: w_r' = w_r + \frac{S - S_r}{n_r}, \qquad S_r = \sum w_r, \qquad
   S = \frac{\sum_r S_r / n_r}{\sum_r 1 / n_r},

which is the nearest set of taps with equal sums. As it holds for each pair of channels, it holds
for any constant in any of them; biases that differ by phase are replaced by their mean.

This is about constants, exactly, in the precision of the weights: images of anything else pass, and
weights rounded to half precision have sums that differ again in the third digit.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize


class EqualPhaseSums(nn.Module):
    """The nearest taps whose phases all have the same sum; a parametrization.

    Args:
        stride: Number of phases.
        phases_first: Whether phases are rows, ``(out * stride, in, taps)``, as in a subpixel layer,
            else every ``stride``-th tap is one, ``(in, out, taps)``, as in a transposed
            convolution.
    """

    def __init__(self, stride: int, phases_first: bool):
        super().__init__()
        self.stride = stride
        self.phases_first = phases_first

    def forward(self, weight: Tensor) -> Tensor:
        """The projection, of the shape of ``weight``."""
        if self.phases_first:
            phases = weight.unflatten(0, (-1, self.stride))
            sums = phases.sum(-1, keepdim=True)
            correction = (sums.mean(1, keepdim=True) - sums) / weight.shape[-1]
            return (phases + correction).flatten(0, 1)
        taps, missing = weight.shape[-1], -weight.shape[-1] % self.stride
        counts = F.pad(weight.new_ones(taps), (0, missing)).unflatten(0, (-1, self.stride)).sum(0)
        sums = F.pad(weight, (0, missing)).unflatten(-1, (-1, self.stride)).sum(-2)
        common = (sums / counts).sum(-1, keepdim=True) / (1 / counts).sum()
        correction = (common - sums) / counts
        return weight + correction.repeat(1, 1, -(-taps // self.stride))[..., :taps]

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Any weight may be assigned; what the layer uses is its projection."""
        return weight


class EqualPhaseBiases(nn.Module):
    """One bias for all phases of an output channel, their mean; a parametrization."""

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, bias: Tensor) -> Tensor:
        """``(out_channels * stride,)``."""
        phases = bias.unflatten(0, (-1, self.stride))
        return phases.mean(1, keepdim=True).expand_as(phases).flatten()

    def right_inverse(self, bias: Tensor) -> Tensor:
        """Any bias may be assigned; what the layer uses is its projection."""
        return bias


def keep_tone_free(layer: nn.Module, stride: int, phases_first: bool) -> None:
    """Hold every phase of a layer to the same sum from now on.

    ``layer.weight`` becomes parametrized in torch's sense, and so does ``layer.bias`` where every
    phase has its own: the optimiser moves ``layer.parametrizations.weight.original``, and the state
    dict has that name. ``torch.nn.utils.parametrize.remove_parametrizations`` ends it.

    Args:
        layer: With a ``weight`` and a ``bias`` (or ``None``).
        stride: As in :class:`EqualPhaseSums`.
        phases_first: As in :class:`EqualPhaseSums`.
    """
    parametrize.register_parametrization(layer, "weight", EqualPhaseSums(stride, phases_first))
    if phases_first and layer.bias is not None:
        parametrize.register_parametrization(layer, "bias", EqualPhaseBiases(stride))
