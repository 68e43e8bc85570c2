"""What a network that takes features is given for silence."""

import json
import types

import pytest
import torch
from torch import nn

from asteroid_upsamplers.cli import main
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models import MelGANGenerator
from asteroid_upsamplers.models.melgan import LogMelSpectrogram
from asteroid_upsamplers.probe import probe
from asteroid_upsamplers.probe.targets import rate_of, usual_shape

BANDS, HOP = 20, 32


class Vocoder(nn.Module):
    """Makes a tone whose amplitude is the exponential of its features, as log-mel has it."""

    def __init__(self, **attributes):
        super().__init__()
        self.up = nn.ConvTranspose1d(1, 1, HOP, HOP, bias=False)
        self.up.weight.data[...] = torch.linspace(-1, 1, HOP)
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.up(x.mean(1, keepdim=True).exp())


class TimeFirst(Vocoder):
    def forward(self, x):
        return super().forward((x * torch.ones(BANDS)).mT).flatten(1)


class Codec(Vocoder):
    """Encodes silence as -7."""

    def encode(self, wav):
        return {"latents": wav.unfold(-1, HOP, HOP)[:, 0].mT[:, :BANDS] - 7}


def examined(network, **settings):
    return probe(network, 16000, (1, BANDS, 300), **settings)


LOUD = examined(Vocoder()).silence.rms_db
PER_BAND = torch.linspace(-4, -2, BANDS)
CASES = {
    "given": (Vocoder(n_mels=BANDS), -9.0, -9, "-9, as given"),
    "own": (Vocoder(n_mels=BANDS, silence=-5), None, -5, "the network's own silence (-5)"),
    "own, each band": (Vocoder(silence=PER_BAND), None, -3, "the network's own silence"),
    "encoded": (Codec(n_mels=BANDS), None, -7, "what the network's encode makes of zeros"),
    "log-mel": (Vocoder(h={"num_mels": BANDS}), None, -11.5, "log-mel of silence, -11.5"),
    "unknown": (Vocoder(), None, 0, "zeros"),
}


@pytest.mark.parametrize("case", CASES)
def test_silence_is_what_the_network_calls_silence(case):
    network, given, value, words = CASES[case]
    report = examined(network, silence=given)
    assert report.silence.input == words
    assert report.silence.rms_db - LOUD == pytest.approx(8.6859 * value, abs=0.01)
    assert report.near_silence.input.startswith(words)
    remarks = [remark for remark in report.remarks if "--silence" in remark]
    assert len(remarks) == (case in ("log-mel", "unknown"))
    if case == "unknown":
        assert f"zeros give {LOUD:.1f} dB, -11.5 gives {LOUD - 99.9:.1f} dB" in remarks[0]


def test_an_impossible_silence_is_refused():
    for wrong in (torch.zeros(3), float("nan"), [[0.0], "x"]):
        with pytest.raises(UsageError, match="attribute silence"):
            examined(Vocoder(silence=wrong))


def test_ours_says_what_its_spectrograms_make_of_silence():
    made = LogMelSpectrogram()(torch.zeros(1, 1, 2560))
    assert made.unique().tolist() == [MelGANGenerator.silence]


def test_settings_of_transformers_and_features_that_come_last(monkeypatch, capsys):
    inner = types.SimpleNamespace(sampling_rate=24000, num_mel_bins=BANDS)
    network = TimeFirst(config=types.SimpleNamespace(audio_encoder=inner, sampling_rate=None))
    assert rate_of(network, None) == (24000, [])
    assert usual_shape(network, 24000, 1)[1] == BANDS
    monkeypatch.setattr(torch.nn, "Stranger", lambda: network, raising=False)
    main(["probe", "torch.nn:Stranger", "--json", "--silence", "-2"])
    content = json.loads(capsys.readouterr().out)
    assert content["input_shape"] == [1, 400, BANDS]
    assert content["silence"]["input"] == "-2, as given"
    with pytest.raises(SystemExit):
        main(["probe", "torch.nn:Stranger", "--silence", "nan"])
    assert "silence must be a finite number" in capsys.readouterr().err
