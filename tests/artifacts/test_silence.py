"""The response to silence: of signals that are known, and of the networks of the paper."""

import math

import pytest
import torch

from asteroid_upsamplers.artifacts import silence_response
from asteroid_upsamplers.models import DemucsLike


@pytest.mark.parametrize("length", [4000, 4096, 4001])
def test_a_known_tone(length):
    """A tone of amplitude 0.1 at rate / 4, and one of 0.1 elsewhere: half the power each."""

    def network(x):
        time = torch.arange(x.shape[-1], dtype=torch.float64)
        half = x.shape[-1] // 2
        there = 0.1 * torch.sin(2 * math.pi * time / 4 + 1)
        elsewhere = 0.1 * torch.sin(2 * math.pi * time * 7 / half)
        return (3 + there + elsewhere).expand(1, 2, -1)

    result = silence_response(network, channels=1, stride=4, length=length)
    assert result.rms_db == pytest.approx(-20, abs=0.01)
    assert result.share_at_tones == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("upsampler", ["transposed", "nearest", "linear", "subpixel"])
def test_networks_before_training(upsampler):
    """[1] Fig. 1: transposed and subpixel ring at the rate / stride, interpolation does not."""
    torch.manual_seed(0)
    settings = {"upsampler": upsampler, "channels": 8, "depth": 4}
    network = DemucsLike(**settings).eval()
    result = silence_response(network, channels=2, stride=4, length=2**15)
    if upsampler in ("transposed", "subpixel"):
        assert result.rms_db > -60
        assert result.share_at_tones > 0.5
    else:  # what is left is rounding
        assert result.rms_db < -150
    modified = DemucsLike(modified=True, **settings).eval()
    assert silence_response(modified, 2, 4, 2**15).rms_db == float("-inf")
