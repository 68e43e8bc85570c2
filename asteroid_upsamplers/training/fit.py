"""Train one experiment, from its configuration to ``best_model.pth``."""

from __future__ import annotations

import contextlib
import json
import logging
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytorch_lightning as pl
import torch
from asteroid.engine.optimizers import make_optimizer
from filelock import FileLock, Timeout
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from torch.utils.data import DataLoader

from ..data import (
    Augment,
    Extracts,
    ExtractSampler,
    WholeSongs,
    songs_at_rate,
    split_validation,
)
from ..errors import UsageError
from ..files import whole_or_nothing
from .checkpoints import (
    LAST,
    WholeCheckpoints,
    load_checkpoint,
    newest_checkpoint,
    save_whole,
)
from .config import Config, build_model, save_config
from .curve import EpochSeconds, learning_curve
from .forecast import describe_run
from .losses import LOSSES
from .provenance import provenance
from .system import SeparationSystem

logger = logging.getLogger(__name__)

BEST_MODEL = "best_model.pth"
SUMMARY = "training.json"
LOCK = ".lock"


def fit(conf: Config, exp_dir: Path) -> None:
    """Train until ``training.epochs``, going on from the last checkpoint if there is one.

    Writes into ``exp_dir``: ``conf.yml``, ``checkpoints/{last,previous,best}.ckpt``, ``logs/``
    (TensorBoard and CSV, one version a run), and at the end ``best_model.pth`` and
    ``training.json``.

    Raises:
        UsageError: If the configuration, the songs or a checkpoint cannot be used, or if another
            run is training in ``exp_dir``.
    """
    # Gradients below 1e-38 come and go while a network learns, and halve the speed of a CPU. The
    # threads of later computations inherit the setting, so it comes first.
    torch.set_flush_denormal(True)
    exp_dir.mkdir(parents=True, exist_ok=True)
    with _alone_in(exp_dir):
        _fit(conf, exp_dir)


@contextlib.contextmanager
def _alone_in(exp_dir: Path) -> Iterator[None]:
    """Keep other runs out of a folder; the processes of one run come in behind the first."""
    if getattr(rank_zero_only, "rank", 0):
        yield
        return
    lock = FileLock(exp_dir / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"{exp_dir}: another run is training here; wait for its end, or choose another --tag"
        ) from None
    except NotImplementedError:
        logger.warning("%s: no locks on this file system, see that one run trains here", exp_dir)
    try:
        yield
    finally:
        lock.release()


def _fit(conf: Config, exp_dir: Path) -> None:
    seed = conf["training"]["seed"]
    pl.seed_everything(seed, workers=True)
    model = build_model(conf)
    context = model.needed_context(_samples(conf, "data", "segment"))
    train_loader, val_loader = _loaders(conf, context)
    save_config(conf, exp_dir)
    if is_finished(conf, exp_dir):
        logger.info("%s is trained already", exp_dir)
        return
    chunk = _samples(conf, "separation", "chunk")
    augmentation = {**conf["augmentation"], "shift": _samples(conf, "augmentation", "shift")}
    system = SeparationSystem(
        augment=Augment(**augmentation),
        seed=seed,
        context=context,
        chunk=chunk,
        overlap=int(conf["separation"]["overlap"] * chunk),
        model=model,
        optimizer=make_optimizer(model.parameters(), **conf["optim"]),
        loss_func=LOSSES[conf["training"]["loss"]],
        train_loader=train_loader,
        val_loader=val_loader,
        config=conf,
    )
    trainer, checkpoints = _trainer(conf, exp_dir, len(train_loader))
    last = newest_checkpoint(checkpoints)
    if last is not None:
        _go_on_from(last, conf, train_loader)
    try:
        trainer.fit(system, ckpt_path=last, weights_only=True)
    except SystemExit:  # how Lightning ends on Ctrl-C
        raise KeyboardInterrupt from None
    except torch.OutOfMemoryError:
        training, segment = conf["training"], conf["data"]["segment"]
        raise UsageError(
            f"the device is out of memory: raise training.accumulate ({training['accumulate']}) or "
            f"lower training.batch_size ({training['batch_size']}), data.segment ({segment} s) or "
            "the size of the model; training goes on from the last whole epoch"
        ) from None
    if trainer.is_global_zero:
        _finish(conf, exp_dir, system)


def dry_run(conf: Config) -> str:
    """What :func:`fit` would do, as :func:`describe_run` words it; no experiment is begun.

    Raises:
        UsageError: If the configuration or the songs cannot be used.
    """
    with torch.device("meta"):
        model = build_model(conf)
    samples = _samples(conf, "data", "segment")
    context = model.needed_context(samples)
    as_they_are = {**conf, "model": {**conf["model"], "normalize": False}}  # levels take long
    train_loader, val_loader = _loaders(as_they_are, context)
    songs = {
        "train on": cast(Extracts, train_loader.dataset).songs,
        "validate on": cast(WholeSongs, val_loader.dataset).songs,
    }
    return describe_run(conf, samples + sum(context), train_loader, songs, _devices())


def is_finished(conf: Config, exp_dir: Path) -> bool:
    """Whether ``exp_dir`` holds a model trained for as many epochs as ``conf`` asks for."""
    try:
        summary = json.loads((exp_dir / SUMMARY).read_text())
    except (OSError, ValueError):
        return False
    return (exp_dir / BEST_MODEL).exists() and summary["epochs"] >= conf["training"]["epochs"]


def _go_on_from(last: Path, conf: Config, train_loader: DataLoader) -> None:
    epoch = load_checkpoint(last)["epoch"] + 1
    if epoch > conf["training"]["epochs"]:
        raise UsageError(
            f"training.epochs is {conf['training']['epochs']}, but {last} has {epoch} already"
        )
    # Lightning chooses the epoch only after worker processes have begun to read
    cast(ExtractSampler, train_loader.sampler).set_epoch(epoch)


def _devices() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 1


def _samples(conf: Config, section: str, key: str) -> int:
    return round(conf[section][key] * conf["data"]["sample_rate"])


def _loaders(conf: Config, context: tuple[int, int] = (0, 0)) -> tuple[DataLoader, DataLoader]:
    data, training = conf["data"], conf["training"]
    rate, normalize = data["sample_rate"], conf["model"]["normalize"]
    folders = Path(data["musdb18_dir"]), Path(data["wav_dir"])
    train, valid = split_validation(songs_at_rate(*folders, "train", rate))
    frames = _samples(conf, "data", "segment") + _samples(conf, "augmentation", "shift")
    sampler = ExtractSampler(
        train, frames, _samples(conf, "data", "segment_stride"), training["seed"]
    )
    parts = _devices() * training["accumulate"]
    batch_size, rest = divmod(training["batch_size"], parts)
    if rest or batch_size == 0:
        raise UsageError(
            f"training.batch_size is {training['batch_size']}, allowed are multiples of {parts}: "
            f"{_devices()} device(s) share a batch, each in {training['accumulate']} part(s) "
            "(training.accumulate)"
        )
    if len(sampler) < training["batch_size"]:
        raise UsageError(
            f"training.batch_size is {training['batch_size']}, but there are {len(sampler)} "
            f"extracts of {frames / rate:g} s in {len(train)} songs: lower it, data.segment or "
            "data.segment_stride"
        )
    workers = data["num_workers"]
    train_loader = DataLoader(
        Extracts(train, frames, normalize, context=context),
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        drop_last=True,
    )
    return train_loader, DataLoader(WholeSongs(valid, normalize), batch_size=1)


def _trainer(conf: Config, exp_dir: Path, batches: int) -> tuple[pl.Trainer, Path]:
    training = conf["training"]
    checkpoints = exp_dir / "checkpoints"
    last = ModelCheckpoint(
        checkpoints, filename=LAST, enable_version_counter=False, save_on_train_epoch_end=True
    )
    best = ModelCheckpoint(
        checkpoints, filename="best", monitor="val_loss", enable_version_counter=False
    )
    callbacks = [EpochSeconds(), best, last]
    if training["ema"]:
        callbacks.insert(0, EMAWeightAveraging(decay=training["ema"]))
    trainer = pl.Trainer(
        max_epochs=training["epochs"],
        # whole batches only: what is left of an epoch would be a step of fewer extracts
        limit_train_batches=batches // training["accumulate"] * training["accumulate"],
        accumulate_grad_batches=training["accumulate"],
        gradient_clip_val=training["gradient_clip"] or None,
        precision=training["precision"],
        accelerator="gpu" if torch.cuda.is_available() else "cpu",
        devices=_devices(),
        plugins=[WholeCheckpoints()],
        callbacks=callbacks,
        logger=[
            TensorBoardLogger(exp_dir / "logs", name="tensorboard"),
            CSVLogger(exp_dir / "logs", name="csv"),
        ],
        log_every_n_steps=max(1, min(50, batches // training["accumulate"])),
        check_val_every_n_epoch=min(training["valid_every"], training["epochs"]),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=exp_dir,
    )
    return trainer, checkpoints


def _finish(conf: Config, exp_dir: Path, system: SeparationSystem) -> None:
    best = load_checkpoint(exp_dir / "checkpoints" / "best.ckpt")
    system.load_state_dict(best["state_dict"])
    save_whole(system.model.cpu().serialize(), exp_dir / BEST_MODEL)
    seconds = [row["epoch_seconds"] for row in learning_curve(exp_dir) if "epoch_seconds" in row]
    scores = [state.get("best_model_score") for state in best["callbacks"].values()]
    summary = {
        "epochs": conf["training"]["epochs"],
        "best_epoch": int(best["epoch"]) + 1,
        "best_val_loss": min(float(score) for score in scores if score is not None),
        "seconds_per_epoch": statistics.median(seconds) if seconds else None,
        "parameters": sum(p.numel() for p in system.model.parameters() if p.requires_grad),
        "seed": conf["training"]["seed"],
        **provenance(),
    }
    with whole_or_nothing(exp_dir / SUMMARY) as partial:
        partial.write_text(json.dumps(summary, indent=2))
