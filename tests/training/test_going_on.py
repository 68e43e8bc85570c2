"""A training goes on where it was, in any folder, with what is left of its files."""

import errno
import shutil
import subprocess
import sys

import pytest
import soundfile
import torch

from asteroid_upsamplers import files
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.files import LOCK
from asteroid_upsamplers.training import (
    LearningCurve,
    SeparationSystem,
    best_so_far,
    learning_curve,
    newest_checkpoint,
)
from asteroid_upsamplers.training.same_songs import SONGS
from tests.training.recipe import (
    assert_same_training,
    best_weights,
    checkpoint,
    curve,
    summary,
    train,
)


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


@pytest.mark.parametrize("finished", [True, False])
def test_an_experiment_has_the_same_songs_from_start_to_end(
    songs, alone, tmp_path, caplog, finished
):
    """Of a set that was moved, in wav or flac; whether or not it is trained already."""
    exp_dir, other = tmp_path / "exp", tmp_path / "other" / songs.name
    shutil.copytree(alone, exp_dir)
    epochs = 3 if finished else 4
    shutil.copytree(songs, other)
    song = other / "train" / "train 1"
    for path in sorted(song.iterdir()):
        soundfile.write(path.with_suffix(".flac"), *soundfile.read(path))
        path.unlink()
    noted = (exp_dir / SONGS).read_text()
    (exp_dir / SONGS).write_text('{"train 1": 0}')  # damaged, as good as none
    if finished:
        train(other, exp_dir, "--epochs", epochs)
        assert (exp_dir / SONGS).read_text() == noted
    else:
        (exp_dir / SONGS).write_text(noted)
    vocals, rate = soundfile.read(song / "vocals.flac")
    soundfile.write(song / "vocals.flac", vocals[::-1], rate)
    with pytest.raises(UsageError, match="train 1: vocals sounds different.: choose another --tag"):
        train(other, exp_dir, "--epochs", epochs)
    shutil.rmtree(song)  # others are validated on then
    with pytest.raises(UsageError, match=r"\(train 1 is missing\): choose another --tag"):
        train(other, exp_dir, "--epochs", epochs)
    assert (exp_dir / SONGS).read_text() == noted and checkpoint(exp_dir)["epoch"] == 2
