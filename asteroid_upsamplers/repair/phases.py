r"""The nearest taps of which all phases have the same sum, so that a constant makes no tone.

Phase :math:`r` of an output channel is made by taps :math:`h_r`, a vector over the taps of one
input channel (or of all of them). Its sums, at ``order=1`` its first moments as well, are
:math:`A_r h_r`; a constant (a ramp) makes no tone where they are the same for every phase. Wanted
are changes :math:`d_r` with

.. math:: \min \sum_r d_r^T R \, d_r \quad \text{such that} \quad A_r (h_r + d_r) = s
   \quad \text{for all } r.

With :math:`G_r = (A_r R^{-1} A_r^T)^{-1}`, the multipliers of the constraints give

.. math:: d_r = R^{-1} A_r^T G_r (s - A_r h_r), \qquad
   s = \Big(\sum_r G_r\Big)^{-1} \sum_r G_r A_r h_r.

With :math:`R = I` that is the least change of the weights, at ``order=0`` the projection of
:mod:`..layers.tone_free`; with the covariance of the layer's input it is the least change of the
layer's output.

Why first moments make ramps go through: the output for :math:`x[j] = j` at
:math:`n = js + r` is :math:`j S_r` minus the first moment of phase :math:`r`. It is a ramp if
the sums are equal, and the moments about the place of each tap *at the output rate* are, too.
"""

from __future__ import annotations

import torch
from torch import Tensor

MOST_BITS = 40
"""Of a tap on the grid, so that sums of many are exact in float64."""


def nearest_taps(
    taps: Tensor,
    mask: Tensor,
    places: Tensor,
    order: int = 0,
    metric: Tensor | None = None,
    mean: Tensor | None = None,
) -> Tensor:
    """The nearest taps with equal phase sums, in float64.

    Args:
        taps: ``(out, phase, in, taps)``, float64, as :meth:`Site.taps` gives them: output sample
            ``j * stride + phase`` is the sum over ``in`` and ``q`` of tap ``q`` times sample
            ``j + q`` of the input, up to a delay.
        mask: ``(phase, taps)``, which taps exist; the others stay 0.
        places: ``(phase, taps)``, where each tap stands in the impulse response, in samples of the
            output rate.
        order: 0 for equal sums; 1 for equal first moments as well.
        metric: What makes one change worse than another, a positive definite matrix, float64:
            ``None``, the identity; ``(taps, taps)``, used for every pair of channels; or
            ``(in * taps, in * taps)``, in the order of ``taps.flatten(2)``, such as the covariance
            of input windows (``x.unfold(-1, taps, 1)`` of all channels side by side). The latter
            may have an axis of groups before it: the out channels are then split into as many.
        mean: If given, the sums are only held equal for inputs that are a multiple of it:
            ``(in,)``, or ``(groups, in)``. ``None`` holds them equal for each input channel.

    Returns:
        Of the shape of ``taps``.
    """
    stride, inputs, count = taps.shape[1:]
    centred = (places - places[mask].mean()) / stride
    rows = torch.stack([torch.ones_like(centred), centred][: order + 1], 1) * mask[:, None]
    across = metric is not None and metric.shape[-1] != count
    if not across and mean is None:  # every pair of channels for itself
        vectors = taps.transpose(1, 2)
    else:
        vectors, mask = taps.flatten(2), mask.repeat(1, inputs)
        if metric is not None and not across:
            metric = torch.kron(torch.eye(inputs).to(metric), metric)
        if mean is not None and mean.dim() == 2 and metric is None:
            metric = torch.eye(vectors.shape[-1]).to(taps).expand(len(mean), -1, -1)
        over = torch.eye(inputs).to(taps) if mean is None else mean.to(taps)
        over = over if mean is None else over[..., None, :]  # (groups,) constraints, in
        rows = torch.einsum("...ai,pct->...pacit", over, rows).flatten(-2).flatten(-3, -2)
    if metric is not None and metric.dim() == 3:
        vectors = vectors.unflatten(0, (len(metric), -1))
    nearest = _equal(vectors, mask, rows, metric)
    if metric is not None and metric.dim() == 3:
        nearest = nearest.flatten(0, 1)
    return nearest.transpose(1, 2) if nearest.dim() == 4 else nearest.unflatten(2, (inputs, count))


def _equal(vectors: Tensor, mask: Tensor, rows: Tensor, metric: Tensor | None) -> Tensor:
    """The formula above: ``(..., phase, n)`` under ``(phase, constraints, n)`` rows."""
    gains, pushes, sums = [], [], []
    for phase, there in enumerate(mask):
        constraints = rows[..., phase, :, :][..., there]
        solved = constraints.mT
        if metric is not None:
            solved = torch.linalg.solve(metric[..., there, :][..., there], constraints.mT)
        gains.append(torch.linalg.inv(constraints @ solved))
        pushes.append(solved @ gains[-1])
        sums.append(vectors[..., phase, there] @ constraints.mT)
    weighted = sum(s @ g.mT for s, g in zip(sums, gains, strict=True))
    common = torch.linalg.solve(sum(gains), weighted.mT).mT
    nearest = vectors.clone()
    for phase, there in enumerate(mask):
        change = (common - sums[phase]) @ pushes[phase].mT
        nearest[..., phase, there] = vectors[..., phase, there] + change
    return nearest


def unequal(taps: Tensor, mask: Tensor, places: Tensor, order: int = 0) -> float:
    """By how much the phase sums of a pair of channels differ, as a share of its largest tap.

    First moments are taken about the middle tap, and count as a share of what rounding all taps of
    a phase by as much can change in them.

    Args:
        taps: As in :func:`nearest_taps`, like all others.
    """
    scale = taps.abs().amax((1, 3)).clamp(min=torch.finfo(torch.float64).tiny)
    centred = (places - places[mask].mean()) * mask
    weights = [mask.double(), centred / centred.abs().max().clamp(min=1) / (2 * mask.shape[1])]
    worst = 0.0
    for weight in weights[: order + 1]:
        sums = (taps * weight[:, None]).sum(3)
        worst = max(worst, float(((sums.amax(1) - sums.amin(1)) / scale).max()))
    return worst


def on_grid(rows: Tensor, mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Round taps to numbers that a type holds, so that rows with equal sums keep them exactly.

    All taps of a pair of channels become multiples of one step, that of the largest. Each is
    rounded for itself, and then those that were rounded furthest are moved by a step, until the sum
    of the row is that of the unrounded one, to the nearest step.

    Args:
        rows: ``(out, row, in, taps)``, float64.
        mask: ``(row, taps)``, which taps may be moved.
        dtype: The type of the weights.
    """
    info = torch.finfo(dtype)
    bits = min(MOST_BITS, round(1 - torch.log2(torch.tensor(info.eps)).item()))
    largest = rows.abs().amax((1, 3), keepdim=True).clamp(min=info.smallest_normal)
    step = torch.exp2(torch.ceil(torch.log2(1.01 * largest)) - bits)
    step = step.clamp(min=info.smallest_normal * info.eps)
    sums = rows.sum(3, keepdim=True) / step
    common = sums.mean(1, keepdim=True)
    same = ((sums - common).abs() < 0.01).all(1, keepdim=True)
    wanted = torch.where(same, common, sums).round()
    scaled = rows / step
    steps = scaled.round()
    missing = wanted - steps.sum(3, keepdim=True)
    error = ((scaled - steps) * missing.sign()).masked_fill(~mask[:, None], -torch.inf)
    furthest = error.argsort(3, descending=True).argsort(3)
    return (steps + missing.sign() * (furthest < missing.abs())) * step
