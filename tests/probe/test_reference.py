"""Whether a tone is the recording's own, or also in what the network was given."""

import json
import math

import pytest
import soundfile
import torch

from asteroid_upsamplers.cli import main
from asteroid_upsamplers.models import DemucsLike
from asteroid_upsamplers.probe import probe_recording
from asteroid_upsamplers.probe.reference import LOOK_ALIKE, Blocks, detect

RATE = 8000


def noise(time, seed):
    return 0.1 * torch.randn(1, time, generator=torch.Generator().manual_seed(seed)).double()


def line(time, frequency, amplitude=0.05):
    return amplitude * torch.sin(2 * math.pi * frequency / RATE * torch.arange(time) + 0.5).double()


def test_what_the_reference_has_is_not_the_networks():
    """A steady line of the music passes, twice as loud; a new one is added, another hidden."""
    time = 4 * RATE
    music = noise(time, 0) + line(time, 2000) + line(time, 4000, 0.01)
    recording = 2 * music + line(time, 1000, 0.02) + line(time, 4000, 0.1)
    report = probe_recording(recording, RATE, [8], reference=music[:, : 3 * RATE])
    found, compared = report.tones, report.reference
    assert dict(zip(found.frequencies_hz, found.present, strict=True)) == {
        1000: True, 2000: True, 3000: False, 4000: True
    }  # fmt: skip
    assert compared.stands_out == [True, False, False, True]
    assert compared.present == [False, True, False, True]
    assert compared.excess_db[1] == pytest.approx(0, abs=0.5)
    assert 10 < compared.excess_db[3] < 22
    assert "the first 3.00 s of both were compared" in report.remarks[-1]
    silent = probe_recording(recording, RATE, [8], reference=torch.zeros(1, time))
    assert silent.reference.stands_out == found.present


def test_neighbours_are_a_control():
    time = 4 * RATE
    music = noise(time, 1) + line(time, 2000)
    report = probe_recording(music, RATE, [4])
    near = report.neighbours
    assert (near.frequencies, near.present, near.loudest_db) == (3, 0, None)
    assert report.remarks == [LOOK_ALIKE]
    beside = line(time, 2000 - near.shift_hz, 0.02)
    near = probe_recording(music + beside, RATE, [4]).neighbours
    assert near.present == 1
    assert near.loudest_db == pytest.approx(20 * math.log10(0.02 / 2**0.5), abs=0.5)
    assert near.over_floor_db == pytest.approx(10 * math.log10(2e-4 / (0.01 / 4000)), abs=1.5)
    assert probe_recording(noise(time, 2), RATE, [4]).neighbours is None
    above = noise(time, 2) + line(time, 2030)
    blocks = Blocks(lambda start, stop: above[:, start:stop], time)
    sides = [detect(blocks, RATE, [2000], 1e-3, shift).present for shift in (-30, 0, 30)]
    assert sides == [[False], [False], [True]]


def test_files_of_references_and_models(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    time = 2 * RATE
    music = noise(time, 0) + line(time, 2000)
    soundfile.write("music.wav", music.T.numpy(), RATE, subtype="FLOAT")
    soundfile.write("other.wav", music.T.numpy(), 16000)
    soundfile.write("net.wav", (music + line(time, 125)).T.numpy(), RATE, subtype="FLOAT")
    settings = {"channels": 2, "depth": 3, "audio_channels": 1}
    torch.save(DemucsLike(**settings, sample_rate=RATE).serialize(), "net.pth")
    torch.save(DemucsLike(**settings).serialize(), "fast.pth")
    main(["probe", "net.wav", "--reference", "music.wav", "--model", "net.pth", "--json"])
    content = json.loads(capsys.readouterr().out)
    assert content["strides"] == [4, 16, 64]
    out = [f for f, own in zip(content["tones"]["frequencies_hz"],
                               content["reference"]["stands_out"], strict=True) if own]  # fmt: skip
    assert out == [125]
    main(["probe", "net.wav", "--reference", "music.wav", "--strides", "64"])
    assert "1 of them above the reference. The loudest of these: 125 Hz at -29." in (
        capsys.readouterr().out
    )
    for wrong, words in {
        ("net.wav", "--reference", "other.wav"): "other.wav: is at 16000 Hz, but net.wav at 8000",
        ("net.wav", "--model", "fast.pth"): "net.wav: is at 8000 Hz, but fast.pth gives 44100 Hz",
        ("net.wav", "--reference", "no.wav"): "no.wav",
        ("net.wav", "--model", "torch.nn:Identity"): "torch.nn:Identity: no upsampling layer",
        ("net.pth", "--reference", "music.wav"): "net.pth: is no recording: --reference cannot",
    }.items():
        with pytest.raises(SystemExit) as left:
            main(["probe", *wrong])
        assert left.value.code == 2
        assert words in capsys.readouterr().err.strip().splitlines()[-1]


FALLS = """
from torch import nn
def network():
    layers = nn.Conv1d(1, 4, 1), nn.ConvTranspose1d(4, 1, 10, 7), nn.AvgPool1d(4)
    return nn.Sequential(*layers)
"""


def test_layers_of_a_model_whose_rate_falls_again(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "falls.py").write_text(FALLS, encoding="utf-8")
    soundfile.write("net.wav", (noise(RATE, 0) + line(RATE, RATE / 7)).T.numpy(), RATE)
    main(["probe", "net.wav", "--model", "falls:network", "--json"])
    assert json.loads(capsys.readouterr().out)["strides"] == [7]
