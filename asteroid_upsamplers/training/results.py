"""What a finished training leaves: ``best_model.pth``, and ``training.json`` with its figures."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import statistics
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from ..errors import UsageError
from ..files import write_json
from .checkpoints import (
    BEST,
    BEST_MODEL,
    CHECKPOINTS,
    SUMMARY,
    best_so_far,
    epochs_of,
    learning_curve,
    read_json,
    save_whole,
)
from .config import build_model
from .schema import Config

PACKAGES = ("asteroid-upsamplers", "asteroid", "torch", "pytorch-lightning", "musdb", "museval")


def is_finished(conf: Config, exp_dir: Path) -> bool:
    """Whether ``exp_dir`` holds a model that was trained for as long as ``conf`` asks."""
    try:
        summary = read_json(exp_dir / SUMMARY)
        asked = summary["epochs"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    training = conf["training"]
    if summary.get("early_stop") == training["early_stop"]:  # it ended before, and would again
        asked = max(asked, summary.get("max_epochs", 0))
    return (exp_dir / BEST_MODEL).exists() and asked >= training["epochs"]


def save_results(conf: Config, exp_dir: Path) -> None:
    """Write the model of the best epoch, and the figures of the training beside it."""
    best = best_so_far(exp_dir)
    if best is None:
        path = exp_dir / CHECKPOINTS / f"{BEST}.ckpt"
        raise UsageError(
            f"{path}: cannot be used; put it back, raise training.epochs (then the best of the "
            f"epochs to come is kept), or delete {path.parent} to train from the start"
        )
    model = build_model(conf)
    model.load_state_dict(
        {
            name.removeprefix("model."): weight
            for name, weight in best["state_dict"].items()
            if name.startswith("model.")
        }
    )
    save_whole(model.serialize(), exp_dir / BEST_MODEL)
    curve = learning_curve(exp_dir)
    seconds = [row["epoch_seconds"] for row in curve]
    summary = {
        "epochs": epochs_of(exp_dir),
        "max_epochs": conf["training"]["epochs"],
        "early_stop": conf["training"]["early_stop"],
        "best_epoch": best["epoch"] + 1,
        "best_val_loss": best["val_loss"],
        "seconds_per_epoch": statistics.median(seconds) if seconds else None,
        "unreadable_segments": sum(row.get("unreadable_segments", 0) for row in curve),
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "seed": conf["training"]["seed"],
        **provenance(),
    }
    write_json(exp_dir / SUMMARY, summary)


def provenance() -> dict[str, str]:
    """Commit (of a checkout), versions of the packages that matter, Python and the processor."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
        "device": device,
        "threads": str(torch.get_num_threads()),
    }


def _version(package: str) -> str:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return "unknown"


def _commit() -> str:
    """Of the checkout that this file is in, with ``-dirty`` where files were changed.

    An installed package may lie in somebody else's repository, whose commit says nothing of it.
    """
    top = Path(__file__).resolve().parents[2]
    surroundings = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}

    def git(*words: str) -> str:
        how: dict[str, Any] = {"capture_output": True, "text": True, "check": True}
        return subprocess.run(
            ["git", "-C", str(top), *words], env=surroundings, **how
        ).stdout.strip()

    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        git("ls-files", "--error-unmatch", str(Path(__file__).resolve()))
        if Path(git("rev-parse", "--show-toplevel")).resolve() == top:
            return git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    return "unknown"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor() or "unknown"
