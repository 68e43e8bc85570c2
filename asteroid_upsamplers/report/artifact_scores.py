"""Stage 4: artifact scores of trained models, beside those of the same models before training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ..artifacts import silence_response, tone_levels
from ..files import whole_or_nothing
from ..layers import Upsampler
from ..models import DemucsLike, load_model

ARTIFACTS = "artifacts.json"


def measure_experiments(exp_dirs: Sequence[Path], progress: bool = True) -> None:
    """Write ``artifacts.json`` into each folder: ``trained`` and ``untrained`` scores.

    Both hold the tonal fraction of each upsampling layer, outermost last, and the response to
    silence: rms in dB against 1 (the level that mixtures are
    brought to, where the model normalises) and the share of it at k / stride of the sample rate.
    Scores that are newer than the model are kept.

    Raises:
        UsageError: If an experiment has no trained model.
    """
    for exp_dir in tqdm(exp_dirs, "measuring artifacts", disable=not progress):
        model_path, path = exp_dir / "best_model.pth", exp_dir / ARTIFACTS
        both = path.exists() and model_path.exists()
        if both and path.stat().st_mtime >= model_path.stat().st_mtime:
            continue
        model = load_model(model_path)
        assert isinstance(model, DemucsLike)
        torch.manual_seed(0)
        untrained = DemucsLike(**model.get_model_args()).eval()
        scores = {"trained": _scores(model), "untrained": _scores(untrained)}
        with whole_or_nothing(path) as partial:
            partial.write_text(json.dumps(scores, indent=2))


def _scores(model: DemucsLike) -> dict[str, Any]:
    layers = [tone_levels(m) for m in model.decoder.modules() if isinstance(m, Upsampler)]
    silence = silence_response(model, model.in_channels, model.stride)
    return {
        "tonal_fraction": [layer.tonal_fraction for layer in layers],
        "silence": asdict(silence),
    }
