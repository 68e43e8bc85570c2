"""A repaired network: no tones, nothing else changed, undone to the last bit."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, weight_norm

from asteroid_upsamplers import layers
from asteroid_upsamplers.artifacts import tone_levels
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.layers.measured import double_copy
from asteroid_upsamplers.repair import find_sites, repair


def bits(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same_bits(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def trained(layer):
    """A lifting layer whose steps are Haar's no more."""
    for filters in (layer.predict, layer.update):
        nn.init.normal_(filters)
    return layer


LAYERS = {
    "transposed": lambda: layers.Transposed(3, 2, stride=4),
    "no overlap": lambda: layers.Transposed(3, 2, stride=4, kernel_size=4),
    "partial overlap": lambda: layers.Transposed(3, 2, stride=5, kernel_size=13, trim=False),
    "tone-free": lambda: layers.Transposed(3, 2, stride=4, tone_free=True),
    "stretch": lambda: layers.Stretch(3, 2, stride=3, kernel_size=11),
    "subpixel": lambda: layers.Subpixel(3, 2, stride=3, kernel_size=4),
    "lazy_wavelet": lambda: layers.LazyWavelet(3, 2, stride=4),
    "haar": lambda: layers.Haar(3, 2, stride=4),
    "lifting": lambda: trained(layers.Lifting(3, 2, stride=4, kernel_size=3, stages=2)),
    "groups": lambda: nn.ConvTranspose1d(4, 6, 9, 4, padding=3, output_padding=1, groups=2),
    "dilation": lambda: nn.ConvTranspose1d(4, 6, 8, 3, dilation=2),
    "weight norm": lambda: weight_norm(nn.ConvTranspose1d(16, 8, 16, 8)),
    "weight norm of taps": lambda: weight_norm(nn.ConvTranspose1d(16, 8, 16, 8), dim=2),
    "parametrized": lambda: parametrizations.weight_norm(nn.ConvTranspose1d(16, 8, 16, 8)),
    "half": lambda: nn.ConvTranspose1d(4, 4, 16, 4).half(),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_every_kind_of_layer(kind):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Identity(), LAYERS[kind]()).train()
    before = bits(network)
    report = repair(network)
    assert same_bits(bits(network), before)
    (layer,) = report.layers
    assert (layer.name, layer.status) == ("1", "repaired" if kind != "tone-free" else layer.status)
    site = find_sites(report.network)[0]
    sums = site.taps().sum(3)
    spread = (sums.amax(1) - sums.amin(1)).max()
    assert spread <= 1e-7 * site.taps().abs().max()
    if isinstance(report.network[1], (layers.Upsampler, nn.ConvTranspose1d)):
        assert max(tone_levels(report.network[1]).levels_db) < -130
    assert same_bits(bits(repair(report.network).network), bits(report.network))
    assert report.network.training and same_bits(bits(report.undo()), before)


@pytest.mark.parametrize("kind", sorted(LAYERS.keys() - {"no overlap", "lifting"}))
def test_a_ramp_makes_no_tone_at_order_1(kind):
    torch.manual_seed(0)
    report = repair(LAYERS[kind](), order=1)
    assert same_bits(bits(repair(report.network, order=1).network), bits(report.network))
    layer = double_copy(report.network)
    ramp = torch.arange(200, dtype=torch.float64).expand(1, layer.in_channels, -1)
    y = layer(ramp)[..., 50 * layer.stride if isinstance(layer.stride, int) else 200 : -200]
    bend = y.diff(n=2).abs().max()
    assert bend < (1e-4 if kind == "half" else 1e-6) * y.abs().max()


def test_what_it_refuses_and_what_it_says():
    network = nn.ModuleDict(
        {"up": nn.ConvTranspose1d(1, 1, 8, 4), "linear": layers.Linear(1, 1, 4)}
    )
    before = copy.deepcopy(network)
    assert [layer.status for layer in repair(network).layers] == ["repaired", "has none"]
    with pytest.raises(UsageError, match="no layer 'upp' to repair: did you mean up"):
        repair(network, layers="upp")
    with pytest.raises(UsageError, match="linear .*has none"):
        repair(network, layers=["linear"])
    with pytest.raises(UsageError, match="nothing to repair"):
        repair(nn.Linear(2, 2))
    with pytest.raises(UsageError, match="unknown method 'phase': did you mean phases"):
        repair(network, method="phase")
    with pytest.raises(UsageError, match="order"):
        repair(network, order=2)
    assert same_bits(bits(network), bits(before))
