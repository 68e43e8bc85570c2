"""The U-Net mask network: lengths, learning, its place in an Asteroid model."""

import pytest
import torch
from asteroid.masknn import TDConvNet
from asteroid.models.base_models import BaseEncoderMaskerDecoder
from asteroid_filterbanks import make_enc_dec

from asteroid_upsamplers import layers
from asteroid_upsamplers.blocks import UpsamplerDecoder, UpsamplingUNet
from asteroid_upsamplers.errors import UsageError

SMALL = {"in_chan": 6, "n_src": 2, "depth": 2, "bn_chan": 4, "hid_chan": 5}


def assert_any_number_of_frames(net):
    for frames in (1, 7, 16, 33):
        masks = net(torch.randn(2, 6, frames))
        assert masks.shape == (2, 2, 6, frames)
        assert masks.min() >= 0 and masks.max() <= 1
    masks.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())


@pytest.mark.parametrize("name", layers.available())
def test_every_upsampler(name):
    assert_any_number_of_frames(UpsamplingUNet(**SMALL, upsampler=name))


def test_another_stride():
    assert_any_number_of_frames(UpsamplingUNet(**SMALL, upsampler="linear", conv_stride=3))


def test_depth_widens_what_a_frame_sees():
    """With a normalisation frame by frame, a change far away is seen by the deeper net only."""
    torch.manual_seed(0)
    seen = []
    for depth in (1, 4):
        net = UpsamplingUNet(**{**SMALL, "depth": depth}, norm_type="cLN").double()
        x = torch.randn(1, 6, 200).double()
        changed = x.clone()
        changed[..., 140:] = torch.randn(1, 6, 60).double()
        seen.append(float((net(changed) - net(x)).abs()[..., 100].max()))
    assert seen[0] == 0
    assert seen[1] > 0


def test_stands_where_tdconvnet_does():
    """It replaces Asteroid's mask network; its settings are stored with the bank's."""
    encoder, decoder = make_enc_dec("free", n_filters=6, kernel_size=8, stride=4)
    for masker in (TDConvNet(6, 2, bn_chan=4, hid_chan=4), UpsamplingUNet(**SMALL)):
        other = UpsamplerDecoder.in_place_of(decoder, "linear")
        model = BaseEncoderMaskerDecoder(encoder, masker, other)
        assert model(torch.randn(3, 1, 500)).shape == (3, 2, 500)
        args = model.get_model_args()
        assert (args["n_src"], args["stride"]) == (2, 4)


def test_config_rebuilds_the_network():
    net = UpsamplingUNet(**SMALL, out_chan=3, upsampler="cubic", mask_act="softmax")
    twin = UpsamplingUNet(**net.get_config())
    twin.load_state_dict(net.state_dict())
    x = torch.randn(1, 6, 21)
    assert torch.equal(twin(x), net(x))
    torch.testing.assert_close(net(x).sum(1), torch.ones(1, 3, 21))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"depth": 0}, "depth must be an integer of at least 1, not 0"),
        ({"conv_stride": 1}, "conv_stride must be an integer of at least 2, not 1"),
        ({"conv_kernel_size": 4}, "conv_kernel_size is 4, must be odd"),
        ({"upsampler": "lineer"}, "did you mean linear"),
        ({"upsampler": "haar", "conv_stride": 3}, "stride must be a power of two, not 3"),
        ({"upsampler_kwargs": {"kernel": 3}}, "'kernel'.*did you mean kernel_size"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        UpsamplingUNet(**{**SMALL, **settings})
