"""Fixed kernels against julius and numpy, and against their own laws.

``tests/layers/test_families.py`` compares them with torch's interpolation as well.
"""

import julius
import numpy as np
import pytest
import torch

from asteroid_upsamplers.dsp import (
    cubic_kernel,
    interpolate,
    linear_kernel,
    nearest_kernel,
    sinc_kernel,
)

strides = pytest.mark.parametrize("stride", [1, 3, 4, 16])
INTERPOLATORS = {
    "nearest": nearest_kernel,
    "linear": linear_kernel,
    "cubic": cubic_kernel,
    "keys": lambda stride: cubic_kernel(stride, -0.5),
    "sinc": sinc_kernel,
    "short sinc": lambda stride: sinc_kernel(stride, zeros=3, rolloff=0.7),
}


@strides
@pytest.mark.parametrize("name", INTERPOLATORS)
def test_a_constant_stays_one(name, stride):
    """Every branch adds up to one: no phase is louder than another."""
    kernel = INTERPOLATORS[name](stride)
    torch.testing.assert_close(kernel.branches.sum(1), torch.ones(stride, dtype=torch.float64))
    ones = torch.ones(1, 1, 80)
    assert (interpolate(ones, kernel)[..., 40 * stride : 41 * stride] - 1).abs().max() < 1e-6


@strides
def test_keys_coefficient_interpolates_parabolas(stride):
    places = (torch.arange(20 * stride, dtype=torch.float64) + 0.5) / stride - 0.5
    parabola = torch.arange(20, dtype=torch.float64).square()
    y = interpolate(parabola[None, None], cubic_kernel(stride, -0.5))[0, 0]
    inside = slice(3 * stride, -3 * stride)
    torch.testing.assert_close(y[inside], places.square()[inside])


@strides
@pytest.mark.parametrize("settings", [{}, {"zeros": 6, "rolloff": 0.8}], ids=str)
def test_sinc_is_julius(stride, settings):
    x = torch.randn(2, 3, 60)
    expected = julius.resample_frac(x, 1, stride, **settings)
    y = interpolate(x, sinc_kernel(stride, **settings))
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("border", "mode"), [("replicate", "edge"), ("reflect", "reflect")])
def test_borders_are_numpys(border, mode):
    row = np.random.default_rng(0).standard_normal(12)
    kernel = cubic_kernel(4, border=border)
    around = np.pad(row, 8, mode)
    y = interpolate(torch.from_numpy(around)[None, None], kernel)[0, 0, 32:-32]
    torch.testing.assert_close(interpolate(torch.from_numpy(row)[None, None], kernel)[0, 0], y)


def test_half_precision_makes_no_tone():
    """Rounded branches would not add up to the same; the sums are formed in float32."""
    levels = torch.linspace(1, 2, 129)[:-1].bfloat16()[:, None, None].expand(-1, 1, 80)
    for name, make in INTERPOLATORS.items():
        y = interpolate(levels, make(8))
        assert y.dtype == torch.bfloat16
        assert torch.equal(y[..., 280:320], levels[..., :40]), name
