"""What the files of an experiment say about its network, training, speed and artifacts."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

from ..errors import UsageError
from .artifact_scores import ARTIFACTS
from .paper import quote

PROVENANCE = ("commit", "python", "asteroid", "torch", "pytorch-lightning", "museval", "device")

_TRAINING = ("parameters", "seconds_per_epoch", "epochs", "best_epoch", "seed", *PROVENANCE)
_SETTINGS = ("upsampler", "modified", "channels")


def describe(exp_dir: Path, conf: dict[str, Any]) -> dict[str, Any]:
    """One run's part of a row of :func:`collect`, but for the scores; unknown values are missing.

    Raises:
        UsageError: If ``training.json`` or ``artifacts.json`` cannot be used.
    """
    settings = conf.get("model")
    settings = settings if isinstance(settings, dict) else {}
    row = {"network": settings.get("name"), **{key: settings.get(key) for key in _SETTINGS}}
    quoted = quote(settings)
    if quoted:
        row |= quoted.columns()
    training = _read(exp_dir / "training.json")
    if training is None:
        raise UsageError(
            f"{exp_dir / 'training.json'}: missing or damaged; train the experiment to its end"
        )
    row |= {key: training.get(key) for key in _TRAINING}
    row["real_time_factor"] = (_read(exp_dir / "evaluation.json") or {}).get("real_time_factor")
    path = exp_dir / ARTIFACTS
    if path.exists():
        try:
            row |= _artifacts(_read(path))
        except (LookupError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{path}: damaged, or of another version; run stage 4 again"
            ) from error
    return {key: value for key, value in row.items() if value is not None}


def _read(path: Path) -> Any:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _artifacts(scores: Any) -> dict[str, Any]:
    row = {}
    for state, prefix in (("trained", ""), ("untrained", "untrained_")):
        silence = scores[state]["silence"]
        level = silence["rms_db"]
        row[f"{prefix}silence_db"] = float("-inf") if level is None else level
        row[f"{prefix}silence_tones"] = silence["share_at_tones"]
        fractions = scores[state]["tonal_fraction"]
        row[f"{prefix}tonal_fraction_last_layer"] = fractions[-1] if fractions else None
        windows = [w for song in scores[state]["silent_windows"].values() for w in song.values()]
        for key in ("rms_db", "tones_db"):
            row[f"{prefix}silent_windows_{key}"] = median(w[key] for w in windows)
        row[f"{prefix}silent_windows"] = sum(w["windows"] for w in windows if w["silent"])
        for sound, found in scores[state]["unusual"].items():
            for key in ("tones", "frequencies", "tone_db", "over_floor_db"):
                row[f"{prefix}{sound.replace(' ', '_')}_{key}"] = found[key]
    return row
