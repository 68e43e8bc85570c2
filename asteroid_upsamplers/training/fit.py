"""Train one experiment, from its configuration to ``best_model.pth``."""

from __future__ import annotations

import json
import logging
import statistics
from pathlib import Path
from typing import cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.strategies import Strategy
from pytorch_lightning.utilities import rank_zero_only
from torch.utils.data import DataLoader

from ..data import Augment, Segments, SegmentSampler, WholeSongs
from ..errors import UsageError, is_out_of_memory
from ..files import whole_or_nothing
from .checkpoints import (
    LAST,
    WholeCheckpoints,
    load_checkpoint,
    newest_checkpoint,
    save_whole,
)
from .config import Config, build_model, save_config
from .curve import LearningCurve, learning_curve
from .forecast import describe_run
from .loaders import make_loaders, samples
from .losses import LOSSES
from .network import checkpoint_activations, optimizer_maker
from .processes import (
    EndTogether,
    Processes,
    environment_plugins,
    one_run_in,
    planned_processes,
    strategy_of,
)
from .provenance import provenance
from .system import SeparationSystem

logger = logging.getLogger(__name__)

BEST_MODEL = "best_model.pth"
SUMMARY = "training.json"


def fit(conf: Config, exp_dir: Path) -> None:
    """Train until ``training.epochs``, going on from the last checkpoint if there is one.

    Writes into ``exp_dir``: ``conf.yml``, ``checkpoints/{last,previous,best}.ckpt``,
    ``learning_curve.json``, ``logs/`` (TensorBoard and CSV, one version a run), and at the end
    ``best_model.pth`` and ``training.json``. However many processes share the work, it is the same
    up to rounding.

    Raises:
        UsageError: If the configuration, the songs or a checkpoint cannot be used, or if another
            run is training in ``exp_dir``.
    """
    # Gradients below 1e-38 come and go while a network learns, and halve the speed of a CPU. The
    # threads of later computations inherit the setting, so it comes first.
    torch.set_flush_denormal(True)
    # What cuDNN does to the convolutions and recurrent layers in any case
    torch.set_float32_matmul_precision("high")
    exp_dir.mkdir(parents=True, exist_ok=True)
    with one_run_in(exp_dir):
        _fit(conf, exp_dir)


def _fit(conf: Config, exp_dir: Path) -> None:
    training = conf["training"]
    seed = training["seed"]
    pl.seed_everything(seed, workers=True)
    processes = planned_processes(conf)
    model = build_model(conf)
    context = model.needed_context(samples(conf, "data", "segment"))
    train_loader, val_loader = make_loaders(conf, processes, context)
    if not getattr(rank_zero_only, "rank", 0):
        save_config(conf, exp_dir)
    if is_finished(conf, exp_dir):
        logger.info("%s is trained already", exp_dir)
        return
    strategy = strategy_of(conf, model, processes)
    if training["checkpoint_activations"]:
        checkpoint_activations(model)
    chunk = samples(conf, "separation", "chunk")
    augmentation = {**conf["augmentation"], "shift": samples(conf, "augmentation", "shift")}
    system = SeparationSystem(
        augment=Augment(**augmentation),
        remix_group=augmentation["remix_group"],
        seed=seed,
        context=context,
        chunk=chunk,
        overlap=int(conf["separation"]["overlap"] * chunk),
        chunk_batch=conf["separation"]["batch"],
        make_optimizer=optimizer_maker(conf),
        compiled=training["compile"],
        model=model,
        loss_func=LOSSES[training["loss"]],
        train_loader=train_loader,
        val_loader=val_loader,
        config=conf,
    )
    steps = cast(SegmentSampler, train_loader.sampler).steps
    trainer, checkpoints = _trainer(conf, exp_dir, processes, strategy, steps)
    last, done = newest_checkpoint(checkpoints)
    if last is not None:
        _go_on_from(last, done, conf, train_loader)
    try:
        trainer.fit(system, ckpt_path=last, weights_only=True)
    except SystemExit:  # how Lightning ends on Ctrl-C
        raise KeyboardInterrupt from None
    except UsageError as error:
        raise UsageError(_as_said(error)) from None
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise UsageError(_out_of_memory(conf)) from None
        if "DataLoader worker" not in str(error):
            raise
        raise UsageError(
            f"a process that reads segments died ({str(error).splitlines()[0]}); if memory is "
            f"short, lower data.num_workers ({train_loader.num_workers}); run the same command "
            "again to go on from the last whole epoch"
        ) from None
    if trainer.is_global_zero:
        _finish(conf, exp_dir)


def _as_said(error: UsageError) -> str:
    """Without the traceback of the process that reads segments, if it was said there."""
    said_by = f"{UsageError.__module__}.{UsageError.__qualname__}: "
    return str(error).strip().splitlines()[-1].removeprefix(said_by)


def _out_of_memory(conf: Config) -> str:
    training, segment = conf["training"], conf["data"]["segment"]
    chunks = conf["separation"]["batch"]
    fewer = f", lower separation.batch ({chunks})" if chunks > 1 else ""
    return (
        f"the device is out of memory: raise training.accumulate ({training['accumulate']}), set "
        f"training.checkpoint_activations ({training['checkpoint_activations']}){fewer}, and "
        "training goes on from the last whole epoch; or, with another --tag, lower "
        f"training.batch_size ({training['batch_size']}), data.segment ({segment} s) or the size "
        "of the model"
    )


def dry_run(conf: Config) -> str:
    """What :func:`fit` would do, as :func:`describe_run` words it; no experiment is begun.

    Raises:
        UsageError: If the configuration or the songs cannot be used.
    """
    with torch.device("meta"):
        model = build_model(conf)
    processes = planned_processes(conf)
    frames = samples(conf, "data", "segment")
    context = model.needed_context(frames)
    network = {**conf["model"], "normalize": False}  # to measure levels takes long
    train_loader, val_loader = make_loaders({**conf, "model": network}, processes, context)
    songs = {
        "train on": cast(Segments, train_loader.dataset).songs,
        "validate on": cast(WholeSongs, val_loader.dataset).songs,
    }
    return describe_run(conf, frames + sum(context), train_loader, songs, processes.world)


def is_finished(conf: Config, exp_dir: Path) -> bool:
    """Whether ``exp_dir`` holds a model trained for as many epochs as ``conf`` asks for."""
    try:
        summary = json.loads((exp_dir / SUMMARY).read_text())
    except (OSError, ValueError):
        return False
    return (exp_dir / BEST_MODEL).exists() and summary["epochs"] >= conf["training"]["epochs"]


def _go_on_from(last: Path, done: int, conf: Config, train_loader: DataLoader) -> None:
    if done > conf["training"]["epochs"]:
        raise UsageError(
            f"training.epochs is {conf['training']['epochs']}, but {last} has {done} already"
        )
    # Lightning chooses the epoch only after worker processes have begun to read
    cast(SegmentSampler, train_loader.sampler).set_epoch(done)


def _trainer(
    conf: Config, exp_dir: Path, processes: Processes, strategy: str | Strategy, steps: int
) -> tuple[pl.Trainer, Path]:
    training = conf["training"]
    checkpoints = exp_dir / "checkpoints"
    last = ModelCheckpoint(
        checkpoints, filename=LAST, enable_version_counter=False, save_on_train_epoch_end=True
    )
    best = ModelCheckpoint(
        checkpoints, filename="best", monitor="val_loss", enable_version_counter=False
    )
    callbacks = [EndTogether(), LearningCurve(exp_dir), best, last]
    if training["ema"]:
        callbacks.insert(0, EMAWeightAveraging(decay=training["ema"]))
    trainer = pl.Trainer(
        max_epochs=training["epochs"],
        accumulate_grad_batches=training["accumulate"],
        gradient_clip_val=training["gradient_clip"] or None,
        precision=training["precision"],
        accelerator=processes.accelerator,
        devices=processes.devices,
        num_nodes=processes.nodes,
        strategy=strategy,
        sync_batchnorm=processes.accelerator == "gpu" and processes.world > 1,
        benchmark=processes.accelerator == "gpu",
        plugins=[WholeCheckpoints(), *environment_plugins()],
        callbacks=callbacks,
        logger=[
            TensorBoardLogger(exp_dir / "logs", name="tensorboard"),
            CSVLogger(exp_dir / "logs", name="csv"),
        ],
        log_every_n_steps=min(50, steps),
        check_val_every_n_epoch=min(training["valid_every"], training["epochs"]),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=exp_dir,
    )
    return trainer, checkpoints


def _finish(conf: Config, exp_dir: Path) -> None:
    best = load_checkpoint(exp_dir / "checkpoints" / "best.ckpt")
    model = build_model(conf)  # a new one: strategies may have divided the other among devices
    model.load_state_dict({n.removeprefix("model."): w for n, w in best["state_dict"].items()})
    save_whole(model.serialize(), exp_dir / BEST_MODEL)
    curve = learning_curve(exp_dir)
    seconds = [row["epoch_seconds"] for row in curve]
    scores = [state.get("best_model_score") for state in best["callbacks"].values()]
    summary = {
        "epochs": conf["training"]["epochs"],
        "best_epoch": int(best["epoch"]) + 1,
        "best_val_loss": min(float(score) for score in scores if score is not None),
        "seconds_per_epoch": statistics.median(seconds) if seconds else None,
        "unreadable_segments": int(sum(row["unreadable_segments"] for row in curve)),
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "seed": conf["training"]["seed"],
        **provenance(),
    }
    with whole_or_nothing(exp_dir / SUMMARY) as partial:
        partial.write_text(json.dumps(summary, indent=2))
