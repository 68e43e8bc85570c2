"""Training: it learns, resumes exactly, and refuses what it cannot use."""

import copy
import errno
import itertools
import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from asteroid.models import BaseModel
from filelock import FileLock

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.files import LOCK
from asteroid_upsamplers.models import DemucsLike
from asteroid_upsamplers.training import (
    build_model,
    dry_run,
    fit,
    forecast,
    is_finished,
    load_config,
)
from asteroid_upsamplers.training.checkpoints import WholeCheckpoints
from asteroid_upsamplers.training.curve import CURVE, learning_curve
from asteroid_upsamplers.training.forecast import saved_bytes
from asteroid_upsamplers.training.loaders import make_loaders
from asteroid_upsamplers.training.processes import Processes, planned_processes, strategy_of
from asteroid_upsamplers.training.system import SeparationSystem
from tests.conftest import RATE, write_song
from tests.models.test_demucs_like import Payload
from tests.training.test_config import CONF


@pytest.fixture
def conf(song_set):
    conf = load_config(CONF)
    conf["data"].update(
        musdb18_dir=str(song_set),
        wav_dir=str(song_set.parent / "wav"),
        sample_rate=RATE,
        segment=0.5,
        num_workers=0,
    )
    conf["data"]["segment_stride"] = 0.1
    conf["augmentation"]["shift"] = 0.2
    conf["model"].update(channels=4, depth=3)
    conf["optim"]["lr"] = 0.003
    conf["training"].update(epochs=4, batch_size=4)
    conf["separation"]["chunk"] = 0.7
    return conf


def steps(exp_dir):
    """The loss of every logged step, over all runs."""
    tables = [pd.read_csv(p) for p in sorted((exp_dir / "logs" / "csv").glob("*/metrics.csv"))]
    return pd.concat(tables).dropna(subset="loss_step").set_index("step")["loss_step"]


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "ema"), [(0, 0), (1, 0), (0, 0.9)])
def test_two_and_two_epochs_are_four(conf, tmp_path, workers, ema):
    conf["data"]["num_workers"] = workers
    conf["training"]["ema"] = ema
    fit(conf, tmp_path / "whole")
    parts = copy.deepcopy(conf)
    parts["training"]["epochs"] = 2
    fit(parts, tmp_path / "parts")
    assert is_finished(parts, tmp_path / "parts")
    assert not is_finished(conf, tmp_path / "parts")
    fit(conf, tmp_path / "parts")

    whole, resumed = learning_curve(tmp_path / "whole"), learning_curve(tmp_path / "parts")
    assert [row["epoch"] for row in whole] == [0, 1, 2, 3]
    for name in ("loss_epoch", "val_loss"):
        trace = [row[name] for row in whole]
        assert [row[name] for row in resumed] == trace
        assert len(set(trace)) == 4
    assert steps(tmp_path / "parts").to_dict() == steps(tmp_path / "whole").to_dict()
    models = [torch.load(tmp_path / p / "best_model.pth")["state_dict"] for p in ("whole", "parts")]
    assert all(torch.equal(models[0][key], models[1][key]) for key in models[0])


def test_what_a_run_leaves_behind(conf, tmp_path):
    conf["training"]["epochs"] = 1
    fit(conf, tmp_path / "exp")
    names = {p.name for p in (tmp_path / "exp").iterdir()} - {LOCK}
    assert names == {"conf.yml", "checkpoints", CURVE, "logs", "best_model.pth", "training.json"}
    assert {p.name for p in (tmp_path / "exp" / "checkpoints").iterdir()} == {
        "best.ckpt",
        "last.ckpt",
    }
    assert list((tmp_path / "exp" / "logs" / "tensorboard").rglob("events*"))
    model = BaseModel.from_pretrained(str(tmp_path / "exp" / "best_model.pth"))
    assert model.normalize
    assert model.sample_rate == RATE
    (row,) = learning_curve(tmp_path / "exp")
    assert row["epoch_seconds"] > 0
    summary = json.loads((tmp_path / "exp" / "training.json").read_text())
    assert summary["parameters"] == sum(p.numel() for p in model.parameters())
    assert (summary["epochs"], summary["best_epoch"], summary["seed"]) == (1, 1, 42)
    assert summary["best_val_loss"] == row["val_loss"]
    before = (tmp_path / "exp" / "best_model.pth").stat().st_mtime_ns
    fit(conf, tmp_path / "exp")  # trained already
    assert (tmp_path / "exp" / "best_model.pth").stat().st_mtime_ns == before


@pytest.fixture
def plain(conf):
    """Extracts as they are, and the plainest optimizer."""
    conf["augmentation"].update(shift=0.0, flip_sign=False, flip_channels=False)
    conf["augmentation"].update(remix_group=1, gain_min=1.0, gain_max=1.0)
    conf["optim"].update(optimizer="sgd", lr=0.1)
    conf["training"]["epochs"] = 1
    return conf


@pytest.fixture
def weights(monkeypatch):
    """The model's parameters at the start and after every step, in one vector each."""
    trace = []

    def keep(system, *args):
        trace.append(torch.nn.utils.parameters_to_vector(system.model.parameters()).detach())

    monkeypatch.setattr(SeparationSystem, "on_train_start", keep)
    monkeypatch.setattr(SeparationSystem, "on_before_zero_grad", keep)
    return trace


def best_weights(exp_dir):
    model = BaseModel.from_pretrained(str(exp_dir / "best_model.pth"))
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach()


def test_a_batch_in_parts_is_the_batch(plain, tmp_path):
    fit(plain, tmp_path / "whole")
    plain["training"]["accumulate"] = 2
    fit(plain, tmp_path / "parts")
    whole, parts = best_weights(tmp_path / "whole"), best_weights(tmp_path / "parts")
    torch.testing.assert_close(parts, whole, atol=1e-6, rtol=1e-5)
    checkpoints = [
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)
        for name in ("whole", "parts")
    ]
    assert checkpoints[0]["global_step"] == checkpoints[1]["global_step"] > 3


def test_gradients_are_clipped_to_their_norm(plain, tmp_path, weights):
    plain["training"]["gradient_clip"] = 0.01
    fit(plain, tmp_path / "exp")
    moved = [float((b - a).norm()) for a, b in itertools.pairwise(weights) if not torch.equal(a, b)]
    assert len(moved) > 2
    assert moved == pytest.approx([0.1 * 0.01] * len(moved), rel=1e-3)


def test_the_moving_average_is_what_is_validated_and_kept(plain, tmp_path, weights):
    plain["training"]["ema"] = 0.75
    fit(plain, tmp_path / "exp")
    current = torch.load(tmp_path / "exp" / "checkpoints" / "last.ckpt", weights_only=True)
    name = str(tmp_path / "exp" / "best_model.pth")
    names = [f"model.{key}" for key, _ in BaseModel.from_pretrained(name).named_parameters()]
    last = torch.cat([current["current_model_state"][key].flatten() for key in names])
    trace = [b for a, b in itertools.pairwise([*weights, last]) if not torch.equal(a, b)]
    average = trace[0]
    for step in trace[1:]:
        average = 0.75 * average + 0.25 * step
    assert len(trace) > 3
    torch.testing.assert_close(best_weights(tmp_path / "exp"), average)
    assert not torch.allclose(average, trace[-1], atol=1e-5)


def test_out_of_memory_names_the_settings_to_lower(conf, tmp_path, monkeypatch):
    def forward(self, mixture):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has")

    monkeypatch.setattr(DemucsLike, "forward", forward)
    with pytest.raises(UsageError, match=r"raise training\.accumulate \(1\), set") as caught:
        fit(conf, tmp_path / "exp")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("batch", [1, 2])
def test_chunks_at_once_are_named_where_they_are_more_than_one(conf, tmp_path, monkeypatch, batch):
    def forward(self, mixture):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(DemucsLike, "forward", forward)
    conf["separation"]["batch"] = batch
    with pytest.raises(UsageError) as caught:
        fit(conf, tmp_path / "exp")
    assert ("separation.batch (2)" in str(caught.value)) == (batch == 2)


def test_validation_in_batches_of_chunks_is_the_same(conf, tmp_path, monkeypatch):
    forward, sizes, losses = DemucsLike.forward, {}, {}
    conf["training"]["epochs"] = 1
    for batch in (1, 3):
        seen = sizes.setdefault(batch, [])

        def watched(self, mixture, seen=seen):
            if not torch.is_grad_enabled():
                seen.append(mixture.shape[::2])
            return forward(self, mixture)

        monkeypatch.setattr(DemucsLike, "forward", watched)
        conf["separation"]["batch"] = batch
        fit(conf, tmp_path / str(batch))
        (row,) = learning_curve(tmp_path / str(batch))
        losses[batch] = row["val_loss"]
    chunk = round(0.7 * RATE)  # two songs of 2 s: three whole chunks and a shorter one
    assert sizes[1] == [(1, chunk)] * 3 + [(1, 2 * RATE - 3 * (chunk - chunk // 4))] + sizes[1][4:]
    assert sizes[3] == [(3, chunk), sizes[1][3], *sizes[3][2:]]
    assert len(sizes[1]) == 8 and len(sizes[3]) == 4
    assert losses[3] == pytest.approx(losses[1], rel=1e-5)


def test_two_runs_in_one_folder_are_refused(conf, tmp_path):
    """While another process trains there; once it is dead, its lock is no hindrance."""
    conf["training"]["epochs"] = 1
    script = "import sys, time; from filelock import FileLock; "
    script += (
        "lock = FileLock(sys.argv[1]); lock.acquire(); print('held', flush=True); time.sleep(600)"
    )
    (tmp_path / "exp").mkdir()
    words = [sys.executable, "-c", script, str(tmp_path / "exp" / LOCK)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "held\n"
            with pytest.raises(UsageError, match="exp: another run is at work here"):
                fit(conf, tmp_path / "exp")
        finally:
            other.kill()
    fit(conf, tmp_path / "exp")
    assert (tmp_path / "exp" / "best_model.pth").exists()


def test_a_file_system_without_locks_is_no_hindrance(conf, tmp_path, monkeypatch, caplog):
    def acquire(*args, **settings):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(FileLock, "acquire", acquire)
    conf["training"]["epochs"] = 1
    fit(conf, tmp_path / "exp")
    assert "no locks on this file system" in caplog.text
    assert (tmp_path / "exp" / "best_model.pth").exists()


@pytest.mark.parametrize("accumulate", [2, 3, 8])
def test_a_batch_that_cannot_be_divided_is_refused(conf, tmp_path, accumulate):
    """Into whole groups, too: in smaller ones another augmentation would be trained with."""
    conf["training"]["accumulate"] = accumulate
    allowed = f"allowed are multiples of {4 * accumulate}"
    with pytest.raises(UsageError, match=f"batch_size is 4, {allowed}"):
        fit(conf, tmp_path / "exp")


@pytest.mark.parametrize(
    ("gpus", "settings", "devices"),
    [
        (1, {}, 1),
        (4, {}, 4),
        (6, {}, 4),
        (8, {"accumulate": 2}, 4),
        (8, {"batch_size": 4}, 1),
        (8, {"devices": 3}, 3),
        (3, {"batch_size": 7}, 1),
        (0, {}, 1),
    ],
)
def test_as_many_gpus_as_share_a_batch_evenly(conf, monkeypatch, gpus, settings, devices):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    conf["training"].update({"batch_size": 32, **settings})
    assert planned_processes(conf).devices == devices


def test_several_machines_must_be_started_by_somebody(conf, tmp_path, monkeypatch):
    conf["training"]["num_nodes"] = 2
    with pytest.raises(UsageError, match="start it with torchrun or SLURM"):
        fit(conf, tmp_path / "exp")
    monkeypatch.setenv("NODE_RANK", "0")
    assert planned_processes(conf).world == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"ema": 0.9}, "training.ema"), ({"gradient_clip": 1.0}, "training.gradient_clip")],
    ids=str,
)
def test_what_fsdp_cannot_do_is_refused(conf, settings, message):
    conf["training"].update({"strategy": "fsdp", **settings})
    with pytest.raises(UsageError, match=f"{message} .* allowed is 0"):
        strategy_of(conf, build_model(conf), Processes("gpu", 2, 1))


def test_a_dry_run_says_what_fit_finds(conf, tmp_path):
    conf["training"].update(epochs=2, accumulate=2)
    conf["augmentation"]["remix_group"] = 2
    words = dry_run(conf)
    assert not (tmp_path / "exp").exists()
    fit(conf, tmp_path / "exp")
    summary = json.loads((tmp_path / "exp" / "training.json").read_text())
    last = torch.load(tmp_path / "exp" / "checkpoints" / "last.ckpt", weights_only=True)
    assert f"model: DemucsLike, {summary['parameters']:,} parameters" in words
    assert f"{last['global_step']:,} in all 2 epochs, each of 4 segments" in words
    assert "1 songs to train on (0.00 h), 2 songs to validate on" in words
    conf["training"].update(accumulate=1, devices=2)  # a step is a step, whoever shares it
    shared = dry_run(conf)
    assert [line.split(", each of")[0] for line in shared.splitlines()[2:]] == [
        line.split(", each of")[0] for line in words.splitlines()[2:]
    ]


def test_activations_are_counted_without_numbers(conf):
    """On shapes alone as on real tensors, but for the LSTM, which keeps other ones there."""
    conf["model"].update(channels=16, depth=5)
    counted = saved_bytes(conf, 44100)
    assert counted == pytest.approx(forecast._saved_bytes(conf, 44100, "cpu"), rel=0.2)
    assert saved_bytes(conf, 88200) == pytest.approx(2 * counted, rel=0.1)


def test_batches_see_every_song_at_level_one(conf):
    processes = planned_processes(conf)
    train_loader, val_loader = make_loaders(conf, processes)
    for _, song in val_loader:
        assert song.sum(0).mean(0).std().item() == pytest.approx(1, rel=1e-3)
    assert next(iter(train_loader)).shape == (4, 4, 2, round(0.7 * RATE))
    conf["model"]["normalize"] = False
    _, song = next(iter(make_loaders(conf, processes)[1]))
    assert song.abs().max() < 0.21


KINDS = ["truncated", "flipped", "text", "pickle", "other"]


def damage(last, kind, mark):
    if kind == "truncated":
        last.write_bytes(last.read_bytes()[:5000])
    elif kind == "flipped":
        content = bytearray(last.read_bytes())
        content[len(content) // 2] ^= 1
        last.write_bytes(content)
    elif kind == "text":
        last.write_text("not a checkpoint")
    elif kind == "pickle":
        checkpoint = torch.load(last)
        torch.save({**checkpoint, "note": Payload(str(mark))}, last)
    else:
        torch.save({"weights": torch.zeros(3)}, last)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_checkpoint_is_refused_in_one_line(conf, tmp_path, kind):
    conf["training"]["epochs"] = 1
    fit(conf, tmp_path / "exp")
    last, mark = tmp_path / "exp" / "checkpoints" / "last.ckpt", tmp_path / "mark"
    damage(last, kind, mark)
    conf["training"]["epochs"] = 2
    with pytest.raises(UsageError, match=r"last\.ckpt: .*delete it") as caught:
        fit(conf, tmp_path / "exp")
    assert "\n" not in str(caught.value)
    assert not mark.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_behind_a_bad_checkpoint_is_the_previous_one(conf, tmp_path, kind, caplog):
    """The epoch is trained again, and the end is that of an unbroken run."""
    conf["training"]["epochs"] = 3
    fit(conf, tmp_path / "whole")
    conf["training"]["epochs"] = 2
    fit(conf, tmp_path / "exp")
    last, mark = tmp_path / "exp" / "checkpoints" / "last.ckpt", tmp_path / "mark"
    damage(last, kind, mark)
    conf["training"]["epochs"] = 3
    caplog.clear()
    fit(conf, tmp_path / "exp")
    (warning,) = [r.message for r in caplog.records if "last.ckpt" in r.message]
    assert warning.endswith("previous.ckpt")
    assert not mark.exists()
    assert torch.equal(best_weights(tmp_path / "exp"), best_weights(tmp_path / "whole"))
    assert [row["epoch"] for row in learning_curve(tmp_path / "exp")] == [0, 1, 2]


def test_the_best_epoch_is_kept_not_the_last(conf, tmp_path):
    conf["training"].update(epochs=5, valid_every=2)
    conf["optim"]["lr"] = 0.3  # so coarse that the loss goes up and down
    fit(conf, tmp_path / "exp")
    curve = {row["epoch"] + 1: row for row in learning_curve(tmp_path / "exp")}
    losses = {epoch: row["val_loss"] for epoch, row in curve.items() if "val_loss" in row}
    assert sorted(losses) == [2, 4]
    summary = json.loads((tmp_path / "exp" / "training.json").read_text())
    assert summary["best_epoch"] == min(losses, key=losses.get)
    last = torch.load(tmp_path / "exp" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["epoch"] == 4


def test_after_a_full_disk_it_goes_on(conf, tmp_path, monkeypatch):
    """torch says "unexpected pos" where it means that the disk is full."""

    def save(*args):
        raise RuntimeError("unexpected pos 7744576 vs 7744464")

    conf["training"]["epochs"] = 1
    with monkeypatch.context() as full:
        full.setattr(torch, "save", save)
        with pytest.raises(RuntimeError, match="unexpected pos"):  # there was room: our mistake
            fit(conf, tmp_path / "exp")
        full.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
        with pytest.raises(OSError, match="No space left") as caught:
            fit(conf, tmp_path / "exp")
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.rglob("*.ckpt*"))
    fit(conf, tmp_path / "exp")
    assert (tmp_path / "exp" / "best_model.pth").exists()


def test_the_curve_has_the_epochs_of_the_checkpoint(conf, tmp_path, monkeypatch):
    """Even if a run ends right behind a checkpoint, before anything is logged."""
    save = WholeCheckpoints.save_checkpoint

    def saves_and_dies(self, checkpoint, path, storage_options=None):
        save(self, checkpoint, path)
        if checkpoint["epoch"] == 1 and path.endswith("last.ckpt"):
            raise KeyboardInterrupt

    conf["training"]["epochs"] = 3
    fit(conf, tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(WholeCheckpoints, "save_checkpoint", saves_and_dies)
        with pytest.raises(KeyboardInterrupt):
            fit(conf, tmp_path / "exp")
    assert len(learning_curve(tmp_path / "exp")) == 2
    fit(conf, tmp_path / "exp")
    whole, resumed = learning_curve(tmp_path / "whole"), learning_curve(tmp_path / "exp")
    assert [row["epoch"] for row in resumed] == [0, 1, 2]
    for name in ("loss_epoch", "val_loss"):
        assert [row[name] for row in resumed] == [row[name] for row in whole]


def test_fewer_epochs_than_there_are_is_refused(conf, tmp_path):
    conf["training"]["epochs"] = 2
    fit(conf, tmp_path / "exp")
    (tmp_path / "exp" / "training.json").unlink()  # as if it had been stopped
    conf["training"]["epochs"] = 1
    with pytest.raises(UsageError, match=r"epochs is 1, but .*last\.ckpt has 2 already"):
        fit(conf, tmp_path / "exp")


def test_too_few_segments_for_a_batch(conf, tmp_path):
    conf["training"]["batch_size"] = 100
    with pytest.raises(UsageError, match="batch_size is 100, but there are"):
        fit(conf, tmp_path / "exp")


def test_short_songs_are_trained_on_all_the_same(conf, tmp_path, caplog):
    write_song(tmp_path / "set" / "train" / "a short one", seconds=0.3)
    conf["training"]["epochs"] = 1
    fit(conf, tmp_path / "exp")
    assert "a short one" in caplog.text
    assert (tmp_path / "exp" / "best_model.pth").exists()


def test_nan_in_a_song_stops_with_its_name(conf, tmp_path):
    import numpy as np

    samples = np.full((2 * RATE, 2), np.nan, np.float32)
    write_song(tmp_path / "set" / "train" / "broken", subtype="FLOAT", other=samples)
    with pytest.raises(UsageError, match=r"broken/other\.wav: holds NaN"):
        fit(conf, tmp_path / "exp")
