"""Stage 1: train a music separator.

Writes into the folder of the experiment: conf.yml, train_songs.json, learning_curve.json,
checkpoints/{last,previous,best}.ckpt, logs/ (TensorBoard and CSV), and at the end best_model.pth
and training.json.
Run again, it goes on from the last whole epoch.
"""

import contextlib
import logging
import sys
from pathlib import Path

from asteroid_upsamplers import training as engine  # before Lightning, which warns of itself

# isort: split
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, EMAWeightAveraging
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy
from torch.optim.lr_scheduler import ReduceLROnPlateau

from asteroid_upsamplers.data import Augment
from asteroid_upsamplers.errors import one_line_errors
from asteroid_upsamplers.files import alone_in


def train(conf: dict, exp_dir: Path) -> None:
    training = conf["training"]
    engine.check_same_experiment(conf, exp_dir)
    songs = engine.check_same_songs(conf, exp_dir)
    if engine.is_finished(conf, exp_dir):
        logging.info("%s is trained already", exp_dir)
        with contextlib.suppress(PermissionError):  # the folder may be an archive
            engine.save_songs(songs, exp_dir)
        return
    torch.set_flush_denormal(True)  # tiny gradients halve the speed of a CPU
    torch.set_float32_matmul_precision("high")  # as cuDNN computes convolutions in any case
    pl.seed_everything(training["seed"], workers=True)
    with engine.possible_trainer(conf):
        trainer = make_trainer(conf, exp_dir)
    first = trainer.is_global_zero
    with alone_in(exp_dir) if first else contextlib.nullcontext():
        epochs, every = training["epochs"], training["checkpoint_every"]
        last = engine.newest_checkpoint(exp_dir / engine.CHECKPOINTS, epochs, every)
        over = last is not None and engine.is_over(last, epochs, training["early_stop"])
        system, data = (None, None) if over else make_system(conf, trainer.world_size)
        if first:
            engine.save_config(conf, exp_dir)
            engine.save_songs(songs, exp_dir)
        if not over:
            with engine.explained(conf):
                trainer.fit(system, datamodule=data, ckpt_path=last, weights_only=True)
        if first:
            engine.save_results(conf, exp_dir)


def make_system(conf: dict, processes: int) -> tuple[engine.SeparationSystem, engine.SongSegments]:
    training, segment = conf["training"], engine.samples(conf, "data", "segment")
    model = engine.build_model(conf)
    engine.start_from_file(conf, model)
    data = engine.SongSegments(conf, model.needed_context(segment), processes)
    if training["checkpoint_activations"]:
        engine.checkpoint_activations(model)
    optimizer = engine.make_optimizer(conf, model)
    scheduler = None
    if training["half_lr"]:
        plateau = ReduceLROnPlateau(
            optimizer, factor=0.5, patience=training["half_lr"] - 1, threshold=0.0
        )
        scheduler = {
            "scheduler": plateau,
            "interval": "epoch",
            "frequency": training["valid_every"],
        }
    shift = engine.samples(conf, "augmentation", "shift")
    system = engine.SeparationSystem(
        model=model,
        loss_func=engine.LOSSES[training["loss"]],
        optimizer=optimizer,
        scheduler=scheduler,
        augment=Augment(**{**conf["augmentation"], "shift": shift}),
        remix_group=conf["augmentation"]["remix_group"],
        seed=training["seed"],
        segment=segment,
        micro_batch=data.micro_batch,
        compiled=training["compile"],
        config=conf,
    )
    return system, data


def make_trainer(conf: dict, exp_dir: Path) -> pl.Trainer:
    training = conf["training"]
    devices, nodes = engine.devices_and_nodes(conf)
    several, gpu = devices * nodes > 1, torch.cuda.is_available()
    callbacks: list[Callback] = [engine.EndTogether(), engine.StopNotFinite()]
    callbacks.append(engine.LearningCurve(exp_dir))
    if training["ema"]:
        callbacks.insert(0, EMAWeightAveraging(decay=training["ema"]))
    if training["early_stop"]:
        callbacks.append(EarlyStopping(monitor="val_loss", patience=training["early_stop"]))
    callbacks.append(engine.Checkpoints(exp_dir, training["checkpoint_every"]))
    return pl.Trainer(
        max_epochs=training["epochs"],
        accumulate_grad_batches=training["accumulate"],
        gradient_clip_val=training["gradient_clip"] or None,
        precision=training["precision"],
        check_val_every_n_epoch=min(training["valid_every"], training["epochs"]),
        accelerator="gpu" if gpu else "cpu",
        devices=devices,
        num_nodes=nodes,
        # gradients are summed where they are: without that DDP holds them twice
        strategy=DDPStrategy(gradient_as_bucket_view=True) if several else "auto",
        sync_batchnorm=gpu and several,
        benchmark=gpu,
        plugins=[engine.WholeCheckpoints(), *engine.slurm_plugins(devices, nodes)],
        callbacks=callbacks,
        logger=[
            TensorBoardLogger(exp_dir / "logs", name="tensorboard"),
            CSVLogger(exp_dir / "logs", name="csv"),
        ],
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the data module shares the segments out
        default_root_dir=exp_dir,
    )


def main(argv: list[str] | None = None) -> None:
    conf, own = engine.parse_arguments(__doc__, argv)
    if own.dry_run:
        devices, nodes = engine.devices_and_nodes(conf)
        sys.stdout.write(f"{own.exp_dir}\n{engine.summary(conf, devices * nodes)}")
    else:
        train(conf, own.exp_dir)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with one_line_errors():
        main()
