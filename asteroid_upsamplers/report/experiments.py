"""What an experiment folder says of its model, training and artifacts: one run's part of a row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ..errors import UsageError
from .artifact_scores import ARTIFACTS
from .paper import quote

PROVENANCE = ("commit", "python", "asteroid", "torch", "pytorch-lightning", "museval", "device")

_TRAINING = ("parameters", "seconds_per_epoch", "epochs", "best_epoch", "seed", *PROVENANCE)
_SETTINGS = ("upsampler", "modified", "channels")


def read_conf(exp_dir: Path) -> dict[str, Any]:
    """Read ``conf.yml``.

    Raises:
        UsageError: It is damaged.
    """
    path = exp_dir / "conf.yml"
    try:
        conf = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError):
        conf = None
    if not isinstance(conf, dict):
        raise UsageError(f"{path}: damaged; a YAML mapping is needed")
    return conf


def describe(exp_dir: Path, conf: dict[str, Any]) -> dict[str, Any]:
    """Everything but the scores, as :func:`collect` names it; what is unknown is missing or None.

    Args:
        exp_dir: Experiment folder.
        conf: Its ``conf.yml``; of any model.

    Raises:
        UsageError: If ``training.json`` or ``artifacts.json`` cannot be used.
    """
    return {**_settings(conf), **_training(exp_dir), **_artifacts(exp_dir)}


def _settings(conf: dict[str, Any]) -> dict[str, Any]:
    model = conf.get("model")
    model = model if isinstance(model, dict) else {}
    row = {"model": model.get("name"), **{key: model.get(key) for key in _SETTINGS}}
    row = {key: value for key, value in row.items() if value is not None}
    quoted = quote(model)
    if quoted:
        row["paper_sdr"] = quoted.sdr
        row["paper_seconds_per_epoch"] = quoted.seconds_per_epoch
        row["paper_parameters"] = quoted.parameters
    return row


def _training(exp_dir: Path) -> dict[str, Any]:
    path = exp_dir / "training.json"
    summary = _read_json(path)
    if summary is None:
        raise UsageError(f"{path}: missing or damaged; train the experiment to its end")
    row = {key: summary.get(key) for key in _TRAINING}
    factors = (summary, _read_json(exp_dir / "evaluation.json") or {})
    row["real_time_factor"] = next(
        (f["real_time_factor"] for f in factors if f.get("real_time_factor") is not None), None
    )
    return row


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _artifacts(exp_dir: Path) -> dict[str, Any]:
    path = exp_dir / ARTIFACTS
    if not path.exists():
        return {}
    try:
        return _artifact_columns(json.loads(path.read_text()))
    except (ValueError, LookupError, TypeError, AttributeError):
        raise UsageError(f"{path}: damaged, or of another version; run stage 4 again") from None


def _artifact_columns(scores: dict[str, Any]) -> dict[str, Any]:
    row = {}
    for state, prefix in (("trained", ""), ("untrained", "untrained_")):
        silence = scores[state]["silence"]
        row[f"{prefix}silence_db"] = silence["rms_db"]
        row[f"{prefix}silence_tones"] = silence["share_at_tones"]
        fractions = scores[state]["tonal_fraction"]
        row[f"{prefix}tonal_fraction_last_layer"] = fractions[-1] if fractions else None
        windows = [w for song in scores[state]["silent_windows"].values() for w in song.values()]
        for key in ("rms_db", "tones_db"):
            row[f"{prefix}silent_windows_{key}"] = pd.Series([w[key] for w in windows]).median()
        row[f"{prefix}silent_windows"] = sum(w["windows"] for w in windows if w["silent"])
        for name, found in scores[state]["unusual"].items():
            key = f"{prefix}{name.replace(' ', '_')}"
            row[f"{key}_tones"] = found["tones"]
            row[f"{key}_frequencies"] = found["frequencies"]
            row[f"{key}_tone_db"] = found["tone_db"]
            row[f"{key}_over_floor_db"] = found["over_floor_db"]
    return row
