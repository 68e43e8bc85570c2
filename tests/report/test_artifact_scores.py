"""Stage 4: scores before and after training, on test songs and on unusual sounds."""

import json

import pytest
import torch
import yaml

from asteroid_upsamplers.data import SOURCES, find_songs
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models import DemucsLike
from asteroid_upsamplers.report import measure_experiments
from asteroid_upsamplers.report.unusual_sounds import unusual_sounds
from tests.conftest import write_song
from tests.training.test_config import CONF

RATE = 8000


@pytest.fixture
def exp_dir(tmp_path):
    """An experiment whose model was never trained, and one test song with a silent source."""
    write_song(tmp_path / "set" / "train" / "a", rate=RATE)
    song = write_song(tmp_path / "set" / "test" / "b", rate=RATE, seconds=3)
    import numpy as np
    import soundfile

    soundfile.write(song / "vocals.wav", np.zeros((3 * RATE, 2)), RATE)
    conf = yaml.safe_load(CONF.read_text())
    conf["data"].update(
        musdb18_dir=str(tmp_path / "set"), wav_dir=str(tmp_path / "wav"), sample_rate=RATE
    )
    folder = tmp_path / "exp"
    folder.mkdir()
    (folder / "conf.yml").write_text(yaml.safe_dump(conf))
    torch.manual_seed(1)
    model = DemucsLike(channels=2, depth=3, sample_rate=RATE, normalize=True)
    torch.save(model.serialize(), folder / "best_model.pth")
    return folder


def test_scores_of_both_states(exp_dir):
    measure_experiments([exp_dir], exp_dir.parent / "set", exp_dir.parent / "wav", progress=False)
    scores = json.loads((exp_dir / "artifacts.json").read_text())
    for state in ("trained", "untrained"):
        assert len(scores[state]["tonal_fraction"]) == 3
        windows = scores[state]["silent_windows"]["b"]
        assert set(windows) == set(SOURCES)
        assert (windows["vocals"]["windows"], windows["vocals"]["silent"]) == (3, True)
        assert (windows["drums"]["windows"], windows["drums"]["silent"]) == (1, False)
        assert windows["vocals"]["tones_db"] > -100
        unusual = scores[state]["unusual"]
        assert set(unusual) == {"noise", "sweep", "voice", "quiet song"}
        assert unusual["noise"]["level_db"] == pytest.approx(0, abs=0.01)
        assert unusual["quiet song"]["level_db"] == pytest.approx(-14, abs=0.1)
        assert unusual["noise"]["frequencies"] == 8
    assert scores["trained"] != scores["untrained"]


def test_scores_are_kept_until_the_model_is_newer(exp_dir):
    measure_experiments([exp_dir], exp_dir.parent / "set", exp_dir.parent / "wav", progress=False)
    path = exp_dir / "artifacts.json"
    first = path.stat().st_mtime_ns
    measure_experiments([exp_dir], exp_dir.parent / "set", exp_dir.parent / "wav", progress=False)
    assert path.stat().st_mtime_ns == first
    path.write_text("{}")
    measure_experiments([exp_dir], exp_dir.parent / "set", exp_dir.parent / "wav", progress=False)
    assert "trained" in json.loads(path.read_text())


def test_an_experiment_without_a_model_is_named(exp_dir):
    (exp_dir / "best_model.pth").unlink()
    with pytest.raises(UsageError, match="best_model.pth"):
        measure_experiments(
            [exp_dir], exp_dir.parent / "set", exp_dir.parent / "wav", progress=False
        )


def test_unusual_sounds_are_as_said(exp_dir, tmp_path):
    (song,) = find_songs(tmp_path / "set", "test", RATE)
    sounds = unusual_sounds(RATE, song)
    assert all(sound.shape == (2, 6 * RATE) for sound in sounds.values())
    rms = {name: float(sound.square().mean().sqrt()) for name, sound in sounds.items()}
    assert rms["noise"] == pytest.approx(1, abs=0.01)
    assert rms["sweep"] == pytest.approx(1, abs=0.01)
    assert rms["quiet song"] < 0.5
