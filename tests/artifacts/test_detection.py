"""False alarms and misses of the detectors, on white noise, music, and noise of many colours."""

import math

import numpy as np
import pytest
import torch
from scipy import signal as scipy_signal

from asteroid_upsamplers.artifacts import (
    detect_tones,
    detectable_level,
    narrowness,
    prominence,
    prominence_threshold,
)
from asteroid_upsamplers.data.demo_songs import render_song

RATE = 16000


def noise(time, seed):
    return torch.randn(time, generator=torch.Generator().manual_seed(seed))


def test_prominence_of_a_known_line():
    """A line of amplitude a over white noise: 10 log10(1 + a^2 n_fft / 6 ...), Hann windows."""
    n_fft, amplitude = 4096, 0.1
    time = torch.arange(2**19)
    line = amplitude * torch.sin(2 * math.pi * time / 4 + 0.3)
    found = prominence(noise(2**19, 0) + line, RATE, [RATE / 4, RATE / 2], n_fft)
    expected = 10 * math.log10(1 + amplitude**2 / 4 * n_fft / 1.5)
    assert found[0] == pytest.approx(expected, abs=0.5)
    assert abs(found[1]) < 2
    narrow = narrowness(noise(2**19, 0) + line, RATE, [RATE / 4, RATE / 2], n_fft)
    assert narrow[0] == pytest.approx(found[0], abs=0.5)


def test_a_line_is_narrower_than_a_hill_an_edge_or_a_slope_of_the_spectrum():
    """Noise through an interpolation, its images and its band's edge; and with a line on top."""
    n_fft, frames = 8192, noise(2**11, 0)[None, None]
    linear = torch.nn.functional.interpolate(frames, scale_factor=256, mode="linear")[0]
    edge = torch.from_numpy(scipy_signal.firwin(8191, 0.25)).float()
    low = torch.nn.functional.conv1d(noise(2**18, 1)[None, None], edge[None, None])[0]
    slope = noise(2**18, 2).cumsum(0)[None]
    for signal, place in ((linear, 10.5 / 256), (low, 0.125), (slope, 16 / n_fft)):
        assert narrowness(signal, 1.0, [place], n_fft) < 3
        time = torch.arange(signal.shape[1])
        line = signal.std() * torch.cos(2 * math.pi * place * time)
        assert narrowness(signal + line, 1.0, [place], n_fft) > 10
    assert prominence(linear, 1.0, [10.5 / 256], n_fft) > 5
    assert prominence(low, 1.0, [0.125], n_fft) > 10


def test_noise_exceeds_the_threshold_as_often_as_stated():
    """At half the sample rate the bin is real: the threshold of the others would be too low."""
    false_alarm, n_fft, time = 0.02, 512, 512 * 20
    places = [k * RATE / n_fft for k in (40, 100, 160, 256)]
    levels = torch.stack([prominence(noise(time, s), RATE, places, n_fft) for s in range(1500)])
    others, real = levels[:, :3], levels[:, 3]
    limit = prominence_threshold(time, n_fft, 1, false_alarm)
    higher = prominence_threshold(time, n_fft, 1, false_alarm, at_half_rate=True)
    assert false_alarm / 2 < (others > limit).double().mean() < 2 * false_alarm
    assert false_alarm / 2 < (real > higher).double().mean() < 2 * false_alarm
    assert (real > limit).double().mean() > 2 * false_alarm


@pytest.mark.parametrize(
    ("seconds", "tones", "level"), [(3, 1, 3.2), (12, 1, 1.7), (24, 1, 1.2), (6, 8, 2.7)]
)
def test_thresholds_that_were_measured_elsewhere(seconds, tones, level):
    """At 44.1 kHz, n_fft 16384, one false alarm in a thousand signals."""
    assert prominence_threshold(seconds * 44100, tones=tones) == pytest.approx(level, abs=0.2)


def test_silence_has_no_tones():
    assert prominence(torch.zeros(2**15), RATE, [4000.0]).tolist() == [0.0]
    assert detect_tones(torch.zeros(2**12), RATE, [4000.0, 8000.0]).levels_db == [-400.0, -400.0]


def test_impossible_questions_are_refused():
    for detector in (prominence, detect_tones):
        for frequency, words in ((0.0, "above 0"), (RATE, "half the sample rate"), (-5.0, "above")):
            with pytest.raises(ValueError, match=words):
                detector(noise(2**15, 0), RATE, [frequency])
    with pytest.raises(ValueError, match="n_fft=16384"):
        prominence(noise(100, 0), RATE, [4000.0])
    with pytest.raises(ValueError, match="at least 64"):
        detect_tones(noise(63, 0), RATE, [4000.0])


def false_alarms(signals, false_alarm, count=10):
    """Share of frequencies found in signals without tones; ``count`` frequencies a signal."""
    rng = np.random.default_rng(0)
    found = []
    for signal in signals:
        places = (rng.uniform(0.02, 0.5, count) * RATE).tolist()
        found += detect_tones(signal, RATE, places, false_alarm).present
    return sum(found) / len(found)


@pytest.mark.slow
def test_false_alarms_in_white_noise():
    share = false_alarms((noise(4096, seed) for seed in range(2000)), 1e-3)
    assert 0.5e-3 < share < 2e-3


@pytest.mark.slow
def test_false_alarms_in_music():
    """Demo songs without any added tone, a second at a time."""

    def excerpts():
        for seed in range(50):
            song = sum(render_song(seed, seconds=21, sample_rate=RATE).values()).mean(1)
            for second in range(20):
                yield torch.from_numpy(song[second * RATE : (second + 1) * RATE].copy())

    assert 0.5e-3 < false_alarms(excerpts(), 1e-3, 20) < 2e-3


def test_level_and_colour_do_not_matter():
    """Steep noise, and noise that comes and goes."""
    slope = scipy_signal.butter(2, 0.01, output="sos")
    fade = np.linspace(1, 0.01, 4096)

    def coloured():
        for seed in range(300):
            white = noise(4096, seed).numpy()
            yield torch.from_numpy(scipy_signal.sosfilt(slope, white)[1000:].copy())
            yield torch.from_numpy(1e-4 * white * fade)

    assert 0.5e-2 < false_alarms(coloured(), 1e-2) < 2e-2


def test_a_tone_of_the_stated_level_is_found():
    """As often as stated, 99 %, at the level that :func:`detectable_level` states."""
    time, frequency = 4096, 3210.0
    level = detectable_level(time / RATE, 1e-3, 0.99)
    floor = 2 / RATE  # of white noise of variance 1, in one Hz
    amplitude = math.sqrt(2 * floor * 10 ** (level / 10))
    phases = np.random.default_rng(0).uniform(0, 2 * math.pi, 500)
    steps = torch.arange(time) * 2 * math.pi * frequency / RATE
    results = [
        detect_tones(noise(time, seed) + amplitude * torch.sin(steps + phase), RATE, [frequency])
        for seed, phase in enumerate(phases)
    ]
    assert 0.975 < np.mean([result.present for result in results]) < 1
    heights = [result.over_floor_db for result in results]
    assert np.median(heights) == pytest.approx(level, abs=1)


def test_half_the_sample_rate():
    """Where a tone is real: alternating samples."""
    alternating = 0.3 * (-1.0) ** torch.arange(4096)
    found = detect_tones(noise(4096, 0) + alternating, RATE, [RATE / 2])
    assert found.present == [True]
    assert found.levels_db[0] == pytest.approx(-10.5, abs=1)
    signals = (noise(1024, seed) for seed in range(2000))
    alarms = [detect_tones(signal, RATE, [RATE / 2], 1e-2).present[0] for signal in signals]
    assert 0.5e-2 < np.mean(alarms) < 2e-2


def test_the_surest_channel_counts_and_costs():
    """Two channels have twice the chance of a false alarm: the p-value says so."""
    quiet, loud = noise(4096, 0), noise(4096, 1)
    loud = loud + torch.sin(torch.arange(4096) * math.pi / 2)
    both = detect_tones(torch.stack([quiet, loud]), RATE, [RATE / 4])
    alone = detect_tones(loud, RATE, [RATE / 4])
    assert both.present == [True] and both.levels_db == pytest.approx(alone.levels_db)
    faint = torch.sin(torch.arange(4096) * math.pi / 2) * 1e-6
    with_faint = detect_tones(torch.stack([faint, loud]), RATE, [RATE / 4])
    assert with_faint.levels_db == pytest.approx(alone.levels_db)  # though the faint one is surer
    assert alone.p_values[0] > 0
    assert both.p_values[0] == pytest.approx(2 * alone.p_values[0], rel=1e-3, abs=0)
