"""What the stages leave behind, in a form in which two runs can be compared bit for bit."""

import hashlib
import json
from pathlib import Path
from typing import Any

import soundfile
import torch

from asteroid_upsamplers.training.curve import CURVE

NOT_COMPARED = {
    "training.json": {"seconds_per_epoch"},
    "evaluation.json": {"seconds", "real_time_factor", "audio_seconds"},
    CURVE: {"epoch_seconds"},
}
"""How long something took, and of what: an interrupted run separates the rest only."""

LOGS = "logs"
"""TensorBoard's and Lightning's files, which hold times, and a version for every run."""


def results_of(work: Path) -> dict[str, Any]:
    """Every file below a folder by its path: what is in it, but for :data:`NOT_COMPARED`."""
    results: dict[str, Any] = {}
    for path in sorted(work.rglob("*")):
        name = str(path.relative_to(work))
        if LOGS in path.relative_to(work).parts:
            continue
        if path.suffix in (".ckpt", ".pth"):
            results |= _leaves(name, torch.load(path, weights_only=True))
        elif path.name in NOT_COMPARED:
            results[name] = _without(json.loads(path.read_text()), path.name)
        elif path.suffix == ".wav":
            results[name] = _sound(path)
        elif path.is_file():
            results[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            results[name] = "folder"
    return results


def _sound(path: Path) -> Any:
    """Format and samples: libsndfile puts the time into the header of a file of floats."""
    info = soundfile.info(path)
    samples, rate = soundfile.read(path, dtype="int16" if info.subtype == "PCM_16" else "float32")
    return info.subtype, rate, samples.shape, hashlib.sha256(samples.tobytes()).hexdigest()


def _without(values: Any, name: str) -> Any:
    """With the names of all values, but not those that are not compared."""
    if isinstance(values, list):
        return [_without(row, name) for row in values]
    hidden = NOT_COMPARED[name]
    return {key: None if key in hidden else value for key, value in values.items()}


def _leaves(name: str, content: Any) -> dict[str, Any]:
    """Plain values by where they are in nested ones, the bits of tensors."""
    if isinstance(content, dict):
        parts = list(content.items())
    elif isinstance(content, (list, tuple)):
        parts = list(enumerate(content))
    elif isinstance(content, torch.Tensor):
        bits = hashlib.sha256(content.numpy().tobytes()).hexdigest()
        return {name: (content.dtype, content.shape, bits)}
    else:
        return {name: content}
    return {
        leaf: value for key, part in parts for leaf, value in _leaves(f"{name}/{key}", part).items()
    }
