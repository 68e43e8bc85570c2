"""The examination of whole networks: ours, and those of other people."""

import json

import pytest
import torch
from torch import nn

from asteroid_upsamplers import layers
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models import DemucsLike, MelGANGenerator
from asteroid_upsamplers.probe import probe

RATE = 44100


def demucs(upsampler, **settings):
    torch.manual_seed(0)
    return DemucsLike(upsampler=upsampler, channels=8, depth=4, **settings).eval()


@pytest.mark.parametrize("upsampler", ["transposed", "subpixel", "nearest", "linear"])
def test_demucs_before_training(upsampler):
    """[1] Fig. 1: transposed and subpixel make tones, interpolation does not."""
    report = probe(demucs(upsampler), RATE, (1, 2, 4 * RATE))
    assert [layer.name for layer in report.layers] == [f"decoder.{n}.upsampler" for n in range(4)]
    rates = [RATE / 64, RATE / 16, RATE / 4, RATE]
    assert [layer.output_rate_hz for layer in report.layers] == pytest.approx(rates)
    assert [t["frequency_hz"] for t in report.layers[-1].tones] == [RATE / 4, RATE / 2]
    at_quarter = next(
        t["prominence_db"] for t in report.noise.tones if t["frequency_hz"] == RATE / 4
    )
    if upsampler in ("transposed", "subpixel"):
        assert report.silence.share_at_predicted_tones > 0.9
        assert report.near_silence.share_at_predicted_tones > 0.9
        assert report.near_silence.rms == pytest.approx(report.silence.rms, rel=0.05)
        assert at_quarter > 20
        assert report.attributed_to[0] == "decoder.3.upsampler"
        assert report.layers[-1].tonal_fraction > 0.3
    else:
        assert report.silence.rms_db < -100
        assert at_quarter < -10
        assert report.attributed_to == []
        assert report.layers[-1].tonal_fraction < 1e-6


def test_the_contract_of_its_json():
    content = probe(demucs("transposed"), RATE, (1, 2, 2 * RATE)).to_dict()
    assert json.loads(json.dumps(content)) == content
    layer = content["layers"][0]
    assert {"name", "kind", "stride", "output_rate_hz", "tonal_fraction", "tones"} <= layer.keys()
    assert {"frequency_hz", "level_db"} <= layer["tones"][0].keys()
    assert {"rms", "tones", "share_at_predicted_tones"} <= content["silence"].keys()
    assert {"frequency_hz", "prominence_db"} <= content["noise"]["tones"][0].keys()


def test_modified_demucs_is_silent():
    report = probe(demucs("transposed", modified=True), RATE, (1, 2, 2 * RATE))
    assert report.silence.rms == 0
    assert report.silence.share_at_predicted_tones == 0
    assert -140 < report.near_silence.rms_db < -80  # it is no amplifier
    assert report.near_silence.share_at_predicted_tones < 0.5
    assert report.attributed_tones == "noise"


def test_a_network_that_is_silent_is_blamed_for_tones_in_noise():
    """A layer that makes tones of what a ReLU makes of noise, behind one that makes none."""
    torch.manual_seed(0)
    guilty = layers.Transposed(4, 1, 4, bias=False)
    network = nn.Sequential(
        nn.Conv1d(1, 4, 5, padding=2, bias=False),
        nn.ReLU(),
        layers.Nearest(4, 4, 2, bias=False),
        guilty,
    )
    report = probe(network, 8000, (1, 1, 16000))
    assert report.silence.rms == 0
    assert (report.attributed_to, report.attributed_tones) == (["3"], "noise")
    assert report.layers[1].attribution_db > 10 > 1 > abs(report.layers[0].attribution_db)


def test_levels_in_silence_are_those_of_a_known_stack():
    """Two layers, one of which makes a known tone: level, place and blame."""

    class Offset(nn.Module):
        def forward(self, x):
            return x + 1

    guilty = layers.Transposed(1, 1, 4, 4, bias=False)
    with torch.no_grad():
        guilty.weight.copy_(1 + 0.1 * torch.tensor([1.0, 0.0, -1.0, 0.0]))
    innocent = layers.Nearest(1, 1, 2, 1, bias=False)
    nn.init.ones_(innocent.weight)
    network = nn.Sequential(Offset(), innocent, guilty)
    report = probe(network, 8000, (1, 1, 8000))
    assert report.attributed_to == ["2"]
    assert report.layers[0].attribution_db == pytest.approx(0, abs=1e-6)
    loudest = report.silence.tones[0]
    assert loudest["frequency_hz"] == 2000
    assert loudest["level_db"] == pytest.approx(10 * torch.tensor(0.005).log10().item(), abs=1e-4)
    assert report.silence.rms == pytest.approx(0.005**0.5, rel=1e-4)
    assert report.silence.share_at_predicted_tones == pytest.approx(1)


@pytest.mark.parametrize(
    ("network", "shape", "rate", "kinds"),
    [
        (lambda: MelGANGenerator(), (1, 80, 130), 22050, ["transposed"] * 4),
        (lambda: MelGANGenerator("nearest"), (1, 80, 130), 22050, ["nearest"] * 4),
        (lambda: hifigan(), (1, 20, 200), 22050, ["transposed"] * 2),
        (lambda: package_demucs(), (1, 2, 66150), 44100, ["transposed"] * 4),
        (lambda: asteroid_model("ConvTasNet"), (1, 1, 24000), 8000, ["transposed"]),
        (lambda: asteroid_model("SuDORMRFNet"), (1, 1, 24000), 8000, ["nearest", "transposed"]),
        (lambda: asteroid_model("DCUNet"), (1, 1, 24000), 16000, ["transposed2d", "transposed"]),
        (lambda: hdemucs(), (1, 2, 132300), 44100, ["transposed2d", "transposed"]),
    ],
    ids=[
        "melgan",
        "melgan-nearest",
        "hifigan",
        "demucs",
        "tasnet",
        "sudormrf",
        "dcunet",
        "hdemucs",
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_networks_of_other_people(network, shape, rate, kinds):
    torch.manual_seed(0)
    report = probe(network(), rate, shape)
    found = [layer.kind for layer in report.layers]
    assert set(kinds) == set(found)
    if len(set(kinds)) == 1:
        assert found == kinds
    assert report.layers[-1].output_rate_hz == rate or "transposed2d" in kinds
    assert all(layer.tonal_fraction is not None for layer in report.layers)
    assert report.to_dict()


def hifigan():
    """As HiFi-GAN's generator: weight norm, LeakyReLU, strides 8 and 4, padding."""
    norm = nn.utils.parametrizations.weight_norm
    return nn.Sequential(
        norm(nn.Conv1d(20, 16, 7, padding=3)),
        nn.LeakyReLU(0.1),
        norm(nn.ConvTranspose1d(16, 8, 16, 8, padding=4)),
        nn.LeakyReLU(0.1),
        norm(nn.ConvTranspose1d(8, 4, 8, 4, padding=2)),
        nn.LeakyReLU(),
        norm(nn.Conv1d(4, 1, 7, padding=3)),
        nn.Tanh(),
    )


def package_demucs():
    from demucs.demucs import Demucs

    return Demucs(["a", "b"], channels=4, depth=4, lstm_layers=1, resample=False)


def asteroid_model(name):
    from asteroid import models

    if name == "ConvTasNet":
        return models.ConvTasNet(
            2, n_blocks=2, n_repeats=1, bn_chan=8, hid_chan=8, skip_chan=8, n_filters=32
        )
    if name == "SuDORMRFNet":
        return models.SuDORMRFNet(2, bn_chan=8, num_blocks=1, upsampling_depth=3, n_filters=32)
    return models.DCUNet(
        "mini", stft_n_filters=256, stft_kernel_size=256, stft_stride=64, fix_length_mode="pad"
    )


def hdemucs():
    from torchaudio.models import HDemucs

    return HDemucs(["a", "b"], channels=4, depth=4, nfft=1024)


@pytest.mark.parametrize(
    ("network", "shape", "words"),
    [
        (nn.Conv1d(1, 1, 3), (1, 1, 1000), "no upsampling layer was seen"),
        (nn.ConvTranspose1d(1, 1, 4, 2), (1, 3, 1000), r"refused an input of shape \(1, 3, 1000\)"),
        (
            lambda x: nn.functional.interpolate(x, scale_factor=2) / 0,
            (1, 1, 99),
            "infinities or NaN",
        ),
        (lambda x: None, (1, 1, 99), "gives a NoneType"),
    ],
    ids=["none", "shape", "nan", "nothing"],
)
def test_what_cannot_be_probed_is_one_line(network, shape, words):
    with pytest.raises(UsageError, match=words) as caught:
        probe(network, 8000, shape)
    assert "\n" not in str(caught.value)


def test_short_outputs_say_what_is_missing():
    report = probe(demucs("transposed"), RATE, (1, 2, 200))
    assert report.noise is None
    assert len(report.remarks) == 2
    assert "too few" in report.remarks[0]
    assert report.layers[0].tonal_fraction > 0


def test_the_network_is_left_as_it_was():
    network = demucs("transposed").train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    probe(network, RATE, (1, 2, RATE))
    assert network.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
