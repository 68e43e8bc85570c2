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
)
from ..data import MIXTURE, Song, songs_at_rate
from ..dsp import mono_level
from ..evaluation import load_music_separator
from ..files import alone_in, whole_or_nothing
from ..models import MusicSeparator
from ..probe import tone_frequencies, watching
from .unusual_sounds import unusual_sounds

ARTIFACTS = "artifacts.json"
VERSION = 3
"""Of the file; one of another is measured anew."""

PERIOD = 16
"""Samples: that of the tones of the last two strides of 4."""

EXCERPT_SECONDS = 30
"""So much of each test song is looked at, from its start."""


def measure_experiments(
    exp_dirs: Sequence[Path], musdb18_dir: Path, wav_dir: Path, progress: bool = True
) -> None:
    """Write ``artifacts.json`` into each folder: ``trained`` and ``untrained`` scores.

    Both hold

    - ``tonal_fraction`` of each upsampling layer whose weights are seen at work, outermost last;
    - ``period``: tones are looked for at its multiples of the sample rate: k / 16 of it, in a model
      whose last stride is longer k / stride, and in one on spectrograms k / 16 as a control;
    - ``silence``: response to zeros, rms in dB against 1 (the level that mixtures are brought to,
      where the model normalises) and the share of it at k / stride of the sample rate, for the
      stride of the last layer;
    - ``silent_windows``, by song and source: what the estimate of the song's first 30 s has left
      where the source is silent (:func:`artifacts.silent_windows`);
    - ``unusual``, by sound: steady tones in the estimates (:func:`artifacts.detect_tones`).

    Scores that are newer than the model are kept.

    Raises:
        UsageError: If an experiment has no trained model, a test song cannot be used, or another
            run is at work in a folder.
    """
    for exp_dir in tqdm(exp_dirs, "measuring artifacts", disable=not progress):
        model = load_music_separator(exp_dir)
        with alone_in(exp_dir):
            if not _is_measured(exp_dir / ARTIFACTS, exp_dir / "best_model.pth"):
                songs = songs_at_rate(
                    musdb18_dir, wav_dir, "test", int(model.sample_rate), progress
                )
                _measure(exp_dir, model, songs)


def _measure(exp_dir: Path, model: MusicSeparator, songs: Sequence[Song]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        untrained = type(model)(**model.get_model_args()).eval()
    scores: dict[str, Any] = {"version": VERSION}
    scores["trained"] = _scores(model, songs)
    scores["untrained"] = _scores(untrained.to(next(model.parameters()).device), songs)
    with whole_or_nothing(exp_dir / ARTIFACTS) as partial:
        partial.write_text(json.dumps(scores, indent=2))


def _is_measured(path: Path, model_path: Path) -> bool:
    both = path.exists() and model_path.exists()
    if not both or path.stat().st_mtime < model_path.stat().st_mtime:
        return False
    return json.loads(path.read_text()).get("version") == VERSION


def _scores(model: MusicSeparator, songs: Sequence[Song]) -> dict[str, Any]:
    device = next(model.parameters()).device
    last = (1, *model.upsampling_strides)[-1]
    silence = silence_response(model, model.in_channels, last, device=device)
    period = _period(model.upsampling_strides)
    frequencies = tone_frequencies(model.sample_rate, [period])
    return {
        "tonal_fraction": _tonal_fractions(model),
        "period": period,
        "silence": asdict(silence),
        "silent_windows": {song.name: _in_song(model, song, frequencies) for song in songs},
        "unusual": {
            name: _tones(model, sound, frequencies)
            for name, sound in unusual_sounds(int(model.sample_rate), songs[0]).items()
        },
    }


def _period(strides: Sequence[int]) -> int:
    """That of the last layers' tones in samples, of so many layers that it reaches 16."""
    period = 1
    for stride in reversed(strides):
        if period < PERIOD:
            period *= stride
    return period if strides else PERIOD


@torch.no_grad()
def _tonal_fractions(model: MusicSeparator) -> list[float]:
    if not model.upsampling_strides:
        return []
    device = next(model.parameters()).device
    with watching(model) as calls:
        model(torch.zeros(1, model.in_channels, 2**14, device=device))
    tones = [call.tones() for call in calls]
    return [tone.tonal_fraction for tone in tones if tone is not None]


@torch.no_grad()
def _in_song(model: MusicSeparator, song: Song, frequencies: Sequence[float]) -> dict[str, Any]:
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
def _tones(model: MusicSeparator, sound: Tensor, frequencies: Sequence[float]) -> dict[str, Any]:
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
