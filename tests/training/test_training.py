"""Training: it learns, goes on exactly where it was, and says what it cannot use."""

import errno
import itertools
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable

import pytest
import scipy.signal
import torch
from asteroid.models import BaseModel

from asteroid_upsamplers import files
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.files import LOCK
from asteroid_upsamplers.models import DemucsLike
from asteroid_upsamplers.training import (
    LOSSES,
    LearningCurve,
    SeparationSystem,
    SongSegments,
    best_so_far,
    build_model,
    learning_curve,
    load_config,
    newest_checkpoint,
    sizes,
)
from asteroid_upsamplers.training.memory import _saved_bytes, saved_bytes
from tests.training.recipe import (
    CONF,
    LOCAL,
    RATE,
    RECIPE,
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
        *("best_model.pth", "training.json"),
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


def test_the_best_epoch_is_kept_also_in_a_folder_that_was_moved(songs, tmp_path):
    words = ("--valid_every", 2, "--lr", 0.01)
    train(songs, tmp_path / "here", "--epochs", 4, *words)
    moved = (tmp_path / "here").rename(tmp_path / "moved")
    state = checkpoint(moved)
    state["optimizer_states"][0]["param_groups"][0]["lr"] = 0.5  # from here on it gets worse
    torch.save(state, moved / "checkpoints" / "last.ckpt")
    train(songs, moved, "--epochs", 8, *words)
    losses = {epoch: loss for epoch, (_, loss) in enumerate(curve(moved), 1) if loss is not None}
    assert sorted(losses) == [2, 4, 6, 8]
    best = min(losses, key=losses.get)
    assert best <= 4
    assert summary(moved)["best_epoch"] == best
    assert summary(moved)["best_val_loss"] == losses[best]


def spoil(system, what):
    """One number that is not finite, where nothing else would show it at once."""
    bias = next(p for name, p in system.model.named_parameters() if name.endswith("bias"))
    if what == "weight":
        bias.data[0] = -torch.inf  # a ReLU hides it
    elif what == "optimizer":
        system.optimizers().state[bias]["exp_avg_sq"][0] = torch.inf
    elif what == "loss":
        system.loss_func = lambda estimates, sources: estimates.sum() * torch.nan
    else:
        system.losses[:] = torch.nan


@pytest.mark.parametrize(
    ("hook", "what", "said"),
    [
        ("on_train_epoch_start", "loss", "loss is nan"),
        ("on_before_zero_grad", "weight", "weight.model.*bias has NaN"),
        ("on_before_zero_grad", "optimizer", "optimizer.*exp_avg_sq has NaN"),
        ("on_validation_epoch_end", "val_loss", "val_loss is nan"),
    ],
)
def test_what_is_not_finite_ends_a_training(
    songs, alone, tmp_path, monkeypatch, caplog, hook, what, said
):
    """At its epoch; all that was written is of the epoch before, from where it can go on."""
    before = getattr(SeparationSystem, hook)

    def spoiled(system, *args):
        if system.current_epoch == 1:
            spoil(system, what)
        return before(system, *args)

    with monkeypatch.context() as spoiling:
        spoiling.setattr(SeparationSystem, hook, spoiled)
        with pytest.raises(UsageError, match=f"epoch 2: .*{said}.*lower optim.lr") as caught:
            train(songs, tmp_path / "exp", "--epochs", 3)
    assert "\n" not in str(caught.value)
    assert "validation: the loss of" in caplog.text or what != "val_loss"
    written = {name: checkpoint(tmp_path / "exp", name)["epoch"] for name in ("last", "best")}
    assert written == {"last": 0, "best": 0}
    assert len(curve(tmp_path / "exp")) == 1 and not (tmp_path / "exp" / "best_model.pth").exists()
    train(songs, tmp_path / "exp", "--epochs", 1)  # what a user can do with the epochs before
    assert best_weights(tmp_path / "exp").isfinite().all()
    train(songs, tmp_path / "exp", "--epochs", 3)
    assert_same_training(tmp_path / "exp", alone, exact=True)


def test_what_is_not_finite_is_found_where_nothing_is_validated(songs, tmp_path):
    words = ("--optimizer", "sgd", "--lr", 1e12, "--epochs", 3, "--valid_every", 2)
    with pytest.raises(UsageError, match="epoch 1: loss is (nan|inf), weight.* has NaN"):
        train(songs, tmp_path / "exp", *words)
    assert not list((tmp_path / "exp").rglob("*.pth")) + list((tmp_path / "exp").rglob("*.ckpt"))


class Payload:
    """Its pickle makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


DAMAGES = ["truncated", "one bit", "pickle", "something else", "NaN"]


def damage(last, kind, mark):
    """Spoil a checkpoint; code in it would make the file ``mark``."""
    if kind == "truncated":
        last.write_bytes(last.read_bytes()[:5000])
    elif kind == "one bit":
        content = bytearray(last.read_bytes())
        content[len(content) // 2] ^= 1
        last.write_bytes(content)
    elif kind == "pickle":
        torch.save({**torch.load(last), "note": Payload(str(mark))}, last)
    elif kind == "NaN":
        content = torch.load(last)
        next(iter(content["state_dict"].values()))[0] = torch.nan
        torch.save(content, last)
    else:
        torch.save({"weights": torch.zeros(3)}, last)


@pytest.mark.parametrize("kind", DAMAGES)
def test_behind_a_bad_checkpoint_is_the_previous_one(songs, alone, tmp_path, kind, caplog):
    """The epoch is trained again, and the end is that of an unbroken run."""
    shutil.copytree(alone, tmp_path / "exp")
    last, mark = tmp_path / "exp" / "checkpoints" / "last.ckpt", tmp_path / "mark"
    damage(last, kind, mark)
    folder = last.parent
    assert newest_checkpoint(folder, epochs=3) == folder / "previous.ckpt"
    assert "last.ckpt: " in caplog.text and "going on from" in caplog.text
    if kind == "one bit":
        (tmp_path / "exp" / "training.json").unlink()  # as if it had been stopped
        train(songs, tmp_path / "exp", "--epochs", 3)
        assert_same_training(tmp_path / "exp", alone, exact=True)
    else:
        damage(folder / "previous.ckpt", kind, mark)
        with pytest.raises(UsageError, match=r"last\.ckpt: .*delete it") as caught:
            newest_checkpoint(folder, epochs=3)
        assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_after_a_full_disk_it_goes_on(alone, songs, tmp_path, monkeypatch):
    """torch says "unexpected pos" where it means that the disk is full."""

    def save(*args):
        raise RuntimeError("unexpected pos 7744576 vs 7744464")

    def write(path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as full:
        full.setattr(torch, "save", save)
        full.setattr(files, "_write_more", write)
        with pytest.raises(OSError, match="No space left"):
            train(songs, tmp_path / "exp", "--epochs", 3)
    assert not list(tmp_path.rglob("*.ckpt*"))
    train(songs, tmp_path / "exp", "--epochs", 3)
    assert_same_training(tmp_path / "exp", alone, exact=True)


def test_a_folder_holds_one_run_at_a_time(songs, alone, tmp_path):
    """The lock of a process that died is no hindrance."""
    script = "import sys, time; from filelock import FileLock; lock = FileLock(sys.argv[1]); "
    script += "lock.acquire(); print('held', flush=True); time.sleep(600)"
    (tmp_path / "exp").mkdir()
    words = [sys.executable, "-c", script, str(tmp_path / "exp" / LOCK)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match="exp: another run is at work here"):
            train(songs, tmp_path / "exp")
        other.kill()
    train(songs, tmp_path / "exp", "--epochs", 1)


def test_out_of_memory_names_the_settings_to_lower(songs, tmp_path, monkeypatch):
    def forward(self, mixture):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has")

    monkeypatch.setattr(DemucsLike, "forward", forward)
    with pytest.raises(UsageError, match=r"raise training\.accumulate \(1\) or set") as caught:
        train(songs, tmp_path / "exp")
    assert "\n" not in str(caught.value)


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


@pytest.mark.parametrize("lost", ["best_model.pth", "best.ckpt", "curve", "curve's end"])
def test_what_is_lost_of_a_finished_training_is_made_from_the_rest(alone, tmp_path, lost):
    """Without any songs, in another place; a run of more epochs knows the best one, too."""
    exp_dir = tmp_path / "copy"
    shutil.copytree(alone, exp_dir)
    path = exp_dir / "checkpoints" / lost if lost == "best.ckpt" else exp_dir / lost
    if lost.startswith("curve"):
        path = exp_dir / "learning_curve.json"
        path.write_text(path.read_text()[: 50 if lost == "curve's end" else 0])
        (exp_dir / "training.json").write_text("{")
    else:
        path.unlink()
    best, losses = best_so_far(exp_dir), dict(enumerate(loss for _, loss in curve(alone)))
    assert best["val_loss"] == losses[best["epoch"]] == min(losses.values())
    assert learning_curve(exp_dir) == learning_curve(alone)
    train(tmp_path / "not there", exp_dir, "--epochs", 3)
    assert torch.equal(best_weights(exp_dir), best_weights(alone))
    same = summary(exp_dir)
    assert [same[key] for key in KEYS] == [summary(alone)[key] for key in KEYS]


KEYS = ("epochs", "best_epoch", "best_val_loss", "seconds_per_epoch", "parameters")


def test_checkpoints_as_often_as_asked_for(songs, alone, tmp_path):
    """Ended between two, a run repeats the epochs behind the last; the end has one of its own."""
    end, before = [], LearningCurve.on_train_epoch_end

    def epoch_end(self, trainer, system):
        before(self, trainer, system)
        end.append(trainer.current_epoch)
        if end == [0, 1, 2]:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as ending:
        ending.setattr(LearningCurve, "on_train_epoch_end", epoch_end)
        with pytest.raises(KeyboardInterrupt):
            train(songs, tmp_path / "exp", "--epochs", 3, "--checkpoint_every", 2)
        assert checkpoint(tmp_path / "exp")["epoch"] == 1
        train(songs, tmp_path / "exp", "--epochs", 3, "--checkpoint_every", 2)
    assert end == [0, 1, 2, 2]
    assert_same_training(tmp_path / "exp", alone, exact=True)
    assert checkpoint(tmp_path / "exp", "previous")["epoch"] == 1
    for name in ("last", "previous"):
        (tmp_path / "exp" / "checkpoints" / f"{name}.ckpt").unlink()
    with pytest.raises(UsageError, match=r"neither last.ckpt nor previous.ckpt to go on from"):
        train(songs, tmp_path / "exp", "--epochs", 5)


def test_a_finished_training_needs_no_songs(songs, alone, tmp_path, caplog):
    with caplog.at_level("INFO"):
        train(tmp_path / "not there", alone, "--epochs", 3)
    assert "trained already" in caplog.text
    with pytest.raises(UsageError, match="another experiment .model.channels 4 -> 5"):
        train(songs, alone, "--epochs", 3, "--channels", 5)


def test_a_dry_run_says_what_a_run_finds(songs, alone, capsys):
    train(songs, alone, "--epochs", 3, "--dry_run")
    words = capsys.readouterr().out
    assert f"model: DemucsLike, {summary(alone)['parameters']:,} parameters" in words
    assert f"{checkpoint(alone)['global_step']:,} in all 3 epochs, each of 4 segments" in words
    assert "2 songs to train on" in words and "2 to validate on" in words


def test_the_disk_that_a_run_writes_is_what_the_dry_run_says(alone):
    conf = load_config(alone / "conf.yml")
    tensors = leaves(checkpoint(alone, part) for part in ("last", "previous", "best"))
    files = sum(tensor.nbytes for tensor in tensors)
    model = sum(tensor.nbytes for tensor in leaves(checkpoint(alone, "best")))
    assert sizes(conf).kept == pytest.approx(files + model, rel=1e-3)
    full = sizes(load_config(CONF))
    said = (
        f"{full.kept / 2**30:.1f} GB of checkpoints and models, and {full.checkpoint / 2**30:.1f}"
    )
    assert said in (RECIPE / "README.md").read_text()


def leaves(content):
    """All tensors in nested containers."""
    if isinstance(content, torch.Tensor):
        return [content]
    parts = content.values() if isinstance(content, dict) else content
    if isinstance(content, (str, bytes)) or not isinstance(parts, Iterable):
        return []
    return [tensor for part in parts for tensor in leaves(part)]


@pytest.mark.parametrize(
    ("options", "weights", "segment"),
    [
        ({}, 16, 4),  # bytes: weight, gradient and two moments; an activation
        ({"ema": "0.9"}, 20, 4),
        ({"optimizer": "sgd"}, 8, 4),
        ({"precision": "bf16-mixed"}, 18, 2),
        ({"precision": "bf16-true"}, 8, 2),
    ],
    ids=str,
)
def test_memory_follows_precision_and_optimizer(options, weights, segment):
    conf = load_config(CONF, channels="4", segment="1", **options)
    size, plain = sizes(conf), load_config(CONF, channels="4", segment="1")
    parameters = sum(p.numel() for p in build_model(conf).parameters())
    assert size.weights == pytest.approx(weights * parameters)
    assert size.segment == pytest.approx(segment / 4 * sizes(plain).segment)


def test_activations_are_counted_on_shapes_alone():
    """As on real tensors, but for the LSTM, which keeps other ones there."""
    conf = load_config(CONF, channels="16", depth="5")
    counted = saved_bytes(conf, 44100)
    assert counted == pytest.approx(_saved_bytes(conf, 44100, "cpu"), rel=0.2)
    assert saved_bytes(conf, 88200) == pytest.approx(2 * counted, rel=0.1)


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
