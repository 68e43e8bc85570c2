"""A repaired network: no tones, nothing else changed, undone to the last bit."""

import importlib

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, weight_norm

from asteroid_upsamplers import layers
from asteroid_upsamplers.artifacts import tone_levels
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.layers.measured import double_copy
from asteroid_upsamplers.repair import find_sites, repair, restore
from asteroid_upsamplers.repair.weights import effective, set_weight


def bits(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same_bits(one, other):
    """Zeros have signs, too."""
    pairs = [(one[k].view(torch.uint8), other[k].view(torch.uint8)) for k in one.keys() & other]
    return one.keys() == other.keys() and all(torch.equal(*pair) for pair in pairs)


def trained(layer):
    """A lifting layer whose steps are Haar's no more."""
    for filters in (layer.predict, layer.update):
        nn.init.normal_(filters)
    return layer


LAYERS = {
    "transposed": lambda: layers.Transposed(3, 2, stride=4),
    "no overlap": lambda: layers.Transposed(3, 2, stride=4, kernel_size=4),
    "partial overlap": lambda: layers.Transposed(3, 2, stride=5, kernel_size=13, trim=False),
    "tone-free": lambda: layers.Transposed(3, 2, stride=4, tone_free=True),
    "tone-free rows": lambda: layers.Subpixel(3, 2, stride=4, tone_free=True),
    "stretch": lambda: layers.Stretch(3, 2, stride=3, kernel_size=11),
    "subpixel": lambda: layers.Subpixel(3, 2, stride=3, kernel_size=4),
    "lazy_wavelet": lambda: layers.LazyWavelet(3, 2, stride=4),
    "haar": lambda: layers.Haar(3, 2, stride=4),
    "lifting": lambda: trained(layers.Lifting(3, 2, stride=4, kernel_size=3, stages=2)),
    "groups": lambda: nn.ConvTranspose1d(4, 6, 9, 4, padding=3, output_padding=1, groups=2),
    "dilation": lambda: nn.ConvTranspose1d(4, 6, 8, 3, dilation=2),
    "weight norm": lambda: weight_norm(nn.ConvTranspose1d(16, 8, 16, 8)),
    "weight norm of taps": lambda: weight_norm(nn.ConvTranspose1d(16, 8, 16, 8), dim=2),
    "parametrized": lambda: parametrizations.weight_norm(nn.ConvTranspose1d(16, 8, 16, 8)),
    "ours with weight norm": lambda: weight_norm(layers.Subpixel(3, 2, stride=4)),
    "ours parametrized": lambda: parametrizations.weight_norm(layers.Transposed(3, 2, stride=4)),
    "double": lambda: nn.ConvTranspose1d(4, 4, 16, 4).double(),
    "half": lambda: nn.ConvTranspose1d(4, 4, 16, 4).half(),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_every_kind_of_layer(kind):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Identity(), LAYERS[kind]()).train()
    before = bits(network)
    report = repair(network)
    assert same_bits(bits(network), before)
    (layer,) = report.layers
    assert layer.name == "1"
    if kind.startswith("tone-free"):  # whatever its weights are, it makes none
        assert layer.tone_db_before < -130 and layer.change < 1e-6
    else:
        assert layer.status == "repaired"
    site = find_sites(report.network)[0]
    sums = site.taps().sum(3)
    spread = (sums.amax(1) - sums.amin(1)).max()
    assert spread <= 1e-7 * site.taps().abs().max()
    if isinstance(report.network[1], (layers.Upsampler, nn.ConvTranspose1d)):
        assert max(tone_levels(report.network[1]).levels_db) < -130
    assert same_bits(bits(repair(report.network).network), bits(report.network))
    assert report.network.training and same_bits(bits(report.undo()), before)
    assert torch.equal(report.network[1].weight, network[1].weight)


@pytest.mark.parametrize("norm", [weight_norm, parametrizations.weight_norm])
def test_weight_norm_gives_the_new_weight_to_the_last_bit(norm):
    for dim in (0, 1, 2, None):
        layer = norm(nn.ConvTranspose1d(64, 64, 16, 8), dim=dim)
        weight = torch.randn(64, 64, 16)
        weight[0] = 0  # a norm of 0 divides nothing
        set_weight(layer, "weight", weight)
        assert torch.equal(effective(layer, "weight"), weight)


@pytest.mark.parametrize("kind", sorted(LAYERS.keys() - {"no overlap", "lifting"}))
def test_a_ramp_makes_no_tone_at_order_1(kind):
    torch.manual_seed(0)
    report = repair(LAYERS[kind](), order=1)
    assert same_bits(bits(repair(report.network, order=1).network), bits(report.network))
    layer = double_copy(report.network)
    ramp = torch.arange(200, dtype=torch.float64).expand(1, layer.in_channels, -1)
    y = layer(ramp)[..., 50 * layer.stride if isinstance(layer.stride, int) else 200 : -200]
    bend = y.diff(n=2).abs().max()
    assert bend < (1e-4 if kind == "half" else 1e-6) * y.abs().max()


def test_what_it_refuses_and_what_it_says():
    network = nn.ModuleDict(
        {"up": nn.ConvTranspose1d(1, 1, 8, 4), "linear": layers.Linear(1, 1, 4)}
    )
    before = bits(network)
    assert [layer.status for layer in repair(network).layers] == ["repaired", "has none"]
    for words, settings in {
        "no layer 'upp' to repair: did you mean up": {"layers": "upp"},
        "linear .*has none": {"layers": ["linear"]},
        "layers is empty": {"layers": []},
        "unknown method 'phase': did you mean phases": {"method": "phase"},
        r"unknown method \['phases'\]": {"method": ["phases"]},
        "order must be 0": {"order": 2},
        "order must be 0 .*, not 1.0": {"order": 1.0},
        "layers must be names of layers, not int": {"layers": 3},
        "example must be an input, or its shape as whole numbers, not 3": {"example": 3},
        "option 'steps' must be int, not '3'": {"method": "distil", "steps": "3"},
        "unknown option 'ordre': did you mean order": {"ordre": 1},
    }.items():
        with pytest.raises(UsageError, match=words):
            repair(network, **settings)
    assert same_bits(bits(network), before)


def quantised():
    from torch.ao.nn.quantized import ConvTranspose1d

    return ConvTranspose1d(1, 1, 8, 4)


def tied():
    layer = nn.ConvTranspose1d(1, 1, 8, 4)
    other = nn.Conv1d(1, 1, 8, 4)
    other.weight = nn.Parameter(layer.weight.data)  # another parameter, the same numbers
    return nn.Sequential(other, layer)


def not_finite():
    layer = nn.ConvTranspose1d(1, 1, 8, 4)
    nn.init.constant_(layer.weight, torch.nan)
    return layer


def pruned():
    from torch.nn.utils import prune

    return prune.l1_unstructured(nn.ConvTranspose1d(1, 1, 8, 4), "weight", 3)


REFUSED = {
    "no upsampling layer": lambda: nn.Linear(2, 2),
    "too short": lambda: nn.ConvTranspose1d(1, 1, 3, 4),
    "is TorchScript": lambda: torch.jit.script(nn.Sequential(nn.ConvTranspose1d(1, 1, 8, 4))),
    "is quantised": quantised,
    "0 and 1 have the same": tied,
    "weight holds NaN": not_finite,
    "computed by L1Unstructured": pruned,
    "computed by _SpectralNorm": lambda: parametrizations.spectral_norm(
        nn.ConvTranspose1d(2, 2, 8, 4)
    ),
    "no weights yet": lambda: nn.LazyConvTranspose1d(1, 8, 4),
    "complex64": lambda: nn.ConvTranspose1d(1, 1, 8, 4, dtype=torch.complex64),
    "before fold_for_inference": lambda: layers.fold_for_inference(
        nn.Sequential(layers.Transposed(1, 1, stride=2))
    ),
    "images": lambda: nn.ConvTranspose2d(1, 1, 4, 2),
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_line_for_what_cannot_be_repaired(words):
    with pytest.raises(UsageError, match=f"nothing to repair: .*{words}"):
        repair(REFUSED[words](), in_place=True)


def test_a_last_digit_of_half_precision_is_a_tone():
    layer = nn.ConvTranspose1d(1, 1, 4, 2, bias=False).bfloat16()
    nn.init.ones_(layer.weight)
    with torch.no_grad():
        layer.weight[0, 0, 0] -= 0.5**8
    report = repair(layer)
    assert report.layers[0].status == "repaired" and report.layers[0].tone_db_after == -400


def test_the_default_device_does_not_matter():
    network = nn.Sequential(nn.ConvTranspose1d(1, 1, 8, 4))
    with torch.device("meta"):
        assert repair(network).layers[0].tone_db_after < -100


def test_inference_mode_is_left_for_the_repair():
    network, x = nn.Sequential(nn.ConvTranspose1d(1, 1, 8, 4)), torch.zeros(1, 1, 400)
    with torch.inference_mode():
        assert not repair(network).network[0].weight.is_inference()
        repair(network, "distil", calibration=torch.randn_like(x), steps=1, progress=False)


def test_order_1_needs_two_taps():
    network = nn.Sequential(nn.ConvTranspose1d(1, 1, 4, 4), nn.ConvTranspose1d(1, 1, 8, 4))
    statuses = {layer.name: layer.status for layer in repair(network, order=1).layers}
    assert statuses == {"1": "repaired", "0": "left as it is"}
    with pytest.raises(UsageError, match="layer 0 cannot be repaired: order=1"):
        repair(network, order=1, layers="0")


def test_all_else_of_the_network_stays():
    up = nn.ConvTranspose1d(2, 2, 8, 4)
    network = nn.ModuleDict({"up": nn.Sequential(up), "again": up, "other": nn.Conv1d(2, 2, 3)})
    network.requires_grad_(False).eval()
    network.train(False)["other"].train()
    up.register_forward_hook(lambda *_: None)
    repaired = repair(torch.compile(network)).network
    assert type(repaired) is nn.ModuleDict
    assert repaired["again"] is repaired["up"][0] and len(repaired["again"]._forward_hooks) == 1
    assert not any(p.requires_grad for p in repaired.parameters())
    assert repaired["other"].training and not repaired.training
    assert torch.equal(repaired["other"].weight, network["other"].weight)


class NoCopy(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose1d(1, 1, 8, 4)
        self.lines = (line for line in "ab")


def test_a_network_that_cannot_be_copied_is_repaired_in_place_or_not_at_all(monkeypatch):
    network = NoCopy()
    before = bits(network)
    with pytest.raises(UsageError, match="cannot be copied .*generator.*in_place=True"):
        repair(network)

    def fails(network, sites, order=0, calibration=None, example=None):
        sites[0].assign(0 * sites[0].taps())
        network.up = nn.Identity()
        raise KeyboardInterrupt

    module = importlib.import_module("asteroid_upsamplers.repair.repair")
    monkeypatch.setattr(module, "equal_phases", fails)
    with pytest.raises(KeyboardInterrupt):
        repair(network, in_place=True)
    assert same_bits(bits(network), before)
    monkeypatch.undo()
    report = repair(network, in_place=True)
    assert report.network is network and not same_bits(bits(network), before)
    assert same_bits(bits(report.undo()), before)
    with pytest.raises(UsageError, match="of another network"):
        restore(nn.Linear(1, 1), report.originals)


def test_double_precision_is_reported_as_repaired():
    (layer,) = repair(nn.ConvTranspose1d(1, 1, 8, 4).double()).layers
    assert layer.status == "repaired" and layer.change > 0.1
