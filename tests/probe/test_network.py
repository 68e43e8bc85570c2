"""The examination of whole networks: ours, and those of other people."""

import json
import math
import sys
from collections import namedtuple
from contextlib import nullcontext
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from asteroid_upsamplers import layers
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models import DemucsLike
from asteroid_upsamplers.probe import probe
from asteroid_upsamplers.probe.text import conclusion

from . import networks

RATE = 44100


def demucs(upsampler, **settings):
    torch.manual_seed(0)
    return DemucsLike(upsampler=upsampler, channels=8, depth=4, **settings).eval()


@pytest.mark.parametrize("upsampler", ["transposed", "linear"])
def test_demucs_before_training(upsampler):
    """[1] Fig. 1: transposed convolutions make tones, interpolation does not."""
    report = probe(demucs(upsampler), RATE, (1, 2, 4 * RATE))
    assert [layer.name for layer in report.layers] == [f"decoder.{n}.upsampler" for n in range(4)]
    rates = [RATE / 64, RATE / 16, RATE / 4, RATE]
    assert [layer.output_rate_hz for layer in report.layers] == pytest.approx(rates)
    first, last = report.layers[0], report.layers[-1]
    assert [tone["frequency_hz"] for tone in last.tones] == [RATE / 4, RATE / 2]
    replicas = [RATE / 64 * k + RATE / 256 * sign for k in (1, 2) for sign in (-1, 1)]
    assert first.tones[0]["replicas_hz"][:4] == pytest.approx(replicas)
    prominence = {tone["frequency_hz"]: tone["prominence_db"] for tone in report.noise.tones}
    if upsampler == "transposed":
        assert report.silence.share_at_predicted_tones > 0.9
        assert report.near_silence.share_at_predicted_tones > 0.9
        assert report.near_silence.rms == pytest.approx(report.silence.rms, rel=0.05)
        assert prominence[RATE / 4] > 20
        assert report.attributed_to[0] == "decoder.3.upsampler"
        assert last.tonal_fraction > 0.3
    else:
        assert report.silence.rms_db < -100
        assert prominence[RATE / 4] < -10
        assert (report.attributed_to, report.remarks) == ([], [])
        assert last.tonal_fraction < 1e-6


def test_the_contract_of_its_json():
    content = probe(demucs("transposed", modified=True), RATE, (1, 2, RATE)).to_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    layer = content["layers"][0]
    keys = "name kind stride output_rate_hz tonal_fraction tones attribution_db group"
    assert list(layer) == keys.split()
    assert list(layer["tones"][0]) == ["frequency_hz", "level_db", "replicas_hz"]
    assert {"rms", "tones", "share_at_predicted_tones"} <= content["silence"].keys()
    assert {"frequency_hz", "prominence_db"} <= content["noise"]["tones"][0].keys()
    # the modification of [1] Fig. 9: silence in, silence out
    assert (content["silence"]["rms"], content["attributed_tones"]) == (0, "noise")
    assert -140 < content["near_silence"]["rms_db"] < -80


def test_levels_in_silence_are_those_of_a_known_stack():
    """Two layers, one of which makes a known tone."""
    source = nn.Conv1d(1, 1, 1)
    nn.init.ones_(source.bias)
    innocent = layers.Nearest(1, 1, stride=2, kernel_size=1, bias=False)
    nn.init.ones_(innocent.weight)
    guilty = layers.Transposed(1, 1, stride=4, kernel_size=4, bias=False)
    guilty.weight.data[...] = 1 + 0.1 * torch.tensor([1.0, 0.0, -1.0, 0.0])
    report = probe(nn.Sequential(source, innocent, guilty), 8000, (1, 1, 8000))
    assert report.attributed_to == ["2"]
    assert report.layers[0].attribution_db == pytest.approx(0, abs=1e-6)
    loudest = report.silence.tones[0]
    assert loudest["frequency_hz"] == 2000
    assert loudest["level_db"] == pytest.approx(10 * math.log10(0.005), abs=1e-4)
    assert report.silence.rms == pytest.approx(0.005**0.5, rel=1e-4)
    assert report.silence.share_at_predicted_tones == pytest.approx(1)


def test_attribution_is_what_an_ablation_of_the_layer_gives():
    """The first layer's filters are replaced by ones that treat all phases alike."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv1d(1, 8, 3),
        nn.ReLU(),
        nn.ConvTranspose1d(8, 8, 4, 4),
        nn.LeakyReLU(),
        nn.ConvTranspose1d(8, 1, 4, 2),
    ).double()
    attribution = probe(network, 8000, (1, 1, 4000)).layers[0].attribution_db

    @torch.no_grad()
    def tone_power():
        steady = network(torch.zeros(1, 1, 400).double())[0, 0, 800:1600]
        return float((steady - steady.mean()).square().mean())  # all of it repeats every 8 samples

    before = tone_power()
    network[2].weight.data[...] = network[2].weight.mean(2, keepdim=True)
    assert attribution == pytest.approx(10 * math.log10(before / tone_power()), abs=1e-6)
    assert attribution > 1


def test_tones_in_noise_are_attributed_if_there_are_none_in_silence():
    """A layer that makes tones of what a ReLU makes of noise, behind one that makes none."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv1d(1, 4, 5, padding=2, bias=False),
        nn.ReLU(),
        layers.Nearest(4, 4, stride=2, bias=False),
        layers.Transposed(4, 1, stride=4, bias=False),
    )
    report = probe(network, 8000, (1, 1, 16000))
    assert report.silence.rms == 0
    assert (report.attributed_to, report.attributed_tones) == (["3"], "noise")
    assert report.layers[1].attribution_db > 10 > 1 > abs(report.layers[0].attribution_db)


def test_hills_of_an_interpolations_spectrum_are_no_tones_in_noise():
    """Half way between two valleys, where someone looks for the tones of another stride."""
    upsample = nn.Upsample(scale_factor=256, mode="linear")
    report = probe(upsample, 22050, (1, 4, 344), strides=[512])
    assert max(tone["prominence_db"] for tone in report.noise.tones) > 3
    assert (report.noise.present, report.attributed_to) == ([], [])
    assert conclusion(report) == "No tones found."
    torch.manual_seed(0)
    relu = nn.Sequential(nn.Conv1d(4, 8, 3), nn.ReLU(), nn.ConvTranspose1d(8, 1, 512, 256))
    assert probe(relu, 22050, (1, 4, 344)).noise.present


@pytest.mark.parametrize(
    ("network", "shape", "rate", "kinds"),
    [
        (networks.vocoder, (1, 20, 200), 22050, ["transposed"] * 2),
        (networks.demucs, (1, 2, 66150), 44100, ["transposed"] * 4),
        (networks.conv_tasnet, (1, 1, 24000), 8000, ["transposed"]),
        (networks.sudormrf, (1, 1, 24000), 8000, ["nearest"] * 2 + ["transposed"]),
        (networks.hdemucs, (1, 2, 66150), 44100, ["transposed"] * 4 + ["overlap-add"]),
    ],
    ids=["vocoder", "demucs", "tasnet", "sudormrf", "hdemucs"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_networks_of_other_people(network, shape, rate, kinds):
    torch.manual_seed(0)
    report = probe(network(), rate, shape)
    found = [layer.kind for layer in report.layers]
    assert found == kinds
    assert report.layers[-1].output_rate_hz == rate
    assert report.unseen_factor == 1
    assert all(layer.tonal_fraction is not None for layer in report.layers[:4])


@dataclass
class Output:
    loss: torch.Tensor
    waveform: torch.Tensor


Pair = namedtuple("Pair", "features audio")


def test_the_audio_is_found_in_what_a_network_returns():
    vocoder = networks.vocoder()
    x = (1, 20, 100)
    expected = probe(vocoder, 8000, x).silence
    for wrap in (
        lambda y: {"codes": torch.zeros(1, 8, 9000, dtype=torch.long), "audio": y},
        lambda y: (y.mean(), [torch.zeros(1, 80, 100), y]),
        lambda y: Output(y.mean(), y),
        lambda y: Pair(torch.zeros(1, 80, 9000), y),
        lambda y: SimpleNamespace(table=torch.zeros(50_000, 2), y=y),
        lambda y: {"other": 2 * y, "wav": y},
        lambda y: y.mT,
        lambda y: y.detach().numpy(),
    ):
        assert probe(lambda x, wrap=wrap: wrap(vocoder(x)), 8000, x).silence == expected
    pair = probe(lambda x: [vocoder(x), 2 * vocoder(x)], 8000, x, output=1, silence=0)
    assert pair.silence.rms == pytest.approx(2 * expected.rms)
    assert pair.remarks == []
    time_first = nn.Sequential(nn.Linear(20, 20), Transpose(), vocoder)
    assert probe(time_first, 8000, (1, 100, 20)).total_factor == 32


class Transpose(nn.Module):
    def forward(self, x):
        return x.mT


class Noisy(nn.Sequential):
    """Draws random numbers of three kinds."""

    def __init__(self):
        super().__init__(nn.ConvTranspose1d(2, 1, 8, 4))
        self.generator = torch.Generator().manual_seed(7)

    def forward(self, x):
        y = super().forward(x)
        y = y + 0.003 * torch.randn_like(y) + 0.003 * torch.rand(1, generator=self.generator)
        return y + 0.003 * torch.from_numpy(np.random.randn(*y.shape)).float()


def test_the_same_seed_gives_the_same_report_whatever_ran_before():
    network, reports = Noisy(), []
    for outside in (1, 2):
        torch.manual_seed(outside)
        np.random.seed(outside)
        network.generator.manual_seed(outside)
        reports.append(probe(network, 8000, (1, 2, 8000)))
        assert (torch.initial_seed(), network.generator.initial_seed()) == (outside, outside)
    assert reports[0] == reports[1]
    assert "random numbers" in reports[0].remarks[-1]
    assert reports[0].silence.rms > 0.003


def test_defaults_of_torch_change_nothing():
    vocoder = networks.vocoder()
    expected = probe(vocoder, 8000, (1, 20, 100))
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        assert probe(vocoder, 8000, (1, 20, 100)) == expected
        assert torch.get_default_dtype() == torch.float64
        assert torch.get_default_device().type == "meta"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)


class Unruly(nn.Module):
    """Changes itself in every way at every call, and may fail after that."""

    def __init__(self, fails):
        super().__init__()
        self.norm, self.up = nn.BatchNorm1d(2), nn.ConvTranspose1d(2, 1, 8, 4)
        self.register_buffer("calls", torch.zeros(()))
        self.fails, self.log, self.plain = fails, [], torch.zeros(2)

    def forward(self, x):
        self.calls += 1
        self.plain += 1
        self.log.append(x)
        self.cache = x
        self.up.weight.requires_grad_(False)
        self.up.weight.data.mul_(1.01)
        self.register_forward_hook(lambda *_: None)
        torch.set_grad_enabled(True)
        y = self.up(self.norm.train()(x))
        if self.fails:
            raise RuntimeError("in vain")
        return y


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_left_as_it_was(fails):
    network = Unruly(fails).train()
    network.norm.eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(UsageError, match="line [0-9]+: raise Runtime") if fails else nullcontext():
        probe(network, 8000, (1, 2, 8000))
    assert [module.training for module in network.modules()] == [True, False, True]
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert (network.log, network.plain.tolist(), hasattr(network, "cache")) == ([], [0, 0], False)
    assert network.up.weight.requires_grad
    assert not network._forward_hooks


def test_what_is_unknown_is_called_so():
    short = probe(demucs("transposed"), RATE, (1, 2, 200))
    assert short.noise is None
    assert [("too few" in remark) for remark in short.remarks] == [True, True]
    assert short.layers[0].tonal_fraction > 0


def with_nan(layer):
    layer.weight.data[0, 0, 0] = math.nan
    return layer


@pytest.mark.parametrize(
    ("network", "shape", "words"),
    [
        (nn.Conv1d(1, 1, 3), (1, 1, 1000), "no upsampling layer was seen"),
        (nn.ConvTranspose1d(1, 1, 4, 2), (1, 3, 999), r"refused an input of shape \(1, 3, 999\)"),
        (lambda x: F.interpolate(x, scale_factor=2) / 0, (1, 1, 99), "infinities or NaN"),
        (nn.Upsample(scale_factor=2), (1, 1, 20), "40 samples .* at least 64"),
        (lambda x: {"codes": x.long()}, (1, 1, 99), r"gives a dict of codes int64 \(1, 1, 99\)"),
        (lambda x: torch.fft.rfft(x).mT, (1, 1, 999), "complex64 .* inverse STFT must follow"),
        (nn.Sequential(Transpose(), nn.LayerNorm(1, 0.0), nn.Linear(1, 4)), (1, 1, 99), r"in 1 \("),
        (with_nan(nn.ConvTranspose1d(1, 1, 4, 2)), (1, 1, 99), "weight holds NaN"),
        (lambda x: sys.exit(), (1, 1, 99), "refused an input of shape .* SystemExit"),
    ],
    ids=["none", "shape", "nan", "short", "codes", "complex", "layer", "weights", "exit"],
)
def test_what_cannot_be_probed_is_one_line(network, shape, words):
    with pytest.raises(UsageError, match=words) as caught:
        probe(network, 8000, shape)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rate", "strides"), [(0, ()), (math.nan, ()), (math.inf, ()), (8000, [4, 0])], ids=str
)
def test_impossible_rates_and_strides_are_refused(rate, strides):
    with pytest.raises(UsageError, match=r"sample_rate is|strides are \[4, 0\]"):
        probe(nn.Upsample(scale_factor=2), rate, (1, 1, 99), strides=strides)
