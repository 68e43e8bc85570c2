"""Every registered upsampler passes the battery of ``tests/contracts.py``."""

import pytest
import torch

from asteroid_upsamplers import layers
from tests import contracts

members = pytest.mark.parametrize(("cls", "options"), contracts.members())
names = pytest.mark.parametrize(
    "cls", [layers.get(n) for n in layers.available()], ids=lambda c: c.name
)
LAWS = [
    contracts.exact_length,
    contracts.gradients_are_exact,
    contracts.config_round_trip,
    contracts.bias_is_optional,
    contracts.is_linear,
    contracts.precision_survives_casts,
    contracts.runs_under_autocast,
    contracts.takes_any_input,
    contracts.traces,
    contracts.compiles,
    contracts.forgets_stale_weights,
    contracts.phase_sums_are_the_steady_response,
    contracts.impulse_responses_are_what_comes_out,
    contracts.borders_are_where_they_are_heard,
]


@members
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law(law, cls, options):
    law(cls, options)


@members
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_precisions(cls, options, dtype):
    contracts.runs_in(cls, options, dtype)


FORMS = [
    case
    for case in contracts.members()
    if issubclass(case.values[0], layers.PolyphaseUpsampler)
    and case.values[1].get("form") != "plain"
]


@pytest.mark.parametrize(("cls", "options"), FORMS)
@pytest.mark.parametrize("stride", [1, 2, 3, 4, 5, 8, 16])
def test_every_form_is_the_plain_one(cls, options, stride):
    contracts.form_is_plain(cls, stride, options)


@names
@pytest.mark.parametrize("setting", contracts.IMPOSSIBLE, ids=str)
def test_impossible_settings_are_refused(cls, setting):
    contracts.refuses(cls, setting)


@pytest.mark.parametrize(("name", "setting"), contracts.IMPOSSIBLE_OPTIONS, ids=str)
def test_impossible_options_are_refused(name, setting):
    contracts.refuses(layers.get(name), setting)


@names
def test_wrong_input_is_refused(cls):
    contracts.refuses_wrong_input(cls)


@names
def test_artifacts_are_stated(cls):
    contracts.states_its_artifacts(cls)


@names
def test_constructs_without_memory(cls):
    with torch.device("meta"):
        layer = cls(2000, 1000, 4)
        y = layer(torch.empty(2, 2000, 100))
    assert layer.weight.is_meta
    assert y.shape == (2, 1000, 400)
    assert sum(p.numel() for p in layer.parameters()) >= 2_000_000
