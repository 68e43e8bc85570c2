"""Every registered upsampler passes the battery of ``tests/contracts.py``."""

import pytest
import torch

from asteroid_upsamplers import layers
from tests import contracts

families = pytest.mark.parametrize(
    "cls", [layers.get(n) for n in layers.available()], ids=lambda c: c.name
)


@families
@pytest.mark.parametrize("stride", contracts.STRIDES)
def test_length_is_exact(cls, stride):
    contracts.exact_length(cls, stride)


@families
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel_size", [None, 6, 7])
def test_gradients_are_exact(cls, stride, kernel_size):
    contracts.gradients_are_exact(cls, stride, kernel_size)


@families
@pytest.mark.parametrize("settings", [{}, {"kernel_size": 6}, {"bias": False}], ids=str)
def test_config_round_trip(cls, settings):
    contracts.config_round_trip(cls, **settings)


@families
def test_bias_is_optional(cls):
    contracts.bias_is_optional(cls)


@families
def test_is_linear(cls):
    contracts.is_linear(cls)


@families
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_precisions(cls, dtype):
    contracts.runs_in(cls, dtype)


@families
def test_compiles(cls):
    contracts.compiles(cls)


@families
@pytest.mark.parametrize("setting", contracts.IMPOSSIBLE, ids=str)
def test_impossible_settings_are_refused(cls, setting):
    contracts.refuses(cls, setting)


@families
@pytest.mark.parametrize("stride", [1, 2, 3, 4, 8])
def test_phase_sums_are_the_steady_response(cls, stride):
    contracts.phase_sums_are_the_steady_response(cls, stride)


@families
def test_wrong_input_is_refused(cls):
    contracts.refuses_wrong_input(cls)
