"""Stage 4: artifact scores of trained models, beside those of the same models before training.

What SDR cannot see ([1] Sec. 6): tones in the windows where a source is silent, which museval
leaves out, and for sounds unlike those that the model was trained on.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ..artifacts import (
    detect_tones,
    silence_response,
    silent_windows,
    tone_frequencies,
    tone_levels,
)
from ..data import MIXTURE, Song
from ..dsp import mono_level
from ..evaluation import on_best_device, read_config, songs_to_test
from ..files import whole_or_nothing
from ..layers import Upsampler
from ..models import DemucsLike, load_model
from .unusual_sounds import unusual_sounds

ARTIFACTS = "artifacts.json"
VERSION = 2
"""Of the file; one of another is measured anew."""

EXCERPT_SECONDS = 30
"""So much of each test song is looked at, from its start."""


def measure_experiments(exp_dirs: Sequence[Path], progress: bool = True) -> None:
    """Write ``artifacts.json`` into each folder: ``trained`` and ``untrained`` scores.

    Both hold

    - ``tonal_fraction`` of each upsampling layer, outermost last;
    - ``silence``: response to zeros, rms in dB against 1 (the level that mixtures are brought to,
      where the model normalises) and the share of it at k / stride of the sample rate;
    - ``silent_windows``, by song and source: what the estimate of the song's first 30 s has left
      where the source is silent (:func:`artifacts.silent_windows`);
    - ``unusual``, by sound: steady tones in the estimates (:func:`artifacts.detect_tones`).

    Scores that are newer than the model are kept.

    Raises:
        UsageError: If an experiment has no trained model, or a test song cannot be used.
    """
    for exp_dir in tqdm(exp_dirs, "measuring artifacts", disable=not progress):
        model_path, path = exp_dir / "best_model.pth", exp_dir / ARTIFACTS
        if _is_measured(path, model_path):
            continue
        model = load_model(model_path)
        assert isinstance(model, DemucsLike)
        songs = songs_to_test(read_config(exp_dir))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            untrained = DemucsLike(**model.get_model_args()).eval()
        scores: dict[str, Any] = {"version": VERSION}
        for state, network in (("trained", model), ("untrained", untrained)):
            with on_best_device(network):
                scores[state] = _scores(network, songs)
        with whole_or_nothing(path) as partial:
            partial.write_text(json.dumps(scores, indent=2))


def _is_measured(path: Path, model_path: Path) -> bool:
    both = path.exists() and model_path.exists()
    if not both or path.stat().st_mtime < model_path.stat().st_mtime:
        return False
    return json.loads(path.read_text()).get("version") == VERSION


def _scores(model: DemucsLike, songs: Sequence[Song]) -> dict[str, Any]:
    layers = [tone_levels(m) for m in model.decoder.modules() if isinstance(m, Upsampler)]
    device = next(model.parameters()).device
    silence = silence_response(model, model.in_channels, model.stride, device=device)
    frequencies = tone_frequencies(model.sample_rate, [model.stride**2])
    return {
        "tonal_fraction": [layer.tonal_fraction for layer in layers],
        "silence": asdict(silence),
        "silent_windows": {song.name: _in_song(model, song, frequencies) for song in songs},
        "unusual": {
            name: _tones(model, sound, frequencies)
            for name, sound in unusual_sounds(int(model.sample_rate), songs[0]).items()
        },
    }


@torch.no_grad()
def _in_song(model: DemucsLike, song: Song, frequencies: Sequence[float]) -> dict[str, Any]:
    """By source: what is left where it is silent."""
    rate = int(model.sample_rate)
    frames = min(song.frames, EXCERPT_SECONDS * rate)
    mixture, *sources = song.read((MIXTURE, *model.sources), 0, frames)
    level = song.level((MIXTURE,)) if model.normalize else 1.0
    device = next(model.parameters()).device
    estimates = model(mixture[None].to(device) / level)[0].cpu() * level
    pairs = zip(model.sources, sources, estimates, strict=True)
    return {
        name: silent_windows(source, estimate, rate, frequencies).to_dict()
        for name, source, estimate in pairs
    }


@torch.no_grad()
def _tones(model: DemucsLike, sound: Tensor, frequencies: Sequence[float]) -> dict[str, Any]:
    """The surest steady tone in the estimates, and how many frequencies have one."""
    device = next(model.parameters()).device
    estimates = model(sound[None].to(device))[0].cpu().flatten(0, 1)
    found = detect_tones(estimates, model.sample_rate, frequencies)
    surest = min(range(len(frequencies)), key=lambda k: (found.p_values[k], -found.levels_db[k]))
    return {
        "level_db": float(20 * torch.tensor(mono_level([sound])).log10()),
        "tones": sum(found.present),
        "frequencies": len(frequencies),
        "frequency_hz": frequencies[surest],
        "tone_db": found.levels_db[surest],
        "over_floor_db": found.over_floor_db[surest],
        "p_value": found.p_values[surest],
    }
