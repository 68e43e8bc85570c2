r"""Upsamplers whose impulse responses come as near as they can to given ones.

A layer is linear in its taps: what an impulse in one input channel makes is :math:`M w`, with the
taps :math:`w` of that channel and a matrix :math:`M` that depends on the family alone. For input
frames that are white, and independent from channel to channel, the energy of the output's error is
that of the responses' error, and least squares, :math:`\min_w |M w - h|^2`, makes it smallest.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import parametrize

from ..errors import UsageError
from .base import Upsampler

RCOND = 1e-3
"""Combinations of taps that make less than this share of what the strongest makes are left out: a
band that an interpolation hardly passes would ask for taps as much larger, which float32 and the
first steps of training do not bear."""


@dataclass(frozen=True, eq=False)
class Responses:
    """What impulses become.

    Args:
        values: ``(count, samples)``, float64, at the output rate.
        start: Place of the first sample, counted from ``stride`` times the impulse's frame; may be
            negative.
    """

    values: Tensor
    start: int

    @property
    def stop(self) -> int:
        """One past the last sample."""
        return self.start + self.values.shape[1]

    def between(self, start: int, stop: int) -> Tensor:
        """The samples from ``start`` to ``stop``, zeros where there are none."""
        return F.pad(self.values, (self.start - start, stop - self.stop))


@torch.no_grad()
def responses(layer: Upsampler) -> Responses:
    """What an impulse in each input channel of ``layer`` makes, and where.

    Args:
        layer: With one output channel.

    Returns:
        A row for each input channel.

    Example:
        >>> from asteroid_upsamplers.layers import Transposed
        >>> layer = Transposed(1, 1, stride=2, kernel_size=4)
        >>> found = responses(layer)
        >>> found.start, torch.equal(found.values, layer.weight[0].double())
        (-1, True)
    """
    layer = copy.deepcopy(layer).double().cpu()
    reach = layer.impulse_responses().shape[-1] // layer.stride + 2
    x = torch.zeros(layer.in_channels, layer.in_channels, 2 * reach + 1, dtype=torch.float64)
    x[:, :, reach] = torch.eye(layer.in_channels)
    y = (layer(x) - layer(torch.zeros_like(x[:1])))[:, 0]
    heard = y.abs().amax(0).nonzero()[:, 0].tolist() or [reach * layer.stride]
    return Responses(y[:, heard[0] : heard[-1] + 1], heard[0] - reach * layer.stride)


@torch.no_grad()
def tap_responses(layer: Upsampler) -> Responses:
    """What each tap of ``layer`` adds to the response of its channel: the columns of ``M``.

    Args:
        layer: With one output channel; its settings count, not its weights.

    Returns:
        A row for each tap of one channel.
    """
    with torch.device("cpu"):  # also for a layer without numbers, on the meta device
        twin = _one_channel(layer)
        weight = twin.stored("weight")
        assert weight is not None
        found = []
        for tap in range(weight.numel()):
            weight.zero_()
            weight.view(-1)[tap] = 1
            found.append(responses(twin))
    start, stop = min(r.start for r in found), max(r.stop for r in found)
    return Responses(torch.cat([r.between(start, stop) for r in found]), start)


@torch.no_grad()
def fit_responses(layer: Upsampler, wanted: Responses) -> float:
    """Give ``layer`` the taps whose responses are nearest to ``wanted``, and no bias.

    Args:
        layer: With one output channel.
        wanted: A row for each input channel.

    Returns:
        The energy of the error as a share of the energy of ``wanted``.

    Raises:
        UsageError: (a ``ValueError``) if the rows are not as many as the channels.
    """
    count = layer.in_channels
    if layer.out_channels != 1 or len(wanted.values) != count:
        raise UsageError(
            f"{layer.name}: {len(wanted.values)} responses for {count} input and "
            f"{layer.out_channels} output channels, allowed is one for each input, and one output"
        )
    columns = tap_responses(layer)
    start, stop = min(columns.start, wanted.start), max(columns.stop, wanted.stop)
    matrix = columns.between(start, stop).T
    target = wanted.between(start, stop).double().cpu().T
    taps = torch.linalg.lstsq(matrix, target, RCOND, driver="gelsd").solution
    weight = layer.stored("weight")
    assert weight is not None
    one = _one_channel(layer).weight_shape()
    axis = next((i for i, size in enumerate(one) if size != weight.shape[i]), 1)
    weight.copy_(taps.reshape(*one, count).movedim(-1, axis).squeeze(axis + 1))
    bias = layer.stored("bias")
    if bias is not None:
        bias.zero_()
    energy = float(target.square().sum())
    return float((matrix @ taps - target).square().sum()) / energy if energy else 0.0


def covering_kernel_size(family: type[Upsampler], stride: int, samples: int) -> int:
    """The family's default, or as much more by twos as responses of ``samples`` samples need.

    Example:
        >>> from asteroid_upsamplers import layers
        >>> covering_kernel_size(layers.Subpixel, stride=4, samples=16)
        5
    """
    default = family.default_kernel_size(stride)
    with torch.random.fork_rng(devices=[]):
        spans = [
            tap_responses(family(1, 1, stride, default + more)).values.shape[1] for more in (0, 2)
        ]
    missing = max(0, samples - spans[0])
    return default + 2 * -(-missing // (spans[1] - spans[0]))


def _one_channel(layer: Upsampler) -> Upsampler:
    config = {**layer.get_config(), "in_channels": 1, "out_channels": 1, "bias": False}
    family = parametrize.type_before_parametrizations(layer)
    with torch.random.fork_rng(devices=[]):
        return family(**config).double()
