"""Devices and processes are those that were asked for, and the commit is our own."""

import subprocess

import pytest
import torch

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.separation import visible_gpus
from asteroid_upsamplers.training import devices_and_nodes, load_config, possible_trainer, results
from tests.training.recipe import CONF, script


@pytest.fixture
def gpus(monkeypatch):
    """Sets how many GPUs torch finds, and which were asked for."""

    def found(number, asked):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: number)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)

    return found


def test_gpus_that_are_named_are_there(gpus):
    for number, asked in ((0, ""), (0, "-1"), (1, "3"), (2, "0,1"), (2, "GPU-1a,GPU-2b")):
        gpus(number, asked)
        assert visible_gpus() == number
    for number, asked in ((0, "7"), (1, "0,7"), (0, "cuda")):
        gpus(number, asked)
        with pytest.raises(UsageError, match=f"is '{asked}', but torch finds {number} of these"):
            devices_and_nodes(load_config(CONF))


TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "4"}
SLURM = {"NTASKS": "2", "JOB_NAME": "x", "JOB_ID": "1", "NNODES": "1", "NTASKS_PER_NODE": "2"}
SLURM |= {"PROCID": "0", "LOCALID": "0", "NODEID": "0"}


def test_processes_that_were_started_are_those_of_the_configuration(monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert devices_and_nodes(load_config(CONF)) == (2, 2)
    assert devices_and_nodes(load_config(CONF, devices="2", num_nodes="2")) == (2, 2)
    for options in ({"devices": "4"}, {"num_nodes": "3"}):
        with pytest.raises(UsageError, match=r"torchrun started 2 process\(es\) on 2 machine"):
            devices_and_nodes(load_config(CONF, **options))


@pytest.mark.parametrize(
    "variables", [{"WORLD_SIZE": "2", "RANK": "0"}, {"RANK": "1"}, {"NODE_RANK": "1"}], ids=str
)
def test_variables_that_contradict_the_configuration_are_named(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=" in the environment, but this is a training in 1 proc"):
        devices_and_nodes(load_config(CONF))


@pytest.mark.parametrize(
    ("variables", "options", "message"),
    [
        (SLURM, {}, "devices=1.*does not match.*SLURM_NTASKS"),
        (SLURM | {"NNODES": "3"}, {"devices": "2"}, "num_nodes=1.*does not match"),
        ({"NTASKS": "2"}, {}, "--ntasks=2.*SLURM_NTASKS"),
        ({}, {"precision": "16-mixed"}, "16-mixed: needs a GPU"),
    ],
)
def test_what_lightning_cannot_start_is_one_line(
    tmp_path, monkeypatch, variables, options, message
):
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    conf = load_config(CONF, **options)
    with pytest.raises(UsageError, match=message) as caught, possible_trainer(conf):
        script().make_trainer(conf, tmp_path)
    assert "\n" not in str(caught.value)


def test_the_commit_is_that_of_our_own_checkout(tmp_path, monkeypatch):
    """Not of a repository in which the package happens to be installed, nor of ``GIT_DIR``."""

    def git(*words):
        user = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", tmp_path, *user, *words], check=True, capture_output=True)

    ours = tmp_path / "asteroid_upsamplers" / "training" / "results.py"
    installed = tmp_path / "site-packages" / "asteroid_upsamplers" / "training" / "results.py"
    for path in (ours, installed):
        path.parent.mkdir(parents=True)
        path.write_text("1")

    def commit_of(path):
        monkeypatch.setattr(results, "__file__", str(path))
        return results.provenance()["commit"]

    git("init")
    assert commit_of(ours) == "unknown"
    git("add", ".")
    git("commit", "-m", "x")
    commit = commit_of(ours)
    assert len(commit) == 12 and commit_of(installed) == "unknown"
    ours.write_text("2")
    assert commit_of(ours) == f"{commit}-dirty"
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    assert commit_of(tmp_path.parent / "elsewhere" / "training" / "results.py") == "unknown"
