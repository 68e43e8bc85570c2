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
REPEATING = ("haar", "lazy_wavelet", "lifting", "nearest", "stretch", "subpixel", "transposed")


@pytest.mark.parametrize("name", layers.available())
def test_starts_near_nn_upsample_and_mixes_no_channels(name):
    layer = ChannelwiseUpsampler(2, name)
    x = torch.zeros(1, 5, 20)
    x[:, 2] = torch.randn(20)
    y = layer(x)
    assert not y[:, [0, 1, 3, 4]].any()
    error = (y - nn.Upsample(scale_factor=2)(x)).square().sum() / x.square().sum()
    assert error < (1e-10 if name in REPEATING else 1)


@pytest.mark.parametrize("family", [SuDORMRF, SuDORMRFImproved])
def test_every_upsample_is_exchanged_and_learns(family):
    torch.manual_seed(0)
    net = family(**SMALL)
    original = copy.deepcopy(net)
    assert exchange_upsamples(net, "subpixel") == 2
    assert not any(isinstance(m, nn.Upsample) for m in net.modules())
    x = torch.randn(2, 6, 32)
    masks = net(x)
    torch.testing.assert_close(masks, original(x), atol=1e-5, rtol=1e-5)
    masks.square().sum().backward()
    for upsampler in (m for m in net.modules() if isinstance(m, ChannelwiseUpsampler)):
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in upsampler.parameters())


def test_what_cannot_be_exchanged_is_refused():
    with pytest.raises(UsageError, match=r"TDConvNet: it has no nn.Upsample"):
        exchange_upsamples(TDConvNet(4, 2, bn_chan=4, hid_chan=4), "linear")
    with pytest.raises(UsageError, match="'kernel'.*did you mean kernel_size"):
        exchange_upsamples(SuDORMRF(**SMALL), "linear", {"kernel": 3})
