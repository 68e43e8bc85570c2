"""Stage 4: scores before and after training, on test songs and on unusual sounds."""

import json
import shutil

import numpy as np
import pytest
import torch

from asteroid_upsamplers.data import SOURCES, find_songs
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models import DemucsLike
from asteroid_upsamplers.report import measure_experiments
from asteroid_upsamplers.report.unusual_sounds import unusual_sounds
from tests.conftest import write_song

RATE = 8000


def write_model(exp_dir, modified):
    torch.manual_seed(1)
    model = DemucsLike(channels=2, depth=3, sample_rate=RATE, normalize=True, modified=modified)
    exp_dir.mkdir()
    torch.save(model.serialize(), exp_dir / "best_model.pth")


@pytest.fixture
def measure(tmp_path):
    """Measure experiments on one test song, whose vocals are silent."""
    silence = np.zeros((3 * RATE, 2))
    write_song(tmp_path / "set" / "train" / "song", rate=RATE)
    write_song(tmp_path / "set" / "test" / "song", rate=RATE, seconds=3, vocals=silence)

    def run(*exp_dirs):
        measure_experiments(exp_dirs, tmp_path / "set", tmp_path / "wav", progress=False)
        return [json.loads((exp_dir / "artifacts.json").read_text()) for exp_dir in exp_dirs]

    return run


def test_scores_of_both_states(tmp_path, measure):
    write_model(tmp_path / "original", modified=False)
    write_model(tmp_path / "modified", modified=True)
    original, modified = measure(tmp_path / "original", tmp_path / "modified")
    for state in ("trained", "untrained"):
        scores = original[state]
        assert len(scores["tonal_fraction"]) == 3 and scores["period"] == 16
        windows = scores["silent_windows"]["song"]
        assert set(windows) == set(SOURCES)
        assert (windows["vocals"]["windows"], windows["vocals"]["silent"]) == (3, True)
        assert (windows["drums"]["windows"], windows["drums"]["silent"]) == (1, False)
        assert windows["vocals"]["tones_db"] > -100
        assert set(scores["unusual"]) == {"noise", "sweep", "voice", "quiet song"}
        assert scores["unusual"]["quiet song"]["level_db"] == pytest.approx(-14, abs=0.1)
        assert scores["unusual"]["noise"]["frequencies"] == 8
        assert scores["silence"]["rms_db"] > -100
        assert modified[state]["silence"] == {"rms_db": -400, "share_at_tones": 0}
    assert original["trained"] != original["untrained"]


def test_scores_are_kept_until_the_model_is_newer(tmp_path, measure):
    exp_dir = tmp_path / "exp"
    write_model(exp_dir, modified=False)
    measure(exp_dir)
    path = exp_dir / "artifacts.json"
    first = path.stat().st_mtime_ns
    measure(exp_dir)
    assert path.stat().st_mtime_ns == first
    shutil.copytree(tmp_path / "set", tmp_path / "other")
    other = tmp_path / "other" / "test"
    (other / "song").rename(other / "another song")
    measure_experiments([exp_dir], tmp_path / "other", tmp_path / "wav", progress=False)
    assert set(json.loads(path.read_text())["trained"]["silent_windows"]) == {"another song"}
    path.write_text("{}")
    assert "trained" in measure(exp_dir)[0]
    (exp_dir / "best_model.pth").unlink()
    with pytest.raises(UsageError, match="best_model.pth"):
        measure(exp_dir)


def test_unusual_sounds_are_as_said(tmp_path):
    write_song(tmp_path / "set" / "test" / "song", rate=RATE)
    sounds = unusual_sounds(RATE, find_songs(tmp_path / "set", "test", RATE)[0])
    assert all(sound.shape == (2, 6 * RATE) for sound in sounds.values())
    rms = {name: float(sound.square().mean().sqrt()) for name, sound in sounds.items()}
    assert rms["noise"] == pytest.approx(1, abs=0.01)
    assert rms["sweep"] == pytest.approx(1, abs=0.01)
    assert rms["quiet song"] < 0.5
