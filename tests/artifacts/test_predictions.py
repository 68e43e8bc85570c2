"""Closed forms from the weights against what comes out, for every registered layer."""

import math

import numpy as np
import pytest
import torch

from asteroid_upsamplers import layers
from asteroid_upsamplers.artifacts import (
    filtering,
    measure_filtering,
    measure_noise_tones,
    measure_replicas,
    measure_tone_levels,
    noise_tones,
    replicas,
    stack_tones,
    tone_levels,
)

SEEDS = range(20)
NAMES = pytest.mark.parametrize("name", layers.available())
STRIDES = pytest.mark.parametrize("stride", [2, 4])


def drawn(name, stride, seed, channels=(3, 2)):
    torch.manual_seed(seed)
    return layers.get(name)(*channels, stride).double()


@NAMES
@STRIDES
def test_tones_of_ones(name, stride):
    for seed in SEEDS:
        layer = drawn(name, stride, seed)
        predicted, measured = tone_levels(layer), measure_tone_levels(layer, 3, stride)
        assert predicted.tonal_fraction == pytest.approx(measured.tonal_fraction, abs=1e-6)
        loud = [
            (p, m) for p, m in zip(predicted.levels_db, measured.levels_db, strict=True) if p > -200
        ]
        assert all(p == pytest.approx(m, abs=1e-6) for p, m in loud)
        assert all(level < -200 for level in measured.levels_db) == (not loud)


@NAMES
@STRIDES
def test_images_of_a_sinusoid(name, stride):
    for seed in SEEDS:
        layer = drawn(name, stride, seed)
        predicted, measured = replicas(layer), measure_replicas(layer, 3, stride)
        pairs = zip(predicted.levels_db, measured.levels_db, strict=True)
        assert all(p == pytest.approx(m, abs=1e-3) for p, m in pairs if p > -90)


@NAMES
@STRIDES
def test_response_to_white_noise(name, stride):
    """One draw of noise a seed: the mean over the seeds is what the closed form says."""
    time = 2**18 if name == "sinc" else 2**16  # all of its high band is in a few bins
    differences = []
    for seed in SEEDS:
        layer = drawn(name, stride, seed)
        predicted = filtering(layer)
        measured = measure_filtering(layer, 3, stride, time=time, seed=seed)
        differences.append([predicted.high_band_db - measured.high_band_db])
        if name != "sinc":  # whose top is below what a Hann window shows
            differences[-1].append(predicted.top_db - measured.top_db)
    assert np.abs(np.mean(differences, axis=0)).max() < 0.1


@NAMES
def test_tones_that_a_relu_makes_of_noise(name):
    for seed in range(3):
        layer = drawn(name, 4, seed)
        predicted = noise_tones(layer)
        measured = measure_noise_tones(layer, 3, 4, time=2**18, seed=seed)
        pairs = zip(predicted.phase_means, measured.phase_means, strict=True)
        for mine, heard in pairs:  # up to a rotation of the period
            np.testing.assert_allclose(sorted(mine), sorted(heard), atol=5e-3)
        assert predicted.tonal_fraction == pytest.approx(measured.tonal_fraction, abs=5e-3)


def test_no_tones_is_for_constants():
    """Nearest neighbours, a convolution and a ReLU: none of a constant, tones of noise."""
    layer = drawn("nearest", 2, 0, channels=(1, 1))
    assert tone_levels(layer).tonal_fraction < 1e-20
    assert noise_tones(layer).tonal_fraction > 1e-4
    without_bias = layers.Nearest(1, 1, 2, bias=False).double()
    squares = without_bias.impulse_responses().detach().square()[0, 0]  # of the taps, by phase
    means = np.array(noise_tones(without_bias).phase_means[0])
    padded = torch.nn.functional.pad(squares, (0, -len(squares) % 2)).reshape(-1, 2).sum(0).sqrt()
    np.testing.assert_allclose(means, padded / math.sqrt(2 * math.pi), rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "stride", "high_band"),
    [("nearest", 2, -6.54), ("nearest", 4, -10.38), ("linear", 2, -14.65), ("linear", 4, -17.99)],
)
def test_interpolation_without_a_convolution(name, stride, high_band):
    layer = layers.get(name)(1, 1, stride, kernel_size=1, bias=False)
    torch.nn.init.ones_(layer.weight)
    found = filtering(layer)
    assert found.high_band_db == pytest.approx(high_band, abs=0.05)
    assert found.valley_frequencies[0] == pytest.approx(1 / stride, abs=2e-3)
    assert found.valleys_db[0] < -25
    f = np.array(found.frequencies)
    sinc = np.abs(np.sinc(stride * f) / np.sinc(f))  # of the rectangle
    triangle = sinc**2 * (np.cos(np.pi * f) if stride % 2 == 0 else 1)
    response = 20 * np.log10(np.maximum(sinc if name == "nearest" else triangle, 1e-9))
    heard = response > -60
    difference = np.array(found.response_db)[heard] - response[heard]
    assert np.ptp(difference) < 1e-6


def test_linear_loses_more_at_the_top_than_nearest():
    for seed in SEEDS:
        nearest, linear = drawn("nearest", 4, seed), drawn("linear", 4, seed)
        linear.load_state_dict(nearest.state_dict())
        assert filtering(linear).high_band_db < filtering(nearest).high_band_db
        assert filtering(linear).top_db < filtering(nearest).top_db


@pytest.mark.parametrize(
    ("name", "levels"),
    [("nearest", [-18.4, -19.7, -22.1]), ("linear", [-39.1, -43.2, -66.2]), ("stretch", [0, 0, 0])],
)
def test_images_known_in_closed_form(name, levels):
    layer = layers.get(name)(1, 1, 4, kernel_size=1, bias=False).double()
    assert replicas(layer).levels_db[:3] == pytest.approx(levels, abs=0.1)


def test_a_stack_has_tones_and_their_replicas():
    """[1] Figs. 7 and 8: 4, 8 and 16 kHz are own, the others replicas."""
    torch.manual_seed(0)
    stack = [layers.Transposed(1, 1, 2, 4).double() for _ in range(3)]
    found = stack_tones(stack, 4000)
    assert [result.sample_rate for result in found] == [8000, 16000, 32000]
    assert found[2].frequencies_hz == [4000, 8000, 12000, 16000]
    assert found[1].own == [False, True]
    assert found[2].own == [False, False, False, True]
    x = torch.ones(1, 1, 400, dtype=torch.float64)
    for layer in stack:
        x = layer(x)
    middle = x[0, 0, 1600:1608].detach().numpy()
    lines = np.abs(np.fft.fft(middle)[1:5]) / 8
    levels = 20 * np.log10(lines / np.sqrt(np.mean(middle**2)))
    np.testing.assert_allclose(found[2].levels_db, levels, atol=1e-6)


def test_offsets_between_layers_are_exact_too():
    """[1] Sec. 5: biases and ReLUs are replicated at multiples of the rate."""
    torch.manual_seed(1)
    stack = [layers.Transposed(2, 2, 2).double(), layers.Subpixel(2, 2, 4).double()]
    x = torch.ones(1, 2, 300, dtype=torch.float64)
    y = stack[1](stack[0](x).relu())[0, :, 1200:1208].detach()
    lines = torch.fft.fft(y)[:, 1:5].abs().square().sum(0) / 64
    levels = 10 * torch.log10(lines / y.square().mean(1).sum())
    found = stack_tones(stack, 1000, torch.relu)[1].levels_db
    torch.testing.assert_close(torch.tensor(found).double(), levels, atol=1e-6, rtol=0)


def test_results_compare_print_and_serialise():
    predicted = tone_levels(drawn("transposed", 4, 0))
    other = tone_levels(drawn("transposed", 4, 1))
    assert set(predicted.differences(other)) == {"levels_db", "per_channel_db", "tonal_fraction"}
    assert predicted.differences(other)["tonal_fraction"] > 0
    assert predicted.differences(predicted) == dict.fromkeys(predicted.differences(other), 0.0)
    assert "tonal fraction: 0." in str(predicted)
    assert predicted.to_dict()["levels_db"] == predicted.levels_db
    with pytest.raises(ValueError, match="cannot compare"):
        predicted.differences(replicas(drawn("transposed", 4, 0)))


def test_what_is_no_layer_is_refused():
    with pytest.raises(TypeError, match=r"Conv1d is no upsampling layer"):
        filtering(torch.nn.Conv1d(1, 1, 3))
    with pytest.raises(ValueError, match="frequency is 0.7"):
        replicas(drawn("nearest", 2, 0), 0.7)
