"""Conv-TasNet for music, against Asteroid's own network a channel at a time."""

import pytest
import torch
from asteroid.models import ConvTasNet

from asteroid_upsamplers import layers
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models import MusicConvTasNet
from tests import contracts

SMALL = {"n_filters": 12, "kernel_size": 8, "stride": 4, "n_blocks": 2, "n_repeats": 1}
SMALL |= {"bn_chan": 8, "hid_chan": 8}


def small(**more):
    torch.manual_seed(0)
    return MusicConvTasNet(**{**SMALL, **more})


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("upsampler", layers.available())
def test_contracts(upsampler, joint):
    contracts.model_round_trip(small(upsampler=upsampler, joint=joint))
    contracts.model_keeps_length(small(upsampler=upsampler, joint=joint), [1, 7, 8, 9, 1001])
    contracts.model_learns(small(upsampler=upsampler, joint=joint, sources=("a", "b")))


@pytest.mark.parametrize("skip_chan", [0, 6])
def test_a_channel_at_a_time_it_is_asteroids(skip_chan):
    theirs = ConvTasNet(4, skip_chan=skip_chan, mask_act="relu", **SMALL).eval()
    ours = small(joint=False, skip_chan=skip_chan).eval()
    ours.network.load_state_dict(theirs.state_dict())
    wav = torch.randn(2, 2, 4 * 50)
    with torch.no_grad():
        expected = torch.stack([theirs(wav[:, [channel]]) for channel in range(2)], 2)
        torch.testing.assert_close(ours(wav), expected, rtol=1e-6, atol=1e-6)


def test_joint_masks_see_both_channels():
    wav = torch.randn(1, 2, 400)
    changed = torch.cat([wav[:, :1], -wav[:, 1:]], 1)
    for joint in (False, True):
        model = small(joint=joint).eval()
        with torch.no_grad():
            same = torch.allclose(model(wav)[:, :, 0], model(changed)[:, :, 0], atol=1e-6)
        assert same is not joint


def test_the_last_samples_are_heard():
    model = small(joint=False, mask_act="linear")
    wav = torch.zeros(1, 2, 401)
    wav[..., -1] = 1
    with torch.no_grad():
        assert model(wav)[..., -1].abs().max() > 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_filters": 0}, "n_filters is 0, allowed is 1 and up"),
        ({"kernel_size": 3}, "kernel_size is 3, allowed is 4 and up"),
        ({"skip_chan": -1}, "skip_chan is -1, allowed is 0 and up"),
        ({"audio_channels": 0}, "audio_channels is 0, allowed is 1 and up"),
        ({"sources": ()}, "sources is empty"),
        ({"upsampler": "neerest"}, "did you mean nearest"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        small(**settings)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"\(batch, 2, time >= 1\) is needed"):
        small()(torch.zeros(1, 3, 100))
