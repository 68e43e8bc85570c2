"""The command line: parsing, exit statuses, one-line errors."""

import json
import os
import subprocess
import sys

import pytest

from asteroid_upsamplers import __version__, layers
from asteroid_upsamplers.cli import main


def test_list_names_every_upsampler(capsys):
    main(["list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == layers.available()
    main(["list", "--json"])
    assert list(json.loads(capsys.readouterr().out)) == layers.available()


def test_demo_data_renders_songs(tmp_path):
    main(["demo-data", str(tmp_path), "--n_train", "1", "--n_test", "1", "--seconds", "1"])
    assert len(list(tmp_path.rglob("mixture.wav"))) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["demo-data", "x", "--n_train", "0"], "n_train is 0"),
        (["report", "nowhere"], "nowhere: no experiment here"),
        (["lst"], "invalid choice: 'lst'"),
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


@pytest.mark.parametrize("command", ["list", "demo-data", "report"])
def test_every_command_has_help(capsys, command):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert "usage: asteroid-upsamplers" in capsys.readouterr().out


def test_the_installed_command():
    command = os.path.join(os.path.dirname(sys.executable), "asteroid-upsamplers")
    output = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == __version__
