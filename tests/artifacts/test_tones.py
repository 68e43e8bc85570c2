"""Tone levels against the output that the layer gives, and against the paper's claims."""

import numpy as np
import pytest
import torch

from asteroid_upsamplers import layers
from asteroid_upsamplers.artifacts import tone_levels


def measured(layer):
    """Levels in dB and tonal fraction of the steady output for ones, by Fourier transform."""
    s = layer.stride
    x = torch.ones(1, layer.in_channels, 60, dtype=torch.float64)
    y = layer.double()(x)[0, :, 20 * s : 40 * s].detach().numpy()
    spectrum = np.fft.fft(y, axis=1) / y.shape[1]
    rms = np.sqrt((y**2).mean(1))
    levels = 20 * np.log10(np.abs(spectrum[:, 20 : 20 * (s // 2) + 1 : 20]) / rms[:, None])
    power = (y**2).mean(1).sum()
    return levels, (power - (y.mean(1) ** 2).sum()) / power


@pytest.mark.parametrize("name", ["transposed", "subpixel"])
@pytest.mark.parametrize("stride", [2, 3, 4, 8])
@pytest.mark.parametrize("bias", [True, False])
def test_closed_form_is_what_is_measured(name, stride, bias):
    torch.manual_seed(0)
    layer = layers.get(name)(4, 5, stride, bias=bias)
    result = tone_levels(layer)
    levels, fraction = measured(layer)
    np.testing.assert_allclose(result.per_channel_db, levels, atol=1e-3)
    assert result.tonal_fraction == pytest.approx(fraction, abs=1e-6)
    assert max(result.levels_db) == pytest.approx(levels.max(), abs=1e-3)


def test_without_its_bias_a_layer_is_another():
    torch.manual_seed(0)
    layer = layers.Subpixel(4, 5, 4)
    twin = layers.Subpixel(4, 5, 4, bias=False)
    twin.load_state_dict({"weight": layer.weight})
    without, expected = tone_levels(layer, bias=False), tone_levels(twin)
    np.testing.assert_allclose(without.per_channel_db, expected.per_channel_db, atol=1e-3)
    assert without.tonal_fraction == pytest.approx(expected.tonal_fraction, abs=1e-6)
    assert abs(tone_levels(layer).tonal_fraction - expected.tonal_fraction) > 1e-3


@pytest.mark.parametrize("name", ["nearest", "linear"])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_interpolation_has_none(name, stride):
    result = tone_levels(layers.get(name)(4, 5, stride))
    assert result.tonal_fraction < 1e-12
    assert all(level < -250 for level in result.levels_db)


@pytest.mark.parametrize(("kernel", "stride", "level"), [(3, 2, -9.54), (8, 6, -13.29)])
def test_ones_with_partial_overlap(kernel, stride, level):
    """Known exactly: 3/2 is 9.54 dB below the constant, 8/6 13.29 and 18.06 dB."""
    layer = layers.Transposed(1, 1, stride, kernel, bias=False)
    torch.nn.init.ones_(layer.weight)
    sums = layer.phase_sums()[0].detach().double()
    to_dc = 20 * torch.log10(sums.mean() / sums.square().mean().sqrt())
    result = tone_levels(layer)
    assert result.levels_db[0] - to_dc.item() == pytest.approx(level, abs=0.01)
    if stride == 6:
        assert result.levels_db[1] - to_dc.item() == pytest.approx(-18.06, abs=0.01)
        assert result.levels_db[2] < -250
        assert result.tonal_fraction == pytest.approx(0.111, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "stride"), [("transposed", 2), ("transposed", 4), ("subpixel", 4)]
)
def test_random_weights_ring_as_theory_says(name, stride):
    """Pooled over many channels the tonal fraction of random weights is near 1 - 1 / stride."""
    torch.manual_seed(0)
    layer = layers.get(name)(16, 64, stride, bias=False)
    assert tone_levels(layer).tonal_fraction == pytest.approx(1 - 1 / stride, abs=0.2)


def test_a_silent_layer_has_no_tones():
    layer = layers.Transposed(1, 2, 4, bias=False)
    torch.nn.init.zeros_(layer.weight)
    assert tone_levels(layer).tonal_fraction == 0
    assert tone_levels(layer).levels_db == [-400.0, -400.0]
