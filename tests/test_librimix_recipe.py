"""The Conv-TasNet recipe: all stages on small mixtures, again, resumed, and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from asteroid_upsamplers.artifacts import tone_levels
from asteroid_upsamplers.data import render_demo_mixtures
from asteroid_upsamplers.models import UpsamplerConvTasNet

RECIPE = Path(__file__).parents[1] / "recipes" / "librimix" / "ConvTasNetUpsamplers"
TINY = "--n_filters 16 --n_blocks 2 --n_repeats 1 --bn_chan 8 --skip_chan 8 --hid_chan 8"
TINY += " --segment 1 --batch_size 2"


def run(*options, epochs=1, more=TINY):
    words = ["bash", str(RECIPE / "run.sh"), "--python", sys.executable, *map(str, options)]
    words += ["--", *more.split(), "--epochs", str(epochs)]
    return subprocess.run(words, capture_output=True, text=True)


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("my mixtures")
    render_demo_mixtures(root / "demo", 4, 2, 3, seconds=1, voices="synthetic", progress=False)
    return root


@pytest.mark.slow
def test_all_stages(data_root, tmp_path):
    where = ("--demo", "--data_root", data_root, "--exp_root", tmp_path)
    result = run(*where, "--upsampler", "tone_free,nearest")
    assert result.returncode == 0, result.stderr[-2000:]
    table = pd.read_csv(tmp_path / "demo" / "table.csv", index_col="experiment")
    assert list(table.index) == ["tone_free", "nearest"]
    assert list(table["tones of a constant (dB)"]) == ["none", "none"]
    assert (tmp_path / "demo" / "table.md").read_text() in result.stdout
    scores = json.loads((tmp_path / "demo" / "nearest" / "evaluation.json").read_text())
    assert scores["si_sdr_improvement_db"]["mixtures"] == 3
    assert scores["tones"]["frequencies_hz"] == [1000, 2000, 3000, 4000]
    model = UpsamplerConvTasNet.from_pretrained(tmp_path / "demo" / "tone_free" / "best_model.pth")
    assert model.decoder.upsampler_kwargs == {"tone_free": True}
    assert tone_levels(model.decoder.upsampler).tonal_fraction < 1e-9

    again = run(*where, "--upsampler", "tone_free,nearest")
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("trained already") == 2


@pytest.mark.slow
def test_training_goes_on_from_the_last_epoch(data_root, tmp_path):
    where = ("--demo", "--data_root", data_root, "--exp_root", tmp_path, "--upsampler", "nearest")
    assert run(*where, "--stage", 1, "--stop_stage", 1).returncode == 0
    exp_dir = tmp_path / "demo" / "nearest"
    (exp_dir / "best_model.pth").unlink()
    other = run(*where, "--stage", 1, "--stop_stage", 1, more=f"{TINY} --lr 0.1")
    assert other.returncode == 2
    assert "lr 0.003 is now 0.1); use another --tag" in other.stderr.splitlines()[-1]
    assert run(*where, "--stage", 1, "--stop_stage", 1, epochs=2).returncode == 0
    last = torch.load(exp_dir / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["epoch"] == 1
    assert json.loads((exp_dir / "training.json").read_text())["epochs"] == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--upsampeler", "nearest"], "unknown option --upsampeler"),
        (["--demo", "--stage", "4"], "stages are 0 to 3"),
        (["--demo", "--tag"], "--tag needs a value"),
        ([], "--librimix_dir DIR or --demo is needed"),
        (["--demo", "--librimix_dir", "x"], "exclude each other"),
        (["--demo", "--upsampler", "../x"], "must be names separated by commas"),
        (["--demo", "--tag", "../x"], "--tag is '../x', must be"),
    ],
    ids=str,
)
def test_wrong_options_are_refused_at_once(options, words):
    words_of_shell = ["bash", str(RECIPE / "run.sh"), *options]
    result = subprocess.run(words_of_shell, capture_output=True, text=True)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert words in line


@pytest.mark.slow
def test_what_python_refuses_is_one_line_too(data_root, tmp_path):
    where = ("--demo", "--data_root", data_root, "--exp_root", tmp_path, "--upsampler")
    unknown = run(*where, "neerest", "--stage", 1)
    untrained = run(*where, "nearest", "--stage", 2)
    missing = run("--librimix_dir", tmp_path, "--stage", 1, "--exp_root", tmp_path)
    for result, words in (
        (unknown, "did you mean nearest"),
        (untrained, "no trained model; run stage 1"),
        (missing, "no such folder; run stage 0"),
    ):
        assert result.returncode == 2
        assert words in result.stderr.splitlines()[-1]
        assert "Traceback" not in result.stderr
