"""What is computed from impulse responses, against what the layer's own output shows."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from asteroid_upsamplers import layers
from asteroid_upsamplers.artifacts import (
    UpsamplingSystem,
    edge_effects,
    filtering,
    filtering_of_signal,
    noise_tones,
    replicas,
    stack_tones,
    system_of,
    tone_levels,
)


def drawn(name, stride, seed=0, channels=(3, 2), **settings):
    torch.manual_seed(seed)
    return layers.get(name)(*channels, stride, **settings).double()


def bare(name, stride):
    """The interpolation without a convolution."""
    layer = layers.get(name)(1, 1, stride, kernel_size=1, bias=False).double()
    nn.init.ones_(layer.weight)
    return layer


@torch.no_grad()
def heard(layer, x):
    """Output for ``(channels, time)``, as numpy."""
    return layer(x[None])[0].numpy()


@pytest.mark.parametrize(
    ("name", "stride", "settings"),
    [
        ("transposed", 2, {}),
        ("transposed", 3, {"kernel_size": 8, "trim": False}),
        ("subpixel", 4, {}),
        ("stretch", 3, {"bias": False}),
        ("haar", 8, {}),
    ],
)
def test_tones_of_ones(name, stride, settings):
    """Against a Fourier transform of twenty periods of the output."""
    layer = drawn(name, stride, **settings)
    y = heard(layer, torch.ones(3, 60).double())[:, 20 * stride : 40 * stride]
    tones = np.abs(np.fft.fft(y, axis=1)[:, 20 : 20 * (stride // 2) + 1 : 20] / y.shape[1]) ** 2
    power = (y**2).mean(1)
    found = tone_levels(layer)
    np.testing.assert_allclose(found.per_channel_db, 10 * np.log10(tones / power[:, None]))
    np.testing.assert_allclose(found.levels_db, 10 * np.log10(tones.sum(0) / power.sum()))
    assert found.tonal_fraction == pytest.approx(1 - (y.mean(1) ** 2).sum() / power.sum())


@pytest.mark.parametrize("name", ["nearest", "linear", "cubic", "sinc", "learned"])
def test_interpolation_has_no_tones(name):
    """[1] Sec. 3: none for a constant, whatever the weights."""
    found = tone_levels(drawn(name, 3))
    assert found.tonal_fraction < 1e-12
    assert all(level < -200 for level in found.levels_db)


@pytest.mark.parametrize(
    ("kernel", "stride", "levels", "share"),
    [(3, 2, [-9.54], 0.1), (8, 6, [-13.29, -18.06, -400], 1 / 9), (8, 4, [-400, -400], 0)],
)
def test_ones_with_partial_overlap(kernel, stride, levels, share):
    """Known in closed form, against the constant; full overlap has none."""
    layer = layers.Transposed(1, 1, stride, kernel, bias=False)
    nn.init.ones_(layer.weight)
    found = tone_levels(layer)
    constant = 10 * math.log10(1 - share)  # against the rms
    for level, known in zip(found.levels_db, levels, strict=True):
        assert level == pytest.approx(known + constant, abs=0.01) or level < known + 200 < 0
    assert found.tonal_fraction == pytest.approx(share, abs=1e-12)


def test_without_its_bias_a_layer_is_another():
    layer = drawn("subpixel", 4)
    twin = drawn("subpixel", 4, bias=False)
    twin.load_state_dict({"weight": layer.weight})
    without = tone_levels(layer, bias=False)
    assert max(without.differences(tone_levels(twin)).values()) < 1e-6
    assert max(without.differences(tone_levels(layer)).values()) > 1


def test_a_silent_layer_has_no_tones():
    layer = layers.Transposed(1, 2, 4, bias=False)
    nn.init.zeros_(layer.weight)
    assert tone_levels(layer).levels_db == [-400.0, -400.0]
    assert tone_levels(layer).tonal_fraction == 0


@pytest.mark.parametrize(
    ("name", "stride", "frequency"),
    [("transposed", 3, 0.1), ("subpixel", 4, 0.2), ("linear", 4, 0.1), ("sinc", 4, 0.46)],
)
def test_images_of_a_sinusoid(name, stride, frequency):
    """Least squares at the sinusoid's frequency and those of its images, in the output."""
    layer = drawn(name, stride, bias=False)
    time = torch.arange(400, dtype=torch.float64)
    y = heard(layer, torch.sin(2 * math.pi * frequency * time).expand(3, -1))
    found = replicas(layer, frequency)
    place = np.arange(y.shape[1])[100 * stride : 300 * stride]
    turns = 2 * np.pi * np.outer(place, [found.frequency, *found.image_frequencies])
    columns = np.hstack([np.cos(turns), np.sin(turns)])
    parts, *_ = np.linalg.lstsq(columns, y[:, place].T, rcond=None)
    power = (parts**2).reshape(2, -1, 2).sum((0, 2))
    wanted = [m + sign * frequency for m in range(1, stride) for sign in (-1, 1)]
    wanted = sorted(f / stride for f in wanted if f <= stride / 2)
    np.testing.assert_allclose(found.image_frequencies, wanted)
    levels = 10 * np.log10(power[1:] / power[0])
    assert levels.max() > -120  # there is something to compare
    np.testing.assert_allclose(found.levels_db, levels, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "levels"),
    [("nearest", [-18.4, -19.7, -22.1]), ("linear", [-39.1, -43.2, -66.2]), ("stretch", [0, 0, 0])],
)
def test_images_known_in_closed_form(name, levels):
    assert replicas(bare(name, 4)).levels_db == pytest.approx(levels, abs=0.1)


@pytest.mark.parametrize(
    ("name", "stride", "high_band"),
    [("nearest", 2, -6.54), ("nearest", 4, -10.38), ("linear", 4, -17.99), ("linear", 3, -14.62)],
)
def test_filtering_of_an_interpolation(name, stride, high_band):
    """[1] Sec. 3: a sinc; a squared sinc, for even strides times a cosine."""
    found = filtering(bare(name, stride))
    assert found.high_band_db == pytest.approx(high_band, abs=0.05)
    assert found.valley_frequencies[0] == pytest.approx(1 / stride, abs=2e-3)
    assert found.valleys_db[0] < -25
    f = np.array(found.frequencies)
    sinc = np.abs(np.sinc(stride * f) / np.sinc(f))  # of the rectangle
    triangle = sinc**2 * (np.cos(np.pi * f) if stride % 2 == 0 else 1)
    response = 20 * np.log10(np.maximum(sinc if name == "nearest" else triangle, 1e-9))
    difference = np.array(found.response_db)[response > -60] - response[response > -60]
    assert np.ptp(difference) < 1e-4


def test_filtering_adds_up_the_power_of_all_channels():
    """Against the spectra of one impulse a channel."""
    layer = drawn("transposed", 4, bias=False)
    spectra = 0
    for channel in range(3):
        x = torch.zeros(3, 32, dtype=torch.float64)
        x[channel, 16] = 1
        spectra += (np.abs(np.fft.rfft(heard(layer, x), 2048)) ** 2).sum(0)
    found = filtering(layer)
    assert np.ptp(np.array(found.response_db) - 10 * np.log10(spectra)) < 1e-6
    noise = torch.randn(3, 2**16, dtype=torch.float64)
    measured = filtering_of_signal(layer(noise[None])[0].detach(), 4)
    assert found.high_band_db == pytest.approx(measured.high_band_db, abs=0.2)
    assert found.top_db == pytest.approx(measured.top_db, abs=0.3)


def deviating(layer):
    """Samples of each end of the output for ones that are not the steady period's."""
    y = heard(layer, torch.ones(layer.in_channels, 200).double())
    stride = layer.stride[0] if isinstance(layer.stride, tuple) else layer.stride
    period = y[:, 100 * stride : 101 * stride]
    steady = np.tile(period, y.shape[1] // stride + 1)[:, : y.shape[1]]
    power = ((y - steady) ** 2).mean(0) / (period**2).mean()
    places = np.flatnonzero((np.abs(y - steady) > 1e-6 * np.sqrt((period**2).mean())).any(0))
    half = y.shape[1] // 2
    start = max(places[places < half] + 1, default=0)
    end = max(y.shape[1] - places[places >= half], default=0)
    levels = [power[:start].mean(), power[y.shape[1] - end :].mean()] if start and end else []
    return start, end, 10 * np.log10(levels)


@pytest.mark.parametrize(
    ("layer", "start", "end"),
    [
        (lambda: drawn("transposed", 4, trim=False), 4, 4),
        (lambda: drawn("transposed", 2, kernel_size=3, trim=False), 1, 1),
        (lambda: drawn("transposed", 3, kernel_size=3), 0, 0),
        (lambda: drawn("transposed", 3, kernel_size=8), 3, 2),
        (lambda: drawn("subpixel", 4), 4, 4),
        (lambda: drawn("nearest", 4), 4, 4),
        (lambda: drawn("linear", 4, padding_mode="replicate"), 0, 0),
        (lambda: nn.ConvTranspose1d(3, 2, 8, 4, dilation=2).double(), 11, 11),
    ],
)
def test_edge_effects(layer, start, end):
    layer = layer()
    found, (counted_start, counted_end, levels) = edge_effects(layer), deviating(layer)
    assert (found.start, found.end) == (counted_start, counted_end) == (start, end)
    if start and end:
        np.testing.assert_allclose([found.start_db, found.end_db], levels, atol=1e-6)


@pytest.mark.parametrize("name", ["transposed", "subpixel", "nearest", "learned"])
def test_tones_that_a_relu_makes_of_noise(name):
    layer = drawn(name, 4)
    y = heard(layer, torch.randn(3, 2**18).double() / 2).clip(min=0)
    means = y[:, 400:-400].reshape(2, -1, 4).mean(1)
    found = noise_tones(layer, deviation=0.5)
    np.testing.assert_allclose(found.phase_means, means, atol=4e-3)
    if name == "nearest":  # none of a constant, tones of noise
        assert tone_levels(layer).tonal_fraction < 1e-20 < 1e-5 < found.tonal_fraction


@pytest.mark.parametrize(
    ("stack", "activation"),
    [
        ([("transposed", 2, 4)] * 3, None),
        ([("transposed", 2, 4), ("subpixel", 4, 3)], torch.relu),
    ],
)
def test_a_stack_has_tones_and_their_replicas(stack, activation):
    """[1] Figs. 7 and 8, Sec. 5: tones, biases and ReLUs come again at multiples of the rate."""
    torch.manual_seed(0)
    stack = [layers.get(name)(2, 2, stride, k).double() for name, stride, k in stack]
    x = torch.ones(2, 400).double()
    for index, layer in enumerate(stack):
        x = torch.from_numpy(heard(layer, activation(x) if index and activation else x))
    y = x[:, 1600:1608].numpy()
    lines = (np.abs(np.fft.fft(y)[:, 1:5]) ** 2).sum(0) / 64
    found = stack_tones(stack, 4000, activation)
    assert [result.sample_rate for result in found][-1] == 32000
    assert found[-1].frequencies_hz == [4000, 8000, 12000, 16000]
    np.testing.assert_allclose(found[-1].levels_db, 10 * np.log10(lines / (y**2).mean(1).sum()))
    own = [False, False, False, True] if len(stack) == 3 else [False, True, False, True]
    assert found[-1].own == own


def test_the_system_of_torchs_transposed_convolution():
    """With groups and dilation: one impulse a channel, far from the ends."""
    module = nn.ConvTranspose1d(4, 6, 5, 3, groups=2, dilation=2).double()
    system = system_of(module)
    assert (system.in_channels, system.out_channels, system.groups) == (4, 6, 2)
    silence = heard(module, torch.zeros(4, 20).double())
    np.testing.assert_array_equal(system.offsets, np.repeat(silence[:, 30:31], 3, 1))
    for channel in range(4):
        x = torch.zeros(4, 20).double()
        x[channel, 10] = 1
        y = (heard(module, x) - silence)[:, 30:39]
        block = slice(channel // 2 * 3, channel // 2 * 3 + 3)
        np.testing.assert_allclose(y[block], system.responses[block, channel % 2], atol=1e-12)
        assert not np.delete(y, np.r_[block], 0).any()


MEASUREMENTS = [tone_levels, filtering, replicas, noise_tones]


@pytest.mark.parametrize("measure", MEASUREMENTS, ids=lambda measure: measure.__name__)
def test_layers_modules_and_numbers_are_measured_alike(measure):
    layer, module = drawn("transposed", 4, trim=False), nn.ConvTranspose1d(3, 2, 8, 4).double()
    module.load_state_dict(layer.state_dict())
    taps, bias = layer.weight.detach().transpose(0, 1), layer.bias.detach()
    numbers = UpsamplingSystem(taps, 4, bias[:, None].expand(2, 4))
    for other in (module, numbers):
        assert max(measure(layer).differences(measure(other)).values()) < 1e-6


def test_what_cannot_be_measured_is_refused():
    for measure in (*MEASUREMENTS, edge_effects):
        with pytest.raises(TypeError, match="Conv1d is no upsampling layer"):
            measure(nn.Conv1d(1, 1, 3))
    with pytest.raises(TypeError, match="edge effects"):
        edge_effects(system_of(drawn("nearest", 2)))
    with pytest.raises(ValueError, match="not 0.7"):
        replicas(drawn("nearest", 2), 0.7)


def test_results_compare_print_and_serialise():
    first, other = (tone_levels(drawn("transposed", 4, seed)) for seed in (0, 1))
    differences = first.differences(other)
    assert set(differences) == {"levels_db", "per_channel_db", "tonal_fraction"}
    gap = abs(first.tonal_fraction - other.tonal_fraction)
    assert differences["tonal_fraction"] == pytest.approx(gap)
    assert set(first.differences(first).values()) == {0.0}
    assert f"tonal fraction: {first.tonal_fraction:.4g}" in str(first)
    assert first.to_dict()["levels_db"] == first.levels_db
    with pytest.raises(ValueError, match="cannot compare"):
        first.differences(replicas(drawn("transposed", 4)))
