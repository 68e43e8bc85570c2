"""Which form runs, and that folding is not done twice in inference."""

import itertools
import pickle

import pytest
import torch

from asteroid_upsamplers import layers
from asteroid_upsamplers.dsp import InterpolatedConvolution

FORMED = [
    name for name in layers.available() if issubclass(layers.get(name), layers.PolyphaseUpsampler)
]


@pytest.fixture
def folds(monkeypatch):
    """How often weights were folded."""
    calls = []
    fold = InterpolatedConvolution.fold

    def counted(self, weight):
        calls.append(weight.shape)
        return fold(self, weight)

    monkeypatch.setattr(InterpolatedConvolution, "fold", counted)
    return calls


@pytest.mark.parametrize("name", FORMED)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_inference_folds_once(name, mode, folds):
    layer = layers.get(name)(3, 2, 4, form="folded").eval()
    x = torch.randn(1, 3, 80)
    with mode():
        first = layer(x)
        assert torch.equal(layer(x), first)
        layer(x[..., :70])
    assert len(folds) == 1


def test_frozen_layers_fold_once_while_others_learn(folds):
    layer = layers.Nearest(3, 2, 4, form="folded").requires_grad_(False)
    x = torch.randn(1, 3, 80, requires_grad=True)
    for _ in range(3):
        layer(x).sum().backward()
    assert len(folds) == 1
    assert x.grad.abs().sum() > 0


def test_training_folds_every_time(folds):
    layer = layers.Nearest(3, 2, 4, form="folded")
    for _ in range(3):
        layer(torch.randn(1, 3, 80))
    assert len(folds) == 3


def test_what_is_kept_is_not_pickled():
    layer = layers.Nearest(30, 20, 4, form="folded")
    size = len(pickle.dumps(layer))
    with torch.no_grad():
        layer(torch.randn(1, 30, 80))
    assert len(pickle.dumps(layer)) == size


SHAPES = list(itertools.product([8, 64, 512, 2048], [8, 64, 1024], [50, 500, 50_000]))


@pytest.mark.parametrize("name", ["nearest", "linear", "cubic", "transposed"])
def test_the_rule_takes_the_least_cost(name):
    for in_channels, out_channels, time in SHAPES:
        with torch.device("meta"):
            layer = layers.get(name)(in_channels, out_channels, 4)
            x = torch.empty(2, in_channels, time)
        costs = layer.costs(2 * time, "meta")
        assert layer.form_for(x) == min(costs, key=costs.get)


def test_long_signals_are_folded_and_wide_layers_commuted():
    assert layers.Nearest(64, 32, 4).form_for(torch.empty(2, 64, 50_000)) == "folded"
    for name in ("nearest", "linear", "transposed"):
        with torch.device("meta"):
            wide = layers.get(name)(2048, 1024, 4)
        costs = wide.costs(2 * 53, "cpu")
        assert min(costs, key=costs.get) == "commuted"


@pytest.mark.parametrize("form", ["plain", "folded", "commuted"])
def test_a_form_can_be_asked_for(form):
    layer = layers.Nearest(64, 32, 4, form=form)
    assert layer.form_for(torch.empty(2, 64, 50_000)) == form


@pytest.mark.parametrize(("name", "folds"), [("nearest", False), ("transposed", True)])
def test_sums_are_not_folded_in_half_precision(name, folds):
    """Folding rounds the sums of every phase for itself: a tone where none was."""
    layer = layers.get(name)(64, 32, 4)
    x = torch.randn(2, 64, 5000)
    assert layer.form_for(x) == "folded"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (layer.form_for(x) == "folded") == folds
    assert (layer.bfloat16().form_for(x.bfloat16()) == "folded") == folds


@pytest.mark.parametrize("name", ["nearest", "linear", "cubic", "sinc"])
def test_half_precision_makes_tones_when_folded_only(name):
    """The reason for the exception, in numbers: deviation within a period for ones."""
    ones = torch.ones(1, 64, 100, dtype=torch.bfloat16)
    deviation = {}
    for form in ("plain", "commuted", "folded"):
        torch.manual_seed(0)
        layer = layers.get(name)(64, 32, 4, bias=False, form=form).bfloat16()
        period = layer(ones)[0, :, 200:204].detach().float()
        deviation[form] = float(period.var(-1).mean().sqrt() / period.square().mean().sqrt())
    assert max(deviation["plain"], deviation["commuted"]) < deviation["folded"] / 3
    assert deviation["folded"] > 3e-4
