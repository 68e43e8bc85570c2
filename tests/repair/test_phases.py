"""The nearest taps, against a generic constrained least-squares problem and by their laws."""

import numpy as np
import pytest
import torch
from torch import nn

from asteroid_upsamplers import layers
from asteroid_upsamplers.repair.phases import nearest_taps, on_grid, unequal
from asteroid_upsamplers.repair.sites import find_sites


def site_of(layer):
    return find_sites(layer)[0]


def by_multipliers(vector, metric, differences):
    """The nearest vector, in the metric, with these differences zero: its KKT system."""
    zeros = np.zeros((len(differences), len(differences)))
    system = np.block([[metric, differences.T], [differences, zeros]])
    right = np.concatenate([metric @ vector, np.zeros(len(differences))])
    return np.linalg.lstsq(system, right, rcond=None)[0][: len(vector)]


def in_the_large(taps, mask, places, order, metric, mean):
    """:func:`nearest_taps` of one output channel, all taps of all phases as one vector."""
    stride, inputs, count = taps.shape
    ones = np.eye(inputs) if mean is None else mean[None]
    rows = [
        np.kron(one, places[phase] ** power * mask[phase])
        for one in ones
        for power in range(order + 1)
        for phase in range(stride)
    ]
    blocks = [np.zeros(stride * inputs * count) for _ in rows]
    size = inputs * count
    for k, row in enumerate(rows):
        phase = k % stride
        blocks[k][phase * size : (phase + 1) * size] = row
    differences = np.array([blocks[k] - blocks[k - k % stride] for k in range(len(rows))])
    there = np.tile(mask[:, None], (1, inputs, 1)).flatten()
    found = np.zeros(stride * size)
    found[there] = by_multipliers(
        taps.flatten()[there],
        np.kron(np.eye(stride), metric)[there][:, there],
        differences[:, there],
    )
    return found.reshape(taps.shape)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("weighted", ["not", "taps", "all", "mean", "mean and all"])
def test_they_solve_the_constrained_problem(order, weighted):
    site = site_of(nn.ConvTranspose1d(2, 3, 11, stride=4))
    taps = site.taps()
    inputs, count = taps.shape[2:]
    size = {"taps": count, "all": inputs * count, "mean and all": inputs * count}.get(weighted)
    root = None if size is None else torch.randn(size, size + 3, dtype=torch.float64)
    metric = None if root is None else root @ root.T
    mean = torch.tensor([0.3, -2.0], dtype=torch.float64) if "mean" in weighted else None
    found = nearest_taps(taps, site.mask, site.places, order, metric, mean)
    whole = np.eye(inputs * count) if metric is None else metric.numpy()
    whole = np.kron(np.eye(inputs), whole) if weighted == "taps" else whole
    for channel in range(3):
        expected = in_the_large(
            taps[channel].numpy(),
            site.mask.numpy(),
            site.places.numpy() - site.places.mean().item(),
            order,
            whole,
            None if mean is None else mean.numpy(),
        )
        np.testing.assert_allclose(found[channel].numpy(), expected, atol=1e-8)


def test_groups_have_a_metric_each():
    site = site_of(nn.ConvTranspose1d(4, 6, 8, stride=4, groups=2))
    taps = site.taps()
    size = taps[0, 0].numel()
    roots = torch.randn(2, size, size, dtype=torch.float64)
    metrics = roots @ roots.mT + torch.eye(size)
    means = torch.randn(2, 2, dtype=torch.float64)
    together = nearest_taps(taps, site.mask, site.places, 0, metrics, means)
    for group in range(2):
        own = slice(3 * group, 3 * group + 3)
        alone = nearest_taps(taps[own], site.mask, site.places, 0, metrics[group], means[group])
        torch.testing.assert_close(together[own], alone)
    plain = nearest_taps(taps, site.mask, site.places, 0, None, means)
    alone = nearest_taps(taps[3:], site.mask, site.places, 0, None, means[1])
    torch.testing.assert_close(plain[3:], alone)


@pytest.mark.parametrize("kernel_size", [4, 8, 10])
def test_they_are_those_of_tone_free_layers(kernel_size):
    layer = layers.Transposed(2, 3, stride=4, kernel_size=kernel_size)
    site = site_of(layer)
    free = layers.equal_phase_gains(layer.weight, 4, phases_first=False)
    site.assign(nearest_taps(site.taps(), site.mask, site.places))
    torch.testing.assert_close(layer.weight, free)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_rounded_taps_have_the_same_sums_exactly(dtype):
    mask = torch.tensor([[True] * 7, [True] * 6 + [False]])
    taps = torch.randn(50, 2, 3, 7, dtype=torch.float64) * mask[:, None]
    taps[..., 3] *= 1e-3
    places = torch.arange(14.0).double().view(7, 2).T.flip(1)
    equal = nearest_taps(taps, mask, places)
    rounded = on_grid(equal, mask, dtype)
    assert torch.equal(rounded.to(dtype).double(), rounded)
    assert unequal(rounded, mask, places) == 0
    digit = max(torch.finfo(dtype).eps, 1e-12)
    assert float((rounded - equal).abs().max()) < 2 * digit * float(taps.abs().max())
