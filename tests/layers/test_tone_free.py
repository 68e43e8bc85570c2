"""Layers that are held free of tones stay so while they learn."""

import pytest
import torch

from asteroid_upsamplers import layers
from asteroid_upsamplers.layers import equal_phase_gains

layer_settings = pytest.mark.parametrize(
    ("name", "options"),
    [
        ("transposed", {"kernel_size": 10}),
        ("transposed", {"form": "folded", "trim": False}),
        ("subpixel", {}),
        ("subpixel", {"kernel_size": 4, "init": "icnr"}),
    ],
    ids=str,
)


def tones(layer, constant):
    """Deviation within the period of the steady response, against its size."""
    y = layer(constant.expand(1, layer.in_channels, 40))[0].detach()
    period = y[:, 20 * layer.stride : 21 * layer.stride]
    return float(period.std(-1).max() / period.abs().max())


@layer_settings
def test_no_optimiser_step_brings_a_tone(name, options):
    torch.manual_seed(0)
    layer = layers.get(name)(3, 2, 4, tone_free=True, **options)
    free = layers.get(name)(3, 2, 4, **options)
    for module in (layer, free):
        optimizer = torch.optim.Adam(module.parameters(), 0.01)
        x = torch.randn(4, 3, 30)
        target = torch.randn_like(module(x))
        before = module(x).detach()
        for _ in range(20):
            optimizer.zero_grad()
            (module(x) - target).square().mean().backward()
            optimizer.step()
        assert (module(x) - before).abs().max() > 0.01
    constants = torch.randn(5, 1, 3, 1)  # any level in any channel, not ones alone
    assert max(tones(layer, constant) for constant in constants) < 1e-6
    assert min(tones(free, constant) for constant in constants) > 1e-2


@pytest.mark.parametrize(
    ("shape", "phases_first"), [((3, 2, 8), False), ((3, 2, 10), False), ((8, 3, 4), True)]
)
def test_the_filters_are_the_nearest_ones_without_tones(shape, phases_first):
    """A projection: what has equal sums stays, and the change is orthogonal to all that have."""
    weight, another = torch.randn(2, *shape, dtype=torch.float64)
    used = equal_phase_gains(weight, 4, phases_first)
    assert (weight - used).abs().max() > 1e-2
    torch.testing.assert_close(equal_phase_gains(used, 4, phases_first), used)
    assert abs(((weight - used) * equal_phase_gains(another, 4, phases_first)).sum()) < 1e-12


@layer_settings
def test_saved_weights_load_those_of_version_0_1_too(name, options):
    """There ``weight`` was kept under the name of a parametrization."""
    layer, twin, old = (layers.get(name)(3, 2, 4, tone_free=True, **options) for _ in range(3))
    state = layer.state_dict()
    twin.load_state_dict(state)
    old.load_state_dict({f"parametrizations.{key}.original": state[key] for key in state})
    x = torch.randn(1, 3, 9)
    assert torch.equal(twin(x), layer(x)) and torch.equal(old(x), layer(x))
