"""All forms of a layer are the plain one; which of them runs where it is left to the layer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asteroid_upsamplers import layers
from asteroid_upsamplers.dsp.channels_last import channels_last

FORMED = [
    name for name in layers.available() if issubclass(layers.get(name), layers.PolyphaseUpsampler)
]


@pytest.mark.parametrize("name", FORMED)
@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 8),
    st.integers(0, 10),
    st.sampled_from(["zeros", "replicate", "reflect"]),
    st.integers(0, 9),
)
def test_every_form_is_the_plain_one(name, stride, more_taps, padding_mode, more_time):
    """Every output sample, and the gradients of input, weight and bias."""
    further = {} if name == "transposed" else {"padding_mode": padding_mode}
    layer = layers.get(name)(2, 3, stride, stride + more_taps, **further).double()
    x = torch.randn(2, 2, layer.convolution.least_time + more_time, dtype=torch.float64)
    weights, results = torch.randn_like(layer(x)), {}
    for form in ("plain", "folded", "commuted", "channels_last"):
        layer.form_for = lambda x, form=form: form
        z = x.clone().requires_grad_()
        y = layer(channels_last(z) if form == "channels_last" else z)
        inputs = [z, *layer.parameters()]
        results[form] = [y, *torch.autograd.grad((y * weights).sum(), inputs)]
    for form in ("folded", "commuted", "channels_last"):
        torch.testing.assert_close(results[form], results["plain"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", ["plain", "folded", "commuted"])
def test_a_form_can_be_asked_for(form):
    layer = layers.Linear(64, 32, 4, form=form)
    assert layer.form_for(torch.empty(2, 64, 50_000)) == form
    assert layer.form_for(torch.empty(2, 64, 1)) == "plain"  # too short for any other


@pytest.mark.parametrize("name", ["nearest", "linear", "transposed"])
def test_a_cpu_folds_long_signals_and_commutes_wide_layers(name):
    assert layers.get(name)(64, 32, 4).form_for(torch.empty(2, 64, 50_000)) == "folded"
    with torch.device("meta"):
        wide = layers.get(name)(2048, 1024, 4)
    costs = wide.costs(2 * 53)
    assert min(costs, key=costs.get) == "commuted"


def deviation(layer, ones):
    """Within a period of the output for ones, against its size."""
    period = layer(ones)[0, :, 50 * layer.stride : 51 * layer.stride].detach().float()
    return float(period.std(-1).max() / period.square().mean().sqrt())


@pytest.mark.parametrize("name", ["nearest", "linear", "cubic"])
def test_half_precision_makes_no_tones_unless_folding_is_asked_for(name):
    """Each folded sum of taps is rounded for itself, so that phases no longer agree."""
    torch.manual_seed(0)
    layer = layers.get(name)(64, 32, 4, bias=False)
    folded = layers.get(name)(**{**layer.get_config(), "form": "folded"})
    folded.load_state_dict(layer.state_dict())
    ones = torch.ones(1, 64, 5000)
    assert layer.form_for(ones) == "folded"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = deviation(layer, ones)
    layer, folded, ones = layer.bfloat16(), folded.bfloat16(), ones[..., :200].bfloat16()
    assert deviation(folded, ones) > 1e-3
    assert max(under_autocast, deviation(layer, ones)) < deviation(folded, ones) / 3
