"""Recordings: tones, silent windows, and files that are odd."""

import math

import pytest
import torch

from asteroid_upsamplers.artifacts import silent_windows
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.probe import probe_recording

RATE = 16000


def noise(time, seed=0):
    return torch.randn(2, time, generator=torch.Generator().manual_seed(seed)).double()


def tone(time, stride, amplitude):
    return amplitude * torch.sin(2 * math.pi * torch.arange(time).double() / stride + 0.5)


def test_a_tone_is_found_and_named():
    report = probe_recording(0.1 * noise(3 * RATE) + tone(3 * RATE, 8, 0.01), RATE, [2, 4, 8])
    found = dict(zip(report.tones.frequencies_hz, report.tones.present, strict=True))
    assert found == {2000: True, 4000: False, 6000: False, 8000: False}
    level = report.tones.levels_db[0]
    assert level == pytest.approx(20 * math.log10(0.01 / math.sqrt(2)), abs=1)
    assert report.remarks == []


@pytest.mark.parametrize(
    ("signal", "words"),
    [
        (torch.zeros(1, RATE), "every sample is 0"),
        (torch.full((1, RATE), 0.5), "a constant"),
        (noise(20), "20 samples: at least 64"),
        ((3 * noise(RATE)).clamp(-1, 1), "samples at full scale"),
        (noise(1000), "shorter than a second"),
    ],
    ids=["silent", "constant", "tiny", "clipped", "short"],
)
def test_odd_recordings_are_answered(signal, words):
    report = probe_recording(signal, RATE)
    assert any(words in remark for remark in report.remarks)
    assert (report.tones is None) == (signal.shape[1] < 64 or not signal.std(1).any())
    if report.tones:
        assert not any(report.tones.present)


@pytest.mark.parametrize(
    ("signal", "strides", "words"),
    [
        (torch.zeros(1, 0), [2], "is needed"),
        (torch.full((1, 99), math.nan), [2], "infinities or NaN"),
        (torch.zeros(1, 99), [1], r"strides are \[1\]"),
    ],
    ids=["empty", "nan", "strides"],
)
def test_impossible_ones_are_refused(signal, strides, words):
    with pytest.raises(UsageError, match=words):
        probe_recording(signal, RATE, strides)


def test_silent_windows_hold_what_is_left():
    """Silent in two of five seconds: a hum of known level and some noise there."""
    source = 0.1 * noise(5 * RATE)
    source[:, RATE : 2 * RATE] = source[:, 3 * RATE : 4 * RATE] = 0
    hum, hiss = tone(5 * RATE, 4, 0.01), 0.001 * noise(5 * RATE, 1)
    found = silent_windows(source, source + hum + hiss, RATE, [2000, 4000, 8000])
    assert (found.windows, found.silent) == (2, True)
    assert found.tones_db == pytest.approx(20 * math.log10(0.01 / math.sqrt(2)), abs=0.05)
    share = 0.5e-4 / (0.5e-4 + 1e-6)
    assert found.share_at_tones == pytest.approx(share, abs=0.01)
    assert found.rms_db == pytest.approx(10 * math.log10(0.5e-4 + 1e-6), abs=0.05)
    clean = silent_windows(source, source, RATE, [2000, 4000, 8000])
    assert (clean.rms_db, clean.tones_db, clean.share_at_tones) == (-400, -400, 0)


def test_noise_is_no_tone_there():
    source = torch.zeros(2, 4 * RATE).double()
    found = silent_windows(source, noise(4 * RATE), RATE, [4000.0])
    assert found.share_at_tones < 1e-3


def test_a_song_without_silence_has_a_score_too():
    source = noise(20 * RATE)
    source[:, 5 * RATE : 7 * RATE] *= 0.1
    found = silent_windows(source, source, RATE, [4000.0])
    assert (found.windows, found.silent) == (2, False)
    assert found.rms_db == pytest.approx(-20, abs=0.5)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="the same"):
        silent_windows(torch.zeros(2, 1000), torch.zeros(2, 999), RATE, [4000.0])
