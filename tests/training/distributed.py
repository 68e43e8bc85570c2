"""Training through its own script, in as many processes and on as many machines as a test wants."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
import yaml
from asteroid.models import BaseModel
from torch.nn.utils import parameters_to_vector

from asteroid_upsamplers.training import load_config
from asteroid_upsamplers.training.curve import learning_curve
from tests.conftest import RATE, write_song
from tests.training.test_config import CONF

TRAIN = CONF.parents[1] / "train.py"
PYTHON = [sys.executable, "-W", "ignore"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def write_experiment(folder, epochs=3, **training):
    """Four songs, no two as long, and a configuration that trains on them in seconds."""
    for index in range(4):
        write_song(folder / "set" / "train" / f"train {index}", seconds=2 + index, seed=index)
    for index in range(2):
        write_song(folder / "set" / "test" / f"test {index}", seed=10 + index)
    conf = load_config(CONF)
    conf["data"].update(musdb18_dir=str(folder / "set"), wav_dir=str(folder / "wav" / "set"))
    conf["data"].update(sample_rate=RATE, segment=0.5, segment_stride=0.1, num_workers=0)
    conf["augmentation"].update(shift=0.2, remix_group=2)
    conf["model"].update(channels=4, depth=3)
    conf["training"].update(epochs=epochs, batch_size=8, **training)
    conf["separation"]["chunk"] = 0.7
    (folder / "conf.yml").write_text(yaml.safe_dump(conf))
    return folder / "conf.yml"


def torchrun(*options):
    """How torchrun starts a script, on this machine unless the options say more."""
    return [*PYTHON, "-m", "torch.distributed.run", *options]


def train(conf, exp_dir, *options, start=PYTHON, script=TRAIN, timeout=300):
    """Run ``train.py`` to its end, which must be a good one."""
    command = [*start, str(script), "--conf", str(conf), "--exp_dir", str(exp_dir), *options]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env=ENVIRONMENT
    )
    assert result.returncode == 0, result.stderr
    return result.stderr


def losses(exp_dir):
    """What the learning curve holds of losses, an array of (epoch, loss and validation loss)."""
    rows = learning_curve(Path(exp_dir))
    assert [row["epoch"] for row in rows] == list(range(len(rows)))
    return np.array([[row["loss_epoch"], row["val_loss"]] for row in rows])


def best_weights(exp_dir):
    """Those of the model that an experiment leaves behind, in one vector."""
    model = BaseModel.from_pretrained(str(Path(exp_dir) / "best_model.pth"))
    return parameters_to_vector(model.parameters()).detach()


def assert_same_training(exp_dir, alone):
    """However many processes trained, the losses and the best weights are those of one."""
    found, expected = torch.from_numpy(losses(exp_dir)), torch.from_numpy(losses(alone))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(best_weights(exp_dir), best_weights(alone), rtol=0, atol=1e-4)
