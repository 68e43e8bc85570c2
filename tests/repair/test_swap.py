"""Other layers in the place of a network's own."""

import pytest
import torch
from torch import nn

from asteroid_upsamplers import layers
from asteroid_upsamplers.artifacts import tone_levels
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.repair import repair


def network(**settings):
    torch.manual_seed(0)
    layer = nn.ConvTranspose1d(3, 2, 16, 8, padding=4, **settings)
    return nn.Sequential(nn.Identity(), nn.utils.weight_norm(layer), nn.Tanh())


def test_exact_ones():
    x = torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(0))
    before = network()
    for family in ("transposed", "subpixel"):
        report = repair(before, "swap", family=family)
        assert report.network[1].name == family and not report.layers[0].remark.endswith(" %")
        torch.testing.assert_close(report.network(x), before(x), rtol=0, atol=1e-5)
        again = repair(report.network, "swap", family="transposed").network
        torch.testing.assert_close(again(x), before(x), rtol=0, atol=1e-5)
        assert torch.equal(report.undo()(x), before(x))


@pytest.mark.parametrize("family", ["nearest", "linear"])
def test_the_nearest_of_an_interpolation(family):
    """No gradient of the squared error is left, for white inputs."""
    before = network()
    report = repair(before, "swap", family=family)
    other = report.network[1].double()
    assert max(tone_levels(other).levels_db) < -130 > -200
    assert "%" in report.warnings[-1] and report.layers[0].tone_db_after < -100
    impulses = nn.functional.pad(torch.eye(3, dtype=torch.float64)[:, :, None], (6, 6))
    error = other(impulses) - before[1].double()(impulses)
    (gradient,) = torch.autograd.grad(error.square().sum(), other.weight)
    assert gradient.abs().max() < 1e-2 * other.weight.abs().max()
    assert error.square().sum() < 0.9 * (before[1](impulses)).square().sum()


def test_a_layer_with_two_names_has_both_afterwards():
    up = layers.Transposed(2, 1, stride=4)
    report = repair(nn.ModuleDict({"up": nn.Sequential(up), "again": up}), "swap")
    assert report.network["up"][0] is report.network["again"]
    assert report.network["again"].name == "nearest"
    report.undo()
    assert report.network["up"][0] is report.network["again"]
    assert report.network["again"].name == "transposed"


def test_what_cannot_be_swapped():
    with pytest.raises(UsageError, match="without groups and dilation"):
        repair(network(output_padding=1), "swap")
    with pytest.raises(UsageError, match="family"):
        repair(network(), "swap", family="nearst")
    with pytest.raises(UsageError, match="no module of another one"):
        repair(layers.Transposed(2, 1, stride=4), "swap")
    with pytest.raises(UsageError, match="only 'transposed'"):
        repair(nn.Sequential(layers.Transposed(2, 1, 4, trim=False)), "swap")
