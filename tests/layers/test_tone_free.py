"""Layers that are held free of tones stay so while they learn."""

import pytest
import torch
from torch.nn.utils import parametrize

from asteroid_upsamplers import layers
from asteroid_upsamplers.artifacts import tone_levels

SETTINGS = [
    ("transposed", {}),
    ("transposed", {"kernel_size": 4}),
    ("transposed", {"kernel_size": 10}),
    ("transposed", {"form": "folded", "trim": False}),
    ("subpixel", {}),
    ("subpixel", {"kernel_size": 4, "init": "icnr"}),
    ("subpixel", {"bias": False}),
]
layer_settings = pytest.mark.parametrize(("name", "options"), SETTINGS, ids=str)


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
        before = [p.detach().clone() for p in module.parameters()]
        for _ in range(20):
            optimizer.zero_grad()
            (module(x) - target).square().mean().backward()
            optimizer.step()
        after = module.parameters()
        assert all((a - b).abs().max() > 0.01 for a, b in zip(after, before, strict=True))
    constants = torch.randn(5, 1, 3, 1)  # any level in any channel, not ones alone
    assert max(tones(layer, constant) for constant in constants) < 1e-6
    assert min(tones(free, constant) for constant in constants) > 1e-2
    assert tone_levels(layer.double()).tonal_fraction < 1e-12


@layer_settings
def test_the_weight_is_the_nearest_one_without_tones(name, options):
    """A projection: what has equal sums stays, and the change is orthogonal to all that have."""
    layer = layers.get(name)(3, 2, 4, tone_free=True, **options).double()
    project = layer.parametrizations.weight[0]
    original, used = layer.parametrizations.weight.original, layer.weight
    torch.testing.assert_close(project(used), used)
    other = project(torch.randn_like(original))
    assert abs(((original - used) * other).sum()) < 1e-12
    assert (original - used).abs().max() > 1e-2 or options.get("init") == "icnr"


@layer_settings
def test_weights_are_saved_loaded_and_assigned(name, options):
    layer, twin = (layers.get(name)(3, 2, 4, tone_free=True, **options) for _ in range(2))
    twin.load_state_dict(layer.state_dict())
    assert torch.equal(twin.weight, layer.weight)
    assert isinstance(twin, layers.get(name))
    with torch.no_grad():
        twin.weight = torch.ones_like(twin.weight)
    assert "parametrizations.weight.original" in twin.state_dict()
    assert torch.equal(twin.parametrizations.weight.original, torch.ones_like(twin.weight))
    twin.reset_parameters()
    assert (twin.weight != torch.ones_like(twin.weight)).all()
    kept = twin.weight.detach().clone()
    parametrize.remove_parametrizations(twin, "weight")
    assert torch.equal(twin.weight, kept)
