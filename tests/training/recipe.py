"""``train.py`` on four small songs, within the test's process or as a command of its own."""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from asteroid.models import BaseModel
from torch.nn.utils import parameters_to_vector

from tests.conftest import RATE, write_song

RECIPE = Path(__file__).parents[2] / "recipes" / "musdb18" / "DemucsUpsamplers"
LOCAL = RECIPE / "local"
CONF = LOCAL / "conf.yml"
TRAIN = RECIPE / "train.py"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(RECIPE.parents[2])}

SMALL = f"--sample_rate {RATE} --segment 0.5 --segment_stride 0.1 --shift 0.2 --batch_size 4"
TINY = f"{SMALL} --channels 4 --depth 3 --lr 0.003 --num_workers 0"
"""A network and segments with which an epoch takes a fraction of a second."""


def script():
    """The recipe's ``train.py`` as a module."""
    spec = importlib.util.spec_from_file_location("recipe_train", TRAIN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_songs(root):
    """Four songs to train on, no two as long, two of which are validated on; one to test."""
    for index in range(4):
        write_song(root / "train" / f"train {index}", seconds=1.5 + 0.5 * index, seed=index)
    write_song(root / "test" / "test", seconds=1.0, seed=10)
    return root


def options(songs, exp_dir, *more, settings=TINY):
    """The words of a command line."""
    where = ["--conf", CONF, "--musdb18_dir", songs, "--wav_dir", songs.parent / "wav"]
    return [str(w) for w in (*where, "--exp_dir", exp_dir, *settings.split(), *more)]


def train(songs, exp_dir, *more, **settings):
    """Train in this process; ``more`` are further options of ``train.py``."""
    script().main(options(songs, exp_dir, *more, **settings))


def started(songs, exp_dir, *more, start=(), inside=(), environment=None):
    """A process that trains, in a session of its own.

    ``start`` is what starts the script, ``inside`` what starts Python.
    """
    words = [*inside, sys.executable, *start, str(TRAIN), *options(songs, exp_dir, *more)]
    how = {"env": ENVIRONMENT | (environment or {}), "start_new_session": True, "text": True}
    return subprocess.Popen(words, stderr=subprocess.PIPE, **how)


def wait_until(condition, process=None, seconds=120):
    """Until something comes true, or a process ends without it."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        assert process is None or process.poll() is None, process.stderr.read()
        time.sleep(0.02)


def family(process):
    """Other processes that live, and were started by one or belong to its session, by age."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent, _, session = path.read_text().rpartition(")")[2].split()[:4]
            if str(process.pid) in (parent, session) and state != "Z":
                found.append(int(path.parent.name))
    return sorted(set(found) - {process.pid})


def curve(exp_dir):
    """The loss and the validation loss (or ``None``) of every epoch."""
    rows = json.loads((Path(exp_dir) / "learning_curve.json").read_text())
    assert [row["epoch"] for row in rows] == list(range(len(rows)))
    return [(row["loss_epoch"], row.get("val_loss")) for row in rows]


def summary(exp_dir):
    """The figures of a finished training."""
    return json.loads((Path(exp_dir) / "training.json").read_text())


def checkpoint(exp_dir, name="last"):
    """One of the training checkpoints."""
    return torch.load(Path(exp_dir) / "checkpoints" / f"{name}.ckpt", weights_only=True)


def best_weights(exp_dir):
    """Those of the model that an experiment leaves behind, in one vector."""
    model = BaseModel.from_pretrained(str(Path(exp_dir) / "best_model.pth"))
    return parameters_to_vector(model.parameters()).detach()


def assert_same_training(exp_dir, alone, exact=False):
    """The losses and the best weights of two trainings are the same, up to rounding or exactly."""
    close = {"rtol": 0, "atol": 0} if exact else {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(torch.tensor(curve(exp_dir)), torch.tensor(curve(alone)), **close)
    close = {"rtol": 0, "atol": 0 if exact else 1e-4}
    torch.testing.assert_close(best_weights(exp_dir), best_weights(alone), **close)
