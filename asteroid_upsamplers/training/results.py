"""What a finished training leaves: ``best_model.pth``, and ``training.json`` with its figures."""

from __future__ import annotations

import contextlib
import json
import platform
import re
import statistics
import subprocess
from importlib import metadata
from pathlib import Path

import torch

from ..errors import UsageError
from ..files import whole_or_nothing
from .callbacks import learning_curve
from .checkpoints import load_checkpoint, save_whole
from .config import build_model
from .schema import Config

BEST_MODEL = "best_model.pth"
SUMMARY = "training.json"
PACKAGES = ("asteroid-upsamplers", "asteroid", "torch", "pytorch-lightning", "musdb", "museval")


def is_finished(conf: Config, exp_dir: Path) -> bool:
    """Whether ``exp_dir`` holds a model that was trained for as long as ``conf`` asks."""
    try:
        summary = json.loads((exp_dir / SUMMARY).read_text())
    except (OSError, ValueError):
        return False
    training, asked = conf["training"], summary["epochs"]
    if summary.get("early_stop") == training["early_stop"]:  # it ended before, and would again
        asked = max(asked, summary.get("max_epochs", 0))
    return (exp_dir / BEST_MODEL).exists() and asked >= training["epochs"]


def save_results(conf: Config, exp_dir: Path) -> None:
    """Write the model of the best epoch, and the figures of the training beside it."""
    path = exp_dir / "checkpoints" / "best.ckpt"
    if not path.exists():
        raise UsageError(f"{path}: missing; delete {path.parent} to train from the start")
    best = load_checkpoint(path)
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
    summary = {
        "epochs": len(curve),
        "max_epochs": conf["training"]["epochs"],
        "early_stop": conf["training"]["early_stop"],
        "best_epoch": best["epoch"] + 1,
        "best_val_loss": min(row["val_loss"] for row in curve if "val_loss" in row),
        "seconds_per_epoch": statistics.median(row["epoch_seconds"] for row in curve),
        "unreadable_segments": sum(row.get("unreadable_segments", 0) for row in curve),
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "seed": conf["training"]["seed"],
        **provenance(),
    }
    with whole_or_nothing(exp_dir / SUMMARY) as partial:
        partial.write_text(json.dumps(summary, indent=2))


def provenance() -> dict[str, str]:
    """Commit (of a checkout), versions of the packages that matter, Python and the processor."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in PACKAGES},
        "device": device,
        "threads": str(torch.get_num_threads()),
    }


def _commit() -> str:
    """Of the checkout that this file is in, with ``-dirty`` where files were changed."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    words = [*git, "--abbrev=12", "--exclude=*"]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    return "unknown"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor() or "unknown"
