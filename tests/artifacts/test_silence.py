"""What a network makes of silence, and what an estimate has left where its source is silent."""

import math

import pytest
import torch

from asteroid_upsamplers.artifacts import silence_response, silent_windows
from asteroid_upsamplers.models import DemucsLike

RATE = 16000


@pytest.mark.parametrize("length", [4000, 4001])
def test_a_known_tone(length):
    """Tones at rate / 4 and rate / 2, and as much power elsewhere."""

    def network(x):
        time = torch.arange(x.shape[-1], dtype=torch.float64)
        there = 0.1 * torch.sin(2 * math.pi * time / 4 + 1) + 0.05 * (-1) ** time
        elsewhere = 0.015**0.5 * torch.sin(2 * math.pi * time * 7 / (x.shape[-1] // 2))
        return (3 + there + elsewhere).expand(1, 2, -1)

    result = silence_response(network, channels=1, stride=4, length=length)
    assert result.rms_db == pytest.approx(10 * math.log10(0.015), abs=0.01)
    assert result.share_at_tones == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize(("upsampler", "rings"), [("transposed", True), ("linear", False)])
def test_networks_before_training(upsampler, rings):
    """[1] Fig. 1: transposed layers ring at the rate / stride, interpolation does not."""
    torch.manual_seed(0)
    settings = {"upsampler": upsampler, "channels": 8, "depth": 3}
    result = silence_response(DemucsLike(**settings).eval(), channels=2, stride=4, length=2**13)
    assert (result.rms_db > -60) == (result.share_at_tones > 0.5) == rings
    assert rings or result.rms_db < -140  # what is left is rounding
    modified = DemucsLike(modified=True, **settings).eval()
    assert silence_response(modified, 2, 4, 2**13).rms_db == -400


def noise(time, seed=0):
    return torch.randn(2, time, generator=torch.Generator().manual_seed(seed)).double()


def test_silent_windows_hold_what_is_left():
    """Silent in two of five seconds: a hum of known level and some noise there."""
    source = 0.1 * noise(5 * RATE)
    source[:, RATE : 2 * RATE] = source[:, 3 * RATE : 4 * RATE] = 0
    hum = 0.01 * torch.sin(math.pi / 2 * torch.arange(5 * RATE).double() + 0.5)
    hiss = 0.001 * noise(5 * RATE, 1)
    found = silent_windows(source, source + hum + hiss, RATE, [2000, 4000, 8000])
    assert (found.windows, found.silent) == (2, True)
    assert found.tones_db == pytest.approx(10 * math.log10(0.5e-4), abs=0.05)
    assert found.share_at_tones == pytest.approx(0.5e-4 / (0.5e-4 + 1e-6), abs=0.01)
    assert found.rms_db == pytest.approx(10 * math.log10(0.5e-4 + 1e-6), abs=0.05)
    without = silent_windows(source, source + hiss, RATE, [2000, 4000, 8000])
    assert without.share_at_tones < 1e-3


def test_a_song_without_silence_has_a_score_too():
    source = noise(20 * RATE)
    source[:, 5 * RATE : 7 * RATE] *= 0.1
    found = silent_windows(source, source, RATE, [4000.0])
    assert (found.windows, found.silent) == (2, False)
    assert found.rms_db == pytest.approx(-20, abs=0.5)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="the same"):
        silent_windows(torch.zeros(2, 1000), torch.zeros(2, 999), RATE, [4000.0])
