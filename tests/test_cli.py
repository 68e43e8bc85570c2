"""The command line: parsing, exit statuses, one-line errors."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from asteroid.models import ConvTasNet

from asteroid_upsamplers import __version__, layers
from asteroid_upsamplers.cli import main
from asteroid_upsamplers.models import load_model


def test_list_names_every_upsampler(capsys):
    main(["list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == layers.available()
    main(["list", "--json"])
    assert list(json.loads(capsys.readouterr().out)) == layers.available()


def test_demo_data_renders_songs(tmp_path):
    main(["demo-data", str(tmp_path), "--n_train", "1", "--n_test", "1", "--seconds", "1"])
    assert len(list(tmp_path.rglob("mixture.wav"))) == 2


def test_a_checkpoint_is_converted_and_separates(capsys, tmp_path):
    demucs = pytest.importorskip("demucs.demucs")
    plain = {"lstm_layers": 2, "dconv_mode": 0, "gelu": False, "normalize": False}
    theirs = demucs.Demucs(["voice", "rest"], channels=4, depth=2, resample=False, **plain).eval()
    checkpoint, model = tmp_path / "demucs.th", tmp_path / "model.pth"
    torch.save(theirs.half().state_dict(), checkpoint)
    main(["convert", str(checkpoint), str(model), "--no-resample"])
    assert capsys.readouterr().out == f"{model}\n"
    with pytest.raises(SystemExit) as caught:
        main(["convert", str(checkpoint), str(model)])
    assert caught.value.code == 2
    assert "model.pth: exists already" in capsys.readouterr().err
    x = 0.1 * torch.randn(2, 4000)
    soundfile.write(tmp_path / "song.wav", x.T.numpy(), 44100, subtype="FLOAT")
    main(["separate", str(model), str(tmp_path / "song.wav"), "-d", "cpu", "--batch", "2"])
    with torch.no_grad():
        expected = theirs.float()(x[None])[0]
    for name, estimate in zip(("source1", "source2"), expected, strict=True):
        written, _ = soundfile.read(tmp_path / f"song_{name}.wav", dtype="float32")
        assert abs(torch.from_numpy(written.T) - estimate).max() < 1e-5
    main(["convert", str(checkpoint), str(model), "--resample", "--force-overwrite"])
    assert load_model(model).resample


def test_separate_a_file_of_asteroid(capsys, tmp_path):
    small = {"n_blocks": 1, "n_repeats": 1, "bn_chan": 4, "hid_chan": 4, "skip_chan": 4}
    model, song = tmp_path / "best_model.pth", tmp_path / "it's a mix.wav"
    torch.save(ConvTasNet(2, **small).serialize(), model)
    soundfile.write(song, 0.1 * torch.randn(4000).numpy(), 8000)
    main(["separate", str(model), str(song), "-d", "cpu", "--shifts", "1", "--json"])
    written = json.loads(capsys.readouterr().out)
    assert written == [str(tmp_path / f"it's a mix_est{i}.wav") for i in (1, 2)]
    assert all(soundfile.info(path).frames == 4000 for path in written)
    again = ["-d", "cpu", "--json", "-o", str(tmp_path / "new")]
    with pytest.raises(SystemExit) as stop:
        main(["separate", str(model), str(tmp_path / "none.wav"), str(song), *again])
    assert stop.value.code == 2
    names = [Path(path).name for path in json.loads(capsys.readouterr().out)]
    assert names == ["it's a mix_est1.wav", "it's a mix_est2.wav"]  # of the file that is there
    for arguments in (
        [str(song), str(song)],
        [str(model), str(tmp_path / "none.wav")],
        [str(model), str(song), "-d", "nonsense"],
        [str(model), str(song), "--batch", "0"],
    ):
        with pytest.raises(SystemExit) as stop:
            main(["separate", *arguments])
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("error: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["demo-data", "x", "--n_train", "0"], "n_train is 0"),
        (["report", "nowhere"], "nowhere: no experiment here"),
        (["convert", "nowhere.th", "model.pth"], "nowhere.th: not a checkpoint of Demucs"),
        (["convert", "x", "."], ".: is a folder, must be the name of a file"),
        (["lst"], "invalid choice: 'lst'"),
        (["figures", "--seed", "-1"], "'-1': must be an integer from 0"),
        (["figures", "11"], "no figure 11: the paper has figures 1 to 10"),
        (["probe", "x", "--seed", str(2**32)], "must be an integer from 0"),
        ([], "required: command"),
    ],
    ids=str,
)
def test_wrong_use_exits_with_2(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("command", ["list", "separate", "demo-data", "report", "convert"])
def test_every_command_has_help(capsys, command):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert "usage: asteroid-upsamplers" in capsys.readouterr().out


def test_the_installed_command():
    command = os.path.join(os.path.dirname(sys.executable), "asteroid-upsamplers")
    output = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == __version__


def test_a_reader_that_has_seen_enough_is_no_error(capsys, monkeypatch):
    read, write = os.pipe()
    os.close(read)
    closed = os.fdopen(write, "w")
    monkeypatch.setattr(sys, "stdout", closed)
    with pytest.raises(SystemExit) as caught:
        main(["list"])
    assert caught.value.code == 141
    assert sys.stdout is not closed  # which Python would flush at its end, and complain
    assert capsys.readouterr().err == ""
    with contextlib.suppress(BrokenPipeError):
        closed.close()


def test_ctrl_c_while_the_program_starts_is_one_line():
    code = "import asteroid_upsamplers.cli, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)  # torch is loaded within main()
