"""Stage 4 makes an experiment of each repaired model, and the report a row."""

import numpy as np
import pytest
import torch
import yaml

from asteroid_upsamplers.artifacts import tone_levels
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.evaluation import separate_experiments
from asteroid_upsamplers.models import DemucsLike, load_model
from asteroid_upsamplers.report import (
    collect,
    compare_models,
    read_models,
    repair_experiments,
    repaired,
)
from asteroid_upsamplers.report.models import repaired_folder
from asteroid_upsamplers.separation import Chunking
from tests.conftest import write_song

from .score_files import write_scores

RATE = 8000
QUIET = {"progress": False}


@pytest.fixture
def songs(tmp_path):
    silence = np.zeros((2 * RATE, 2))
    write_song(tmp_path / "set" / "train" / "song", rate=RATE)
    write_song(tmp_path / "set" / "test" / "song", rate=RATE, seconds=2, vocals=silence)
    return tmp_path / "set", tmp_path / "wav"


def write_experiment(exp_dir, upsampler, seed):
    torch.manual_seed(seed)
    model = DemucsLike(upsampler=upsampler, channels=2, depth=2, sample_rate=RATE)
    exp_dir.mkdir(parents=True)
    torch.save(model.serialize(), exp_dir / "best_model.pth")
    conf = {"model": {"upsampler": upsampler}, "training": {"seed": seed}}
    (exp_dir / "conf.yml").write_text(yaml.safe_dump(conf))
    (exp_dir / "training.json").write_text('{"parameters": 1}')
    return exp_dir


@pytest.fixture
def scored(monkeypatch):
    """In place of scoring, which starts processes: every song gets the same scores."""

    def score(exp_dirs, *songs, **how):
        assert how["metrics"] == ["SDR"]
        for exp_dir in exp_dirs:
            assert (exp_dir / "estimates" / "test" / "song" / "vocals.wav").exists()
            write_scores(exp_dir / "scores" / "test", {"song": [1.0, 2.0, 3.0, 4.0]})

    monkeypatch.setattr(repaired, "score_experiments", score)
    return score


def test_a_repaired_model_is_a_row_of_its_own(tmp_path, songs, scored):
    exp_dirs = [write_experiment(tmp_path / "exp" / f"x.seed{k}", "transposed", k) for k in (1, 2)]
    exp_dirs.append(write_experiment(tmp_path / "exp" / "nearest", "nearest", 1))
    separate_experiments(exp_dirs, *songs, Chunking(chunk=1.0), **QUIET)
    score = {"metrics": ["SDR"]}
    scored(exp_dirs, *songs, **score)
    folders = repair_experiments(exp_dirs, *songs, **score)
    assert folders == [tmp_path / "exp" / f"x_repaired.seed{k}" for k in (1, 2)]
    written = [(folder / "best_model.pth").stat().st_mtime_ns for folder in folders]
    assert repair_experiments(exp_dirs, *songs, **score) == folders
    assert [(folder / "best_model.pth").stat().st_mtime_ns for folder in folders] == written
    table = collect(exp_dirs)
    assert list(table.index) == ["x", "x, repaired", "nearest"]
    assert list(table["seeds"]) == [2, 2, 1]
    pairs = compare_models(read_models(exp_dirs).models)
    pairs = pairs[pairs["stem"] == "mean"]
    assert list(zip(pairs["first"], pairs["second"], strict=True)) == [
        ("x", "nearest"),
        ("x", "x, repaired"),
    ]
    trained, without = (load_model(d / "best_model.pth") for d in (exp_dirs[0], folders[0]))
    for before, after in zip(trained.decoder, without.decoder, strict=True):
        assert tone_levels(before.upsampler).tonal_fraction > 0.1
        assert tone_levels(after.upsampler).tonal_fraction < 1e-9


def test_another_model_is_repaired_again(tmp_path, songs):
    exp_dir = write_experiment(tmp_path / "exp" / "x", "subpixel", 1)
    (folder,) = repair_experiments([exp_dir], *songs)  # neither separated nor scored
    assert folder == repaired_folder(exp_dir) == tmp_path / "exp" / "x_repaired"
    before = (folder / "best_model.pth").read_bytes()
    torch.save(
        DemucsLike(channels=2, depth=2, sample_rate=RATE).serialize(), exp_dir / "best_model.pth"
    )
    assert repair_experiments([exp_dir], *songs) == [folder]
    assert (folder / "best_model.pth").read_bytes() != before


def test_a_trained_model_is_not_overwritten(tmp_path, songs, caplog):
    exp_dir = write_experiment(tmp_path / "exp" / "x", "transposed", 1)
    other = write_experiment(repaired_folder(exp_dir), "transposed", 2) / "best_model.pth"
    before = other.read_bytes()
    assert repair_experiments([exp_dir], *songs) == []
    assert other.read_bytes() == before
    assert f"{other.parent} holds a model that was trained" in caplog.text


def test_an_experiment_that_is_missing_is_named(tmp_path, songs):
    with pytest.raises(UsageError, match="x: no experiment here"):
        repair_experiments([tmp_path / "x"], *songs)


def test_a_model_that_was_trained_without_tones_has_no_row_more(tmp_path, songs):
    exp_dir = write_experiment(tmp_path / "exp" / "x", "transposed", 1)
    size = {"channels": 2, "depth": 2, "sample_rate": RATE}
    model = DemucsLike(**size, upsampler_kwargs={"tone_free": True})
    torch.save(model.serialize(), exp_dir / "best_model.pth")
    assert repair_experiments([exp_dir], *songs) == []
