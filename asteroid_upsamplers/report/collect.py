"""From experiment folders to one table of results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ..data import SOURCES
from ..errors import UsageError
from ..evaluation import BASELINE, METRICS, aggregate, load_scores
from .artifact_scores import ARTIFACTS
from .paper import TABLE_1

PROVENANCE = ("commit", "python", "asteroid", "torch", "pytorch-lightning", "museval", "device")


def collect(exp_dirs: Sequence[Path]) -> pd.DataFrame:
    """One row a system: the mixture as its own estimate first, if it was scored, then experiments.

    Args:
        exp_dirs: Experiment folders, in the order of the rows.

    Returns:
        Index ``system``. Columns: ``upsampler``, ``modified``, ``<metric>_<stem>`` and
        ``<metric>_mean`` (median over frames, median over songs; mean over the stems),
        ``<metric>_<stem>_mean_of_medians``, ``songs``, ``songs_total``, ``nan_frames``, ``frames``
        (all in dB or counts), ``parameters``, ``seconds_per_epoch``, ``epochs``, ``seed``, what
        [1] Table 1 prints (``paper_sdr``, ``paper_seconds_per_epoch``, ``paper_parameters``),
        commit, versions and machine; where stage 4 was run, of the trained model and, beginning
        with ``untrained_``, of the same before training: ``silence_db`` and ``silence_tones``
        (response to silence: rms in dB against 1, share of it at multiples of the rate / stride);
        ``silent_windows_rms_db`` and ``silent_windows_tones_db`` (estimates where their source is
        silent, or quietest: median over songs and sources), ``silent_windows`` (how many of them
        are silent); and for each unusual sound ``<sound>_tones`` (of eight frequencies, how many
        have a steady tone), ``<sound>_tone_db`` and ``<sound>_over_floor_db`` of the surest.

    Raises:
        UsageError: If a folder holds no scores.
    """
    if not exp_dirs:
        raise UsageError("no experiment folders to report on")
    baselines = [exp_dir.parent / BASELINE for exp_dir in exp_dirs]
    baselines = [path for path in dict.fromkeys(baselines) if (path / "scores").is_dir()]
    names = _names([*baselines, *exp_dirs])
    rows: dict[str, dict[str, Any]] = {names[path]: _scores(path) for path in baselines}
    for exp_dir in exp_dirs:
        rows[names[exp_dir]] = {
            **_settings(exp_dir),
            **_scores(exp_dir),
            **_training(exp_dir),
            **_artifacts(exp_dir),
        }
    results = pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")
    whole = [column for column in _WHOLE if column in results]
    return results.astype(dict.fromkeys(whole, "Int64"))


_WHOLE = ["songs", "songs_total", "nan_frames", "frames", "channels", "parameters"]
_WHOLE += ["epochs", "best_epoch", "seed"]


def _names(folders: Sequence[Path]) -> dict[Path, str]:
    """Folder names; with that of the folder above where two are the same."""
    names = [folder.name for folder in dict.fromkeys(folders)]
    if len(set(names)) == len(names):
        return {folder: folder.name for folder in folders}
    return {folder: f"{folder.resolve().parent.name}/{folder.name}" for folder in folders}


def _scores(exp_dir: Path) -> dict[str, Any]:
    table = aggregate(load_scores(exp_dir / "scores"))
    row: dict[str, Any] = {}
    for metric in METRICS:
        for stem in (*SOURCES, "mean"):
            row[f"{metric}_{stem}"] = table.loc[stem, metric]
            row[f"{metric}_{stem}_mean_of_medians"] = table.loc[stem, f"{metric}_mean"]
    for count in ("songs", "songs_total", "nan_frames", "frames"):
        row[count] = int(table.loc[list(SOURCES), count].max())
    return row


def _settings(exp_dir: Path) -> dict[str, Any]:
    try:
        conf = yaml.safe_load((exp_dir / "conf.yml").read_text())
    except OSError:
        raise UsageError(f"{exp_dir}: no experiment here (no conf.yml)") from None
    model = conf["model"]
    row = {key: model[key] for key in ("upsampler", "modified", "channels")}
    quoted = TABLE_1.get((model["upsampler"], model["modified"], model["encoder_context"]))
    if quoted and model["upsampler_kernel_size"] is None:
        row["paper_sdr"] = quoted.sdr
        row["paper_seconds_per_epoch"] = quoted.seconds_per_epoch
        row["paper_parameters"] = quoted.parameters
    return row


def _artifacts(exp_dir: Path) -> dict[str, Any]:
    path = exp_dir / ARTIFACTS
    if not path.exists():
        return {}
    scores = json.loads(path.read_text())
    row = {}
    for state, prefix in (("trained", ""), ("untrained", "untrained_")):
        silence = scores[state]["silence"]
        row[f"{prefix}silence_db"] = silence["rms_db"]
        row[f"{prefix}silence_tones"] = silence["share_at_tones"]
        row[f"{prefix}tonal_fraction_last_layer"] = scores[state]["tonal_fraction"][-1]
        windows = [w for song in scores[state]["silent_windows"].values() for w in song.values()]
        for key in ("rms_db", "tones_db"):
            row[f"{prefix}silent_windows_{key}"] = pd.Series([w[key] for w in windows]).median()
        row[f"{prefix}silent_windows"] = sum(w["windows"] for w in windows if w["silent"])
        for name, found in scores[state]["unusual"].items():
            key = f"{prefix}{name.replace(' ', '_')}"
            row[f"{key}_tones"] = found["tones"]
            row[f"{key}_tone_db"] = found["tone_db"]
            row[f"{key}_over_floor_db"] = found["over_floor_db"]
    return row


def _training(exp_dir: Path) -> dict[str, Any]:
    path = exp_dir / "training.json"
    try:
        summary = json.loads(path.read_text())
    except (OSError, ValueError):
        raise UsageError(f"{path}: missing or damaged; train the experiment to its end") from None
    keys = ("parameters", "seconds_per_epoch", "epochs", "best_epoch", "seed", *PROVENANCE)
    return {key: summary.get(key) for key in keys}
