"""Stage 1: train one Conv-TasNet (see ``python train.py --help`` for every key).

What makes this a recipe of ours and not of Asteroid's is the import of the model, and the key
``upsampler`` in ``local/conf.yml``.
"""

import argparse
import json
import logging
import math
from pathlib import Path

from asteroid_upsamplers import training as engine  # before Lightning, which warns of itself

# isort: split
import pytorch_lightning as pl
import torch
import yaml
from asteroid.data import LibriMix
from asteroid.engine.optimizers import make_optimizer
from asteroid.engine.system import System
from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr
from asteroid.utils import parse_args_as_dict, prepare_parser_from_dict
from pytorch_lightning.callbacks import EarlyStopping
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader

from asteroid_upsamplers.errors import UsageError, one_line_errors
from asteroid_upsamplers.files import whole_or_nothing, write_json
from asteroid_upsamplers.models import UpsamplerConvTasNet as ConvTasNet
from asteroid_upsamplers.separation import visible_gpus

PATIENCE = 30
"""Epochs without a better loss after which ``early_stop`` ends a training."""
MAY_CHANGE = ("exp_dir", "train_dir", "valid_dir", "epochs", "num_workers")
MAY_BE_ZERO = ("num_workers", "seed", "weight_decay")


def check_numbers(conf):
    """Refuse numbers with which nothing can be trained."""
    for group in conf.values():
        for key, value in group.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                least = 0 if key in MAY_BE_ZERO else 1e-30
                if not least <= value < math.inf:
                    above = "at least 0" if least == 0 else "above 0"
                    raise UsageError(f"{key} is {value}: must be a finite number {above}")


def make_loader(conf, folder, shuffle):
    """Batches of ``(mixture, sources)`` from one metadata folder of LibriMix."""
    data, training = conf["data"], conf["training"]
    if not Path(folder).is_dir():
        raise UsageError(f"{folder}: no such folder; run stage 0, or name LibriMix's metadata")
    examples = LibriMix(
        csv_dir=folder,
        task=data["task"],
        sample_rate=data["sample_rate"],
        n_src=data["n_src"],
        segment=data["segment"],
    )
    return DataLoader(
        examples,
        shuffle=shuffle,
        batch_size=training["batch_size"],
        num_workers=training["num_workers"],
        drop_last=shuffle,
    )


def check_same_experiment(exp_dir, conf):
    """An experiment that is there goes on with its own settings only."""
    path = exp_dir / "conf.yml"
    before = (yaml.safe_load(path.read_text()) or {}) if path.exists() else conf
    for group, values in conf.items():
        for key, value in values.items():
            was = before.get(group, {}).get(key)
            if key not in MAY_CHANGE and was != value:
                raise UsageError(
                    f"{exp_dir}: begun with other settings ({key} {was} is now {value}); use "
                    "another --tag"
                )


def optimizer_of(conf, model):
    """Asteroid's, by its name."""
    try:
        return make_optimizer(model.parameters(), **conf["optim"])
    except (ValueError, TypeError) as error:
        raise UsageError(f"optimizer {conf['optim']['optimizer']!r}: {error}") from None


def main(conf):
    """Train, and write ``conf.yml``, ``checkpoints`` and ``best_model.pth`` to the experiment."""
    exp_dir = Path(conf["main_args"]["exp_dir"])
    training = conf["training"]
    check_numbers(conf)
    visible_gpus()
    conf["masknet"]["n_src"] = conf["data"]["n_src"]
    check_same_experiment(exp_dir, conf)
    if engine.is_finished(conf, exp_dir):
        logging.info("%s: trained already", exp_dir)
        return
    pl.seed_everything(training["seed"])
    train_loader = make_loader(conf, conf["data"]["train_dir"], shuffle=True)
    val_loader = make_loader(conf, conf["data"]["valid_dir"], shuffle=False)
    model = ConvTasNet(
        **conf["filterbank"],
        **conf["masknet"],
        upsampler_kwargs=conf["main_args"]["upsampler_kwargs"],
        sample_rate=conf["data"]["sample_rate"],
    )
    optimizer = optimizer_of(conf, model)
    scheduler = None
    if training["half_lr"]:
        scheduler = ReduceLROnPlateau(optimizer=optimizer, factor=0.5, patience=5)
    system = System(
        model=model,
        loss_func=PITLossWrapper(pairwise_neg_sisdr, pit_from="pw_mtx"),
        optimizer=optimizer,
        scheduler=scheduler,
        train_loader=train_loader,
        val_loader=val_loader,
        config=conf,
    )
    with whole_or_nothing(exp_dir / "conf.yml") as partial:
        partial.write_text(yaml.safe_dump(conf))
    callbacks = [engine.StopNotFinite(), engine.Checkpoints(exp_dir)]
    if training["early_stop"]:
        callbacks.append(EarlyStopping(monitor="val_loss", mode="min", patience=PATIENCE))
    trainer = pl.Trainer(
        max_epochs=training["epochs"],
        callbacks=callbacks,
        plugins=[engine.WholeCheckpoints()],
        default_root_dir=exp_dir,
        gradient_clip_val=5.0,
        log_every_n_steps=1,
        enable_model_summary=False,
    )
    last = engine.newest_checkpoint(exp_dir / engine.CHECKPOINTS, training["epochs"])
    patience = PATIENCE if training["early_stop"] else None
    if last is None or not engine.is_over(last, training["epochs"], patience):
        trainer.fit(system, ckpt_path=last, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    save_results(conf, exp_dir, system, train_loader.dataset.get_infos())


def save_results(conf, exp_dir, system, infos):
    """Write the model of the best epoch, and ``training.json``, whose presence ends a training."""
    best = engine.best_so_far(exp_dir)
    if best is None:
        raise UsageError(f"{exp_dir}: no best.ckpt; delete the folder to train from the start")
    system.load_state_dict(best["state_dict"])
    with whole_or_nothing(exp_dir / "best_model.pth") as partial:
        torch.save(system.model.cpu().serialize() | infos, partial)
    training = conf["training"]
    summary = {
        "epochs": engine.epochs_of(exp_dir),
        "max_epochs": training["epochs"],
        "early_stop": training["early_stop"],
        "best_epoch": best["epoch"] + 1,
        "best_val_loss": best["val_loss"],
    }
    write_json(exp_dir / "training.json", summary)


def settings(text):
    """A dictionary, from the command line."""
    if not isinstance(found := json.loads(text), dict):
        raise ValueError(text)
    return found


if __name__ == "__main__":
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description="Train a Conv-TasNet.")
    parser.add_argument("--exp_dir", required=True, help="folder of the experiment")
    parser.add_argument(
        "--upsampler_kwargs", type=settings, default={}, help="further settings, as JSON"
    )
    defaults = yaml.safe_load((here / "local" / "conf.yml").read_text())
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with one_line_errors():
        main(parse_args_as_dict(prepare_parser_from_dict(defaults, parser=parser)))
