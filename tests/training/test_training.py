"""Training: it learns, goes on exactly where it was, and says what it cannot use."""

import itertools
import math
import os
import signal

import pytest
import scipy.signal
import torch
from asteroid.models import BaseModel

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.files import LOCK
from asteroid_upsamplers.training import (
    LOSSES,
    SeparationSystem,
    SongSegments,
    load_config,
)
from tests.training.recipe import (
    LOCAL,
    RATE,
    SMALL,
    assert_same_training,
    best_weights,
    checkpoint,
    curve,
    family,
    started,
    summary,
    train,
    wait_until,
)

PLAIN = ("--shift", 0, "--flip_sign", "false", "--flip_channels", "false", "--remix_group", 1)
PLAIN += ("--gain_min", 1, "--gain_max", 1, "--optimizer", "sgd", "--lr", 0.1, "--epochs", 1)
"""Segments as they are, and the plainest optimizer."""

SLURM_JOB = {"JOB_ID": "7", "JOB_NAME": "train", "NTASKS": "1", "NNODES": "1", "PROCID": "0"}
SLURM_JOB |= {"NTASKS_PER_NODE": "1", "NODEID": "0", "LOCALID": "0", "NODELIST": "localhost"}
SLURM_JOB = {f"SLURM_{name}": value for name, value in SLURM_JOB.items()}


def test_what_a_run_leaves_behind(alone):
    assert {p.name for p in alone.iterdir()} - {LOCK} == {
        *("conf.yml", "checkpoints", "learning_curve.json", "logs"),
        *("best_model.pth", "training.json", "train_songs.json"),
    }
    names = {p.name for p in (alone / "checkpoints").iterdir()}
    assert names == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    assert checkpoint(alone, "best").keys() == {"epoch", "val_loss", "state_dict"}
    assert checkpoint(alone, "best")["val_loss"] == summary(alone)["best_val_loss"]
    assert list((alone / "logs" / "tensorboard").rglob("events*"))
    losses = [loss for _, loss in curve(alone)]
    assert len(losses) == 3 and losses[2] < losses[0]
    figures = summary(alone)
    assert figures["best_epoch"] == 1 + losses.index(min(losses))
    assert figures["best_val_loss"] == min(losses)
    model = BaseModel.from_pretrained(str(alone / "best_model.pth"))
    assert model.normalize and model.sample_rate == RATE
    assert figures["parameters"] == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    "end",
    [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)],
    ids=["SIGTERM", "Ctrl-C"],
)
def test_ended_and_run_again_is_a_run_that_nothing_disturbed(songs, tmp_path, end):
    """Through the command line, with a process that reads and all that a checkpoint must hold.

    SIGTERM comes as SLURM sends it, to all processes of a job.
    """
    words = ("--epochs", 20, "--ema", 0.9, "--half_lr", 1, "--early_stop", 30, "--num_workers", 1)
    job = SLURM_JOB if end == signal.SIGTERM else {}
    with started(songs, tmp_path / "exp", *words, environment=job) as process:
        wait_until((tmp_path / "exp" / "checkpoints" / "last.ckpt").exists, process)
        os.killpg(process.pid, end)
        errors = process.communicate(timeout=60)[1]
    said, status = ("terminated", 143) if end == signal.SIGTERM else ("interrupted", 130)
    assert process.returncode == status, errors
    assert errors.splitlines()[-1] == f"{said}: run the same command again to go on"
    assert "Traceback" not in errors
    assert len(curve(tmp_path / "exp")) < 20
    train(songs, tmp_path / "exp", *words)
    train(songs, tmp_path / "whole", *words)
    assert_same_training(tmp_path / "exp", tmp_path / "whole", exact=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (signal.SIGKILL, 2, "error: a process that reads segments died"),
        (signal.SIGTERM, 143, "terminated: run the same command again to go on"),
    ],
)
def test_a_process_that_reads_dies(songs, tmp_path, number, status, said):
    """Of SIGTERM, which SLURM sends to all processes, it may be the first to hear."""
    with started(songs, tmp_path / "exp", "--epochs", 60, "--num_workers", 1) as process:
        wait_until((tmp_path / "exp" / "checkpoints" / "last.ckpt").exists, process)
        (reader,) = family(process)
        os.kill(reader, number)
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == status, errors
    assert errors.splitlines()[-1].startswith(said)
    assert "Traceback" not in errors


def test_a_batch_in_micro_batches_is_the_batch(songs, tmp_path):
    for name, more in {"whole": (), "parts": ("--accumulate", 2)}.items():
        train(songs, tmp_path / name, *PLAIN, *more)
    whole, parts = best_weights(tmp_path / "whole"), best_weights(tmp_path / "parts")
    torch.testing.assert_close(parts, whole, atol=1e-6, rtol=1e-5)
    steps = {checkpoint(tmp_path / name)["global_step"] for name in ("whole", "parts")}
    assert len(steps) == 1 and steps.pop() > 3


@pytest.fixture
def weights(monkeypatch):
    """The model's parameters at the start and after every step, in one vector each."""
    trace = []

    def keep(system, *args):
        trace.append(torch.nn.utils.parameters_to_vector(system.model.parameters()).detach())

    monkeypatch.setattr(SeparationSystem, "on_train_start", keep)
    monkeypatch.setattr(SeparationSystem, "on_before_zero_grad", keep)
    return trace


def test_gradients_are_clipped_to_their_norm(songs, tmp_path, weights):
    train(songs, tmp_path / "exp", *PLAIN, "--gradient_clip", 0.01)
    moved = [float((b - a).norm()) for a, b in itertools.pairwise(weights) if not torch.equal(a, b)]
    assert len(moved) > 2
    assert moved == pytest.approx([0.1 * 0.01] * len(moved), rel=1e-3)


def test_the_moving_average_is_what_is_validated_and_kept(songs, tmp_path, weights):
    train(songs, tmp_path / "exp", *PLAIN, "--ema", 0.75)
    model = BaseModel.from_pretrained(str(tmp_path / "exp" / "best_model.pth"))
    state = checkpoint(tmp_path / "exp")["current_model_state"]
    last = torch.cat([state[f"model.{name}"].flatten() for name, _ in model.named_parameters()])
    trace = [b for a, b in itertools.pairwise([*weights, last]) if not torch.equal(a, b)]
    average = trace[0]
    for step in trace[1:]:
        average = 0.75 * average + 0.25 * step
    assert len(trace) > 3
    torch.testing.assert_close(best_weights(tmp_path / "exp"), average)
    assert not torch.allclose(average, trace[-1], atol=1e-5)


@pytest.mark.parametrize(
    "option", ["checkpoint_activations", pytest.param("compile", marks=pytest.mark.slow)]
)
def test_what_saves_memory_or_time_changes_nothing(songs, alone, tmp_path, option):
    train(songs, tmp_path / "exp", "--epochs", 3, f"--{option}", "true")
    assert_same_training(tmp_path / "exp", alone)


def test_where_nothing_gets_better_the_rate_is_halved_and_training_stops(songs, tmp_path, caplog):
    """With steps too small to be seen; and what stopped by itself is finished."""
    words = ("--epochs", 50, "--optimizer", "sgd", "--lr", 1e-7, "--half_lr", 1, "--early_stop", 4)
    train(songs, tmp_path / "exp", *words)
    (group,) = checkpoint(tmp_path / "exp")["optimizer_states"][0]["param_groups"]
    losses = [loss for _, loss in curve(tmp_path / "exp")]
    worse = sum(loss >= min(losses[:n]) for n, loss in enumerate(losses) if n)
    halved = round(math.log2(1e-7 / group["lr"]))
    assert worse - 1 <= halved <= worse and halved > 0  # the last may come behind the checkpoint
    figures = summary(tmp_path / "exp")
    assert 5 <= figures["epochs"] < 12
    with caplog.at_level("INFO"):
        train(songs, tmp_path / "exp", *words)
    assert "trained already" in caplog.text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--accumulate 2", "batch_size is 4: must be a multiple of 8"),
        ("--batch_size 400", "batch_size is 400, but there are"),
        ("--num_nodes 2", "start it with torchrun or SLURM"),
        ("--sources [drums,violin]", "violin.wav: missing"),
        ("--gain_min 2", "gain"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_line(songs, tmp_path, words, message):
    with pytest.raises(UsageError, match=message):
        train(songs, tmp_path / "exp", *words.split())
    assert not (tmp_path / "exp" / "conf.yml").exists()


@pytest.mark.parametrize("name", sorted(p.name for p in (LOCAL / "models").iterdir()))
def test_every_system_trains(songs, tmp_path, name):
    """A step of its small size, on two of the sources."""
    files = [LOCAL / "models" / name / f"{size}.yml" for size in ("full", "small")]
    words = [w for path in files if path.exists() for w in ("--variant", path)]
    words += ["--sources", "[drums, vocals]", "--epochs", 1, "--segment_stride", 0.5]
    train(songs, tmp_path / "exp", *words, "--dry_run", settings=SMALL)
    train(songs, tmp_path / "exp", *words, "--num_workers", 0, settings=SMALL)
    model = BaseModel.from_pretrained(str(tmp_path / "exp" / "best_model.pth"))
    assert type(model).__name__ == name
    assert list(model.sources) == ["drums", "vocals"]
    conf = load_config(tmp_path / "exp" / "conf.yml")
    context = model.needed_context(4000)
    batch = next(iter(SongSegments(conf, context).train_dataloader()))
    assert batch.shape == (4, 2, 2, 4000 + 1600 + sum(context))
    assert (context == (0, 0)) == (name != "WaveUNet")


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_zero_for_the_sources_only(name):
    sources = torch.randn(2, 4, 2, 9000)
    assert LOSSES[name](sources, sources) == 0
    assert LOSSES[name](0.5 * sources, sources) > 0
    deaf_to_sign = bool(LOSSES[name](-sources, sources) == 0)
    assert deaf_to_sign is (name == "spectrogram_mse")


def test_the_spectrogram_loss_is_that_of_scipys_magnitudes():
    sources, estimates = torch.randn(2, 1, 2, 1, 9000, dtype=torch.float64)

    def magnitudes(x):
        window = scipy.signal.get_window("hann", 4096)
        settings = {"nperseg": 4096, "noverlap": 3072, "padded": False}
        *_, spectrum = scipy.signal.stft(x, window=window, **settings)
        return abs(spectrum * window.sum())

    expected = ((magnitudes(estimates.numpy()) - magnitudes(sources.numpy())) ** 2).mean()
    loss = LOSSES["spectrogram_mse"](estimates, sources)
    assert float(loss) == pytest.approx(expected, rel=1e-4)
