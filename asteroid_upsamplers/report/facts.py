"""What the files of an experiment say about its network, training, speed and artifacts."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from ..data import SOURCES, read_notes
from ..dsp.spectra import NOTHING_DB
from ..errors import UsageError
from ..evaluation.outdated import has_changed, outdated_scores
from .artifact_scores import ARTIFACTS, MODEL
from .paper import quote

PROVENANCE = ("commit", "python", "asteroid", "torch", "pytorch-lightning", "museval", "device")

_FIGURES = ("parameters", "seconds_per_epoch", "epochs", "best_epoch")
_SETTINGS = ("upsampler", "modified", "channels")


def describe(exp_dir: Path, conf: dict[str, Any]) -> dict[str, Any]:
    """One run's part of a row of :func:`collect`, but for the scores; unknown values are missing.

    Raises:
        UsageError: If ``conf.yml``, ``training.json``, ``evaluation.json`` or ``artifacts.json``
            cannot be used.
    """
    with _damage_of(exp_dir / "conf.yml", "damaged, must be sections of keys"):
        settings = section(conf, "model")
        row = {"network": settings.get("name"), **{key: settings.get(key) for key in _SETTINGS}}
        quoted = quote(settings)
        sources = section(conf, "data").get("sources", SOURCES)
        if quoted and sorted(sources) == sorted(SOURCES):
            row |= quoted.columns()
    path = exp_dir / "training.json"
    with _damage_of(path, "missing or damaged; train the experiment to its end"):
        training = json.loads(path.read_text())
        row |= {key: _number(training[key]) for key in _FIGURES if key in training}
        texts = {key: training.get(key) for key in ("seed", *PROVENANCE)}
        row |= {key: str(value) for key, value in texts.items() if value is not None}
    path = exp_dir / "evaluation.json"
    with _damage_of(path, "damaged; run stage 2 again"):
        if path.exists():
            row["real_time_factor"] = _number(json.loads(path.read_text())["real_time_factor"])
    path = exp_dir / ARTIFACTS
    with _damage_of(path, "damaged, or of another version; run stage 4 again"):
        row |= _artifacts(json.loads(path.read_text())) if path.exists() else {}
    return {key: value for key, value in row.items() if value is not None}


def outdated_files(exp_dir: Path) -> list[str]:
    """Scores and artifacts that are older than what they were made from, a line for each."""
    noted = read_notes(exp_dir / ARTIFACTS).get("model")
    model = noted.get(MODEL) if isinstance(noted, dict) else None
    lines = outdated_scores(exp_dir)
    if has_changed(model, exp_dir):
        lines.append(f"{exp_dir / ARTIFACTS}: of another {MODEL}: run stage 4")
    return lines


def section(conf: dict[str, Any], name: str) -> dict[str, Any]:
    """A section of a ``conf.yml``; nothing if there is none."""
    found = conf.get(name)
    return found if isinstance(found, dict) else {}


@contextlib.contextmanager
def _damage_of(path: Path, words: str) -> Iterator[None]:
    """Say of a file that cannot be read, or holds something else, what is wrong with it."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise UsageError(f"{path}: {words}") from error


def _number(value: Any) -> float:
    """The value itself if it is a finite number."""
    if isinstance(value, (int, float)) and math.isfinite(value):
        return value
    raise TypeError(f"{value!r} is no number")


def _artifacts(scores: Any) -> dict[str, Any]:
    row: dict[str, float | None] = {}
    for state, prefix in (("trained", ""), ("untrained", "untrained_")):
        silence = scores[state]["silence"]
        level = silence["rms_db"]  # null in older files
        row[f"{prefix}silence_db"] = NOTHING_DB if level is None else _number(level)
        row[f"{prefix}silence_tones"] = _number(silence["share_at_tones"])
        fractions = scores[state]["tonal_fraction"]
        row[f"{prefix}tonal_fraction_last_layer"] = _number(fractions[-1]) if fractions else None
        windows = [w for song in scores[state]["silent_windows"].values() for w in song.values()]
        for key in ("rms_db", "tones_db"):
            row[f"{prefix}silent_windows_{key}"] = _number(median(w[key] for w in windows))
        row[f"{prefix}silent_windows"] = sum(w["windows"] for w in windows if w["silent"])
        for sound, found in scores[state]["unusual"].items():
            for key in ("tones", "frequencies", "tone_db", "over_floor_db"):
                row[f"{prefix}{sound.replace(' ', '_')}_{key}"] = _number(found[key])
    return row
