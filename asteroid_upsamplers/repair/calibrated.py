r"""Equal phase sums at the least change of what the network makes of given audio.

The method ``phases`` changes the weights as little as it can. What is heard is the change of the
layer's output: with the window :math:`u` of input samples that phase :math:`r` sees (all input
channels side by side) and the change :math:`d_r` of its taps, its energy is

.. math:: \mathrm{E} |d_r^T u|^2 = d_r^T R \, d_r, \qquad R = \mathrm{E} \, u u^T,

so that the projection of :mod:`.phases` with the metric :math:`R` is the least change of the output
on the audio that :math:`R` was measured on. :math:`R` is often nearly singular: directions that
hardly occur in it cost nothing, and the taps would grow along them. ``SHRINK`` times its mean
eigenvalue is therefore added to its diagonal.

Equal sums for every input channel are one constraint for each; a channel that carries no constant
does not need its own. What a layer receives in silence is a single vector :math:`c`, the same at
every sample, and it makes no tone if the phases answer *it* alike:

.. math:: c^T S_r = c^T s \quad \text{for all } r,

one constraint for each phase and output channel in place of as many as there are input channels.
That is the choice ``along="silence"``. The mean of what the layer receives (``along="mean"``) holds
the line that is added to everything. As each repair changes what the later layers receive in
silence, the layers are repaired in the order in which they run, and :math:`c` is measured anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..probe.feed import Feed
from ..probe.silence import silence_for
from .inputs import inputs_of, received
from .phases import nearest_taps
from .site import Site

SHRINK = 1e-2
"""Share of the mean eigenvalue that is added to a covariance."""

ALONG = (None, "mean", "silence")


def calibrated(
    network: nn.Module,
    sites: Sequence[Site],
    *,
    order: int = 0,
    calibration: Any = None,
    along: str | None = None,
    silence: float | None = None,
    example: Any = None,
) -> list[str]:
    """Repair layers at the least change of their output on calibration audio, in place.

    Args:
        network: That holds them.
        sites: The layers.
        order: 1 for equal first moments as well.
        calibration: Inputs of the network, ``(batch, channels, time)``: a tensor or several.
        along: For which constants the phases are made equal: ``None``, any at all; ``"mean"``, the
            mean of what the layer receives; ``"silence"``, what it receives in silence.
        silence: Value of the network's input in silence; ``None`` to find it as ``probe`` does.
        example: Is not needed.

    Returns:
        Warnings.
    """
    if along not in ALONG:
        raise UsageError(f"along must be one of {', '.join(map(repr, ALONG))}, not {along!r}")
    inputs = inputs_of(network, "calibrated", calibration)
    called, found = statistics(network, sites, inputs)
    quiet = silence_for(Feed(network, inputs[0], 0), silence).input if along == "silence" else None
    warnings = []
    for number in called:
        site, (metric, mean) = sites[number], found[number]
        if not site.most_order:
            warnings.append(f"{site.name}: is {site.kind}, of which another method is needed")
            continue
        if quiet is not None:
            mean = constant(network, site, quiet)
        if along and not mean.any():
            warnings.append(f"{site.name}: receives nothing but zeros: left as it is")
            continue
        direction = mean / mean.norm()
        empty = direction.norm(dim=-1, keepdim=True) == 0  # groups without a constant
        taps = nearest_taps(
            site.taps(),
            site.mask,
            site.places,
            order,
            metric,
            torch.where(empty, 1.0, direction) if along else None,
        )
        biases = site.biases()
        mean_bias = None if biases is None else biases.mean(1, keepdim=True).expand_as(biases)
        site.assign(taps, mean_bias)
    return warnings


def statistics(
    network: nn.Module, sites: Sequence[Site], inputs: Sequence[Tensor]
) -> tuple[list[int], list[tuple[Tensor, Tensor]]]:
    """What the layers receive.

    Returns:
        The numbers of the sites in the order in which they run; and of each the covariance of its
        windows, ``(in * taps, in * taps)``, and the mean of its input, ``(in,)``, in float64, with
        an axis for groups before them if it has several.
    """
    found: list[Any] = [[0.0, 0.0, 0] for _ in sites]

    def take(number: int, x: Tensor) -> None:
        site, sums = sites[number], found[number]
        windows = _windows(x, site)
        sums[0] = sums[0] + windows.mT @ windows
        sums[1] = sums[1] + windows.sum(1)
        sums[2] += windows.shape[1]

    order = received(network, [site.module for site in sites], inputs, take)
    results = []
    for site, (squares, total, count) in zip(sites, found, strict=True):
        if not count:
            raise UsageError(f"calibration is shorter than the filters of {site.name}")
        metric, taps = squares / count, site.numbers.shape[3]
        diagonal = metric.diagonal(dim1=-2, dim2=-1).mean(-1).clamp(min=torch.finfo().tiny)
        metric = metric + SHRINK * diagonal[:, None, None] * torch.eye(metric.shape[-1]).to(metric)
        mean = total.unflatten(-1, (-1, taps)).mean(-1) / count
        results.append((metric[0], mean[0]) if site.groups == 1 else (metric, mean))
    return order, results


def constant(network: nn.Module, site: Site, silence: Tensor) -> Tensor:
    """What a layer receives in the middle of a silent input: ``(in,)``, or ``(groups, in)``."""
    found: list[Tensor] = []

    def take(_: int, x: Tensor) -> None:
        time = x.shape[-1]
        middle = x[..., time // 3 : max(time // 3 + 1, 2 * time // 3)].double().cpu()
        found.append(middle.mean((0, 2)))

    received(network, [site.module], [silence], take)
    mean = torch.stack(found).mean(0)
    return mean if site.groups == 1 else mean.unflatten(0, (site.groups, -1))


def _windows(x: Tensor, site: Site) -> Tensor:
    """``(groups, windows, in * taps)``, in the order of the taps of a phase."""
    taps = site.numbers.shape[3]
    if x.shape[-1] < taps:
        return x.new_zeros(site.groups, 0, site.numbers.shape[2] * taps).double().cpu()
    windows = x.double().cpu().unfold(-1, taps, 1).unflatten(1, (site.groups, -1))
    return windows.permute(1, 0, 3, 2, 4).flatten(3).flatten(1, 2)
