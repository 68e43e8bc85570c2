"""One of two processes that train together is killed, or cannot go on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from asteroid_upsamplers.training.curve import learning_curve
from tests.faults.recipe import sessions, wait_until
from tests.training.distributed import (
    ENVIRONMENT,
    PYTHON,
    TRAIN,
    assert_same_training,
    train,
    write_experiment,
)

pytestmark = pytest.mark.faults

EPOCHS = 6


@pytest.fixture(scope="module")
def conf(tmp_path_factory):
    return write_experiment(tmp_path_factory.mktemp("ranks"), epochs=EPOCHS)


@pytest.fixture(scope="module")
def alone(conf):
    train(conf, conf.parent / "alone")
    return conf.parent / "alone"


def pid_of(rank, exp_dir):
    """Of the process of this rank that trains there."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            environment = (path / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"RANK={rank}".encode() in environment and str(exp_dir).encode() in words:
            return int(path.name)
    return None


@pytest.mark.parametrize("rank", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_killed_rank_is_started_again(conf, alone, tmp_path, rank):
    exp_dir = tmp_path / "t" / "transposed"
    words = ["bash", TRAIN.with_name("run.sh"), "--python", sys.executable]
    words += ["--torchrun", "--nproc_per_node 2 --max_restarts 1"]
    words += ["--musdb18_dir", conf.parent / "set", "--data_root", conf.parent / "data"]
    words += ["--exp_root", tmp_path, "--tag", "t", "--stage", "1", "--stop_stage", "1"]
    words += ["--", "--conf", conf]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        wait_until((exp_dir / "checkpoints" / "last.ckpt").exists)
        assert len(learning_curve(exp_dir)) < EPOCHS
        os.kill(pid_of(rank, exp_dir), signal.SIGKILL)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert_same_training(exp_dir, alone)
    _, second = sorted((exp_dir / "logs" / "csv").glob("version_*/metrics.csv"))
    epochs = set(pd.read_csv(second)["epoch"])
    assert len(epochs) < EPOCHS and max(epochs) == EPOCHS - 1  # it went on, not all over again


@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_rank_that_cannot_go_on_takes_the_others_along(tmp_path, rank):
    """Here, as the song that it validates on cannot be read any more."""
    conf = write_experiment(tmp_path, epochs=50)
    exp_dir = tmp_path / "exp"
    words = [*PYTHON, str(TRAIN), "--conf", str(conf), "--exp_dir", str(exp_dir), "--devices", "2"]
    song = tmp_path / "set" / "train" / ("train 3", "train 1")[rank]  # the longest one first
    with subprocess.Popen(
        words,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
    ) as process:
        wait_until((exp_dir / "checkpoints" / "last.ckpt").exists)
        (song / "bass.wav").write_bytes(b"torn")
        _, errors = process.communicate(timeout=120)
    assert process.returncode not in (0, None), errors
    assert f"error: {song / 'bass.wav'}: cannot be read" in errors
    wait_until(lambda: process.pid not in sessions().values())
