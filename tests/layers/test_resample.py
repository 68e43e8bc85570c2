"""The side path of ``resample``."""

import numpy as np
import torch

from asteroid_upsamplers import artifacts, layers


def test_the_side_path_lets_images_through_only():
    """And no tones, which it would make as any transposed convolution does ([1] Sec. 2)."""
    torch.manual_seed(0)
    layer = layers.Resample(3, 2, stride=4, side_kernel_size=7).double()
    without = artifacts.system_of(layer).trimmed()
    torch.nn.init.uniform_(layer.side_weight, -1, 1)
    assert artifacts.tone_levels(layer, bias=False).tonal_fraction < 1e-12
    torch.nn.init.zeros_(layer.weight)
    spectrum = np.abs(np.fft.rfft(artifacts.system_of(layer).responses.numpy(), 4096))
    passed, images = spectrum[..., : int(0.7 * 512)], spectrum[..., 512:]
    assert passed.max() < 5e-3 * images.max()
    torch.nn.init.zeros_(layer.side_weight)
    assert not artifacts.system_of(layer).responses.any() and without.responses.any()


def test_a_convolution_of_length_1_is_done_first():
    """The plain form, which interpolates first, is its oracle."""
    layer = layers.Resample(3, 2, stride=3).double()
    plain = layers.Resample(**{**layer.get_config(), "form": "plain"}).double()
    plain.load_state_dict(layer.state_dict())
    for time in (1, 2, 40):
        x = torch.randn(2, 3, time).double()
        torch.testing.assert_close(layer(x), plain(x))
