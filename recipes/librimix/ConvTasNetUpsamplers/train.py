"""Stage 1: train one Conv-TasNet (see ``python train.py --help`` for every key).

What makes this a recipe of ours and not of Asteroid's is the import of the model, and the key
``upsampler`` in ``local/conf.yml``.
"""

import argparse
import json
from pathlib import Path

import pytorch_lightning as pl
import torch
import yaml
from asteroid.data import LibriMix
from asteroid.engine.optimizers import make_optimizer
from asteroid.engine.system import System
from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr
from asteroid.utils import parse_args_as_dict, prepare_parser_from_dict
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader

from asteroid_upsamplers.errors import UsageError, one_line_errors
from asteroid_upsamplers.files import whole_or_nothing, write_json
from asteroid_upsamplers.models import UpsamplerConvTasNet as ConvTasNet


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


def keep_configuration(exp_dir, conf):
    """Write ``conf.yml``; an experiment that is there goes on with its own settings only."""
    path = exp_dir / "conf.yml"
    if path.exists():
        before = yaml.safe_load(path.read_text())
        changed = [
            f"{key} {before.get(group, {}).get(key)} is now {value}"
            for group, values in conf.items()
            for key, value in values.items()
            if key not in ("epochs", "num_workers") and before.get(group, {}).get(key) != value
        ]
        if changed:
            raise UsageError(
                f"{exp_dir}: begun with other settings ({changed[0]}); use another --tag"
            )
    exp_dir.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(conf))


def main(conf):
    """Train, and write ``conf.yml``, ``checkpoints`` and ``best_model.pth`` to the experiment."""
    exp_dir = Path(conf["main_args"]["exp_dir"])
    training = conf["training"]
    pl.seed_everything(training["seed"])
    train_loader = make_loader(conf, conf["data"]["train_dir"], shuffle=True)
    val_loader = make_loader(conf, conf["data"]["valid_dir"], shuffle=False)
    conf["masknet"]["n_src"] = conf["data"]["n_src"]

    model = ConvTasNet(
        **conf["filterbank"],
        **conf["masknet"],
        upsampler_kwargs=conf["main_args"]["upsampler_kwargs"],
        sample_rate=conf["data"]["sample_rate"],
    )
    optimizer = make_optimizer(model.parameters(), **conf["optim"])
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
    keep_configuration(exp_dir, conf)

    best = ModelCheckpoint(
        exp_dir / "checkpoints", monitor="val_loss", mode="min", save_top_k=1, save_last=True
    )
    callbacks = [best]
    if training["early_stop"]:
        callbacks.append(EarlyStopping(monitor="val_loss", mode="min", patience=30))
    trainer = pl.Trainer(
        max_epochs=training["epochs"],
        callbacks=callbacks,
        default_root_dir=exp_dir,
        gradient_clip_val=5.0,
        log_every_n_steps=10,
        enable_model_summary=False,
    )
    last = exp_dir / "checkpoints" / "last.ckpt"
    trainer.fit(system, ckpt_path=last if last.exists() else None)
    if trainer.interrupted:
        raise KeyboardInterrupt

    checkpoint = torch.load(best.best_model_path, map_location="cpu")
    system.load_state_dict(checkpoint["state_dict"])
    infos = {"epochs": trainer.current_epoch, "best_val_loss": float(best.best_model_score)}
    write_json(exp_dir / "training.json", infos)
    package = system.model.cpu().serialize() | train_loader.dataset.get_infos()
    with whole_or_nothing(exp_dir / "best_model.pth") as partial:
        torch.save(package, partial)


if __name__ == "__main__":
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description="Train a Conv-TasNet.")
    parser.add_argument("--exp_dir", required=True, help="folder of the experiment")
    parser.add_argument(
        "--upsampler_kwargs", type=json.loads, default={}, help="further settings, as JSON"
    )
    defaults = yaml.safe_load((here / "local" / "conf.yml").read_text())
    with one_line_errors():
        main(parse_args_as_dict(prepare_parser_from_dict(defaults, parser=parser)))
