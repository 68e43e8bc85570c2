"""NaN, infinities and nonsense are an error in every measurement, and never read as silence."""

import json
import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from asteroid_upsamplers import artifacts, layers
from asteroid_upsamplers.errors import UsageError

RATE, NAN = 8000, math.nan
NOISE = torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))


def damaged(layer, value, name="weight"):
    with torch.no_grad():
        getattr(layer, name).view(-1)[1] = value
    return layer


def zero_norm(layer):
    layer = parametrizations.weight_norm(layer)
    nn.init.zeros_(layer.parametrizations.weight.original1)
    return layer


OF_LAYERS = [
    artifacts.tone_levels,
    artifacts.filtering,
    artifacts.replicas,
    artifacts.noise_tones,
    artifacts.edge_effects,
    lambda layer: artifacts.stack_tones([layer], RATE),
    layers.fold_for_inference,
]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: damaged(layers.Subpixel(2, 2, 4), NAN), "subpixel.* its weight holds NaN"),
        (lambda: damaged(layers.Nearest(2, 2, 4), math.inf, "bias"), "its bias holds inf"),
        (lambda: damaged(layers.Learned(2, 2, 4), NAN, "logits"), "its logits holds NaN"),
        (lambda: zero_norm(layers.Transposed(2, 2, 4)), "transposed: its output is NaN"),
        (lambda: damaged(nn.ConvTranspose1d(2, 2, 8, 4), NAN), "ConvTranspose1d.*weight holds NaN"),
    ],
)
def test_damaged_layers(build, words):
    layer = build()
    measures = OF_LAYERS[:-1] if isinstance(layer, nn.ConvTranspose1d) else OF_LAYERS
    for measure in measures:
        with pytest.raises(ValueError, match=words):
            measure(layer)


def test_a_damaged_network_names_its_layer():
    broken = damaged(layers.Transposed(2, 1, 4), NAN)
    network = nn.Sequential(nn.Conv1d(1, 2, 1), broken, nn.ReLU())
    with pytest.raises(ValueError, match=r"1 \(Transposed\) gives .* its weight holds NaN"):
        artifacts.silence_response(network, 1, 4, 4000)


OF_SIGNALS = {
    "prominence": lambda x: artifacts.prominence(x, RATE, [2000.0], 1024),
    "detection": lambda x: artifacts.detect_tones(x, RATE, [2000.0]),
    "filtering": lambda x: artifacts.filtering_of_signal(x, 4),
    "silent windows": lambda x: artifacts.silent_windows(x, x, RATE, [2000.0]),
    "silence": lambda x: artifacts.silence_response(lambda _: x[None], 1, 4, 8000),
}


@pytest.mark.parametrize("measure", OF_SIGNALS.values(), ids=OF_SIGNALS)
@pytest.mark.parametrize(
    ("signal", "words"),
    [
        (torch.where(NOISE > 3, NAN, NOISE), "NaN"),
        (torch.where(NOISE > 3, math.inf, NOISE), "infinite|infinities"),
        (torch.complex(NOISE, NOISE), "complex"),
        (NOISE[:, :0], "empty|at least|shape"),
        (NOISE[:, :40], "at least|needs more"),
        (NOISE.double() * 1e200, "too large"),
    ],
    ids=["NaN", "infinity", "complex", "empty", "short", "overflow"],
)
def test_damaged_signals(measure, signal, words):
    with pytest.raises(ValueError, match=words):
        measure(signal)


@pytest.mark.parametrize("measure", OF_SIGNALS.values(), ids=OF_SIGNALS)
@pytest.mark.parametrize("level", [0.0, 0.3])
def test_constants_have_no_tones(measure, level):
    found = measure(torch.full((1, 8000), level))
    if isinstance(found, torch.Tensor):
        assert found.tolist() == [0.0]
        return
    content = found.to_dict()
    json.dumps(content, allow_nan=False)
    assert not any(content.get("present", []))
    assert content.get("share_at_tones", 0.0) == 0.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: artifacts.prominence(NOISE, NAN, [2000.0], 1024),
        lambda: artifacts.prominence(NOISE, RATE, [2000.0], 8),
        lambda: artifacts.detect_tones(NOISE, 0, []),
        lambda: artifacts.detect_tones(NOISE, RATE, [-2000.0]),
        lambda: artifacts.detect_tones(NOISE, RATE, [2000.0], false_alarm=NAN),
        lambda: artifacts.silent_windows(NOISE, NOISE, RATE, [RATE]),
        lambda: artifacts.silent_windows(NOISE, NOISE, -RATE, [2000.0]),
        lambda: artifacts.silence_response(lambda x: x, 1, 0),
        lambda: artifacts.noise_tones(layers.Nearest(1, 1, 4), NAN),
        lambda: artifacts.stack_tones([], RATE),
        lambda: artifacts.stack_tones([layers.Nearest(1, 2, 4)] * 2, RATE),
        lambda: artifacts.loss_gradient(lambda a, b: b.sum(), 4, 4096),
        lambda: artifacts.loss_gradient(lambda a, b: (a * NAN).sum(), 4, 4096),
        lambda: artifacts.strided_gradient(torch.full((1, 1, 4), NAN), 2, 2),
        lambda: artifacts.prominence_threshold(100, 1024),
        lambda: artifacts.detectable_level(-1),
    ],
)
def test_nonsense_is_one_line(call):
    with pytest.raises(UsageError) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_old_weight_norm_of_torchs_layer_counts_as_it_is():
    """Its weight is computed when the layer runs: until then the attribute is the old one."""
    layer = torch.nn.utils.weight_norm(nn.ConvTranspose1d(1, 1, 8, 4))
    before = artifacts.system_of(layer).responses
    layer.weight_g.data *= 3
    torch.testing.assert_close(artifacts.system_of(layer).responses, 3 * before)
