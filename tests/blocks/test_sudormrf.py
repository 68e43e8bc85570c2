"""Upsamplers in the U-blocks of SuDORMRF."""

import copy

import pytest
import torch
from asteroid.masknn import SuDORMRF, SuDORMRFImproved, TDConvNet
from torch import nn

from asteroid_upsamplers import layers
from asteroid_upsamplers.blocks import ChannelwiseUpsampler, exchange_upsamples
from asteroid_upsamplers.errors import UsageError

SMALL = {"in_chan": 6, "n_src": 2, "bn_chan": 4, "num_blocks": 2, "upsampling_depth": 3}
REPEATING = ("haar", "lazy_wavelet", "nearest", "stretch", "subpixel", "transposed")


@pytest.mark.parametrize("name", layers.available())
@pytest.mark.parametrize("family", [SuDORMRF, SuDORMRFImproved])
def test_every_upsample_is_exchanged_and_learns(family, name):
    torch.manual_seed(0)
    net = family(**SMALL)
    original = copy.deepcopy(net)
    assert exchange_upsamples(net, name) == 2
    assert not any(isinstance(m, nn.Upsample) for m in net.modules())
    x = torch.randn(2, 6, 32)
    masks = net(x)
    assert masks.shape == original(x).shape
    if name in REPEATING:  # it starts as the network that it was
        torch.testing.assert_close(masks, original(x), atol=1e-5, rtol=1e-5)
    masks.square().sum().backward()
    learned = [m for m in net.modules() if isinstance(m, ChannelwiseUpsampler)]
    for upsampler in learned:
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in upsampler.parameters())


@pytest.mark.parametrize("name", layers.available())
def test_channels_do_not_mix(name):
    layer = ChannelwiseUpsampler(2, name)
    x = torch.zeros(1, 5, 20)
    x[:, 2] = torch.randn(20)
    y = layer(x)
    assert y.shape == (1, 5, 40)
    assert y[:, 2].abs().max() > 0
    assert not y[:, [0, 1, 3, 4]].any()


def test_a_network_without_any_is_refused():
    with pytest.raises(UsageError, match=r"TDConvNet: no nn.Upsample .* allowed is"):
        exchange_upsamples(TDConvNet(4, 2, bn_chan=4, hid_chan=4), "linear")


def test_wrong_settings_are_refused():
    with pytest.raises(UsageError, match="upsampler_kwargs of linear"):
        exchange_upsamples(SuDORMRF(**SMALL), "linear", {"size": 3})
