"""Conv-TasNet for music, against Asteroid's own network a channel at a time."""

import torch
from asteroid.models import ConvTasNet

from asteroid_upsamplers.models import MusicConvTasNet

SMALL = {"n_filters": 12, "kernel_size": 8, "stride": 4, "n_blocks": 2, "n_repeats": 1}
SMALL |= {"bn_chan": 8, "hid_chan": 8}


def small(**more):
    torch.manual_seed(0)
    return MusicConvTasNet(**{**SMALL, **more}).eval()


@torch.no_grad()
def test_a_channel_at_a_time_it_is_asteroids():
    for skip_chan in (0, 6):
        theirs = ConvTasNet(4, skip_chan=skip_chan, mask_act="relu", **SMALL).eval()
        ours = small(joint=False, skip_chan=skip_chan)
        ours.network.load_state_dict(theirs.state_dict())
        wav = torch.randn(2, 2, 4 * 50)
        expected = torch.stack([theirs(wav[:, [channel]]) for channel in range(2)], 2)
        torch.testing.assert_close(ours(wav), expected, rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_joint_masks_see_both_channels():
    wav = torch.randn(1, 2, 400)
    changed = torch.cat([wav[:, :1], -wav[:, 1:]], 1)
    for joint in (False, True):
        model = small(joint=joint)
        same = torch.allclose(model(wav)[:, :, 0], model(changed)[:, :, 0], atol=1e-6)
        assert same is not joint


@torch.no_grad()
def test_the_last_samples_are_heard():
    wav = torch.zeros(1, 2, 401)
    wav[..., -1] = 1
    assert small(joint=False, mask_act="linear")(wav)[..., -1].abs().max() > 0
