"""Stage 4: artifact scores of trained models, beside those of the same models before training.

They show what SDR cannot ([1] Sec. 6): tones in windows where a source is silent, and for sounds
unlike those that the model was trained on.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ..artifacts import detect_tones, silence_response, silent_windows
from ..data import MIXTURE, Song, changed_since, read_notes, songs_at_rate
from ..dsp import mono_level
from ..evaluation import load_music_separator, songs_to_test
from ..files import alone_in, write_json
from ..models import MusicSeparator
from ..probe import tone_frequencies, watching
from .unusual_sounds import unusual_sounds

ARTIFACTS, MODEL = "artifacts.json", "best_model.pth"
VERSION = 7
"""Of the file; one of another version is measured again."""

PERIOD = 16
"""Period in samples of the tones of the last two strides of 4."""

EXCERPT_SECONDS = 30
"""Length of the excerpt, from the start of each test song."""


def measure_experiments(
    exp_dirs: Sequence[Path],
    musdb18_dir: Path,
    wav_dir: Path,
    progress: bool = True,
    skip_bad_songs: bool = False,
) -> None:
    """Write ``artifacts.json`` into each folder: ``trained`` and ``untrained`` scores.

    Both hold

    - ``tonal_fraction`` of each upsampling layer whose weights can be read, in the order of calls;
    - ``period``: tones are looked for at multiples of the sample rate / period. It is 16 samples,
      for a last stride above 16 that stride, and for networks on spectrograms, which serve as a
      control, 16;
    - ``silence``: output for zeros, rms in dB against 1 (the level that mixtures are normalised to;
      -400 for exact silence), and its share at multiples of the rate / stride of the last
      layer;
    - ``silent_windows``, by song and source: what the estimate has left in the song's first 30 s
      where the source is silent (:func:`artifacts.silent_windows`);
    - ``unusual``, by sound: steady tones in the estimates (:func:`artifacts.detect_tones`).

    Scores are kept as long as the model and the songs are the same, by their content.

    Args:
        exp_dirs: Folders with a trained model.
        musdb18_dir: MUSDB18, or a set in MUSDB18-HQ's layout.
        wav_dir: Where stage 0 put the wav files of MUSDB18.
        progress: Whether to show a progress bar.
        skip_bad_songs: Whether to leave out (and name) songs that cannot be used.

    Raises:
        UsageError: If an experiment has no trained model, a test song cannot be used, or another
            run is at work in a folder.
    """
    for exp_dir in tqdm(exp_dirs, "measuring artifacts", disable=not progress):
        model = load_music_separator(exp_dir)
        with alone_in(exp_dir):
            songs = songs_to_test(musdb18_dir, wav_dir, model.sources, skip_bad_songs, progress)
            noted = read_notes(exp_dir / ARTIFACTS)
            files = {song.name: song.files.values() for song in songs}
            own, changed = changed_since(noted.get("model"), {MODEL: [exp_dir / MODEL]})
            origin, changed_songs = changed_since(noted.get("songs"), files)
            same_songs = not changed_songs and noted["songs"].keys() == origin.keys()
            if changed or not same_songs or noted.get("version") != VERSION:
                rate = int(model.sample_rate)
                songs = songs_at_rate(
                    musdb18_dir, wav_dir, "test", rate, progress, model.sources, skip_bad_songs
                )
                _measure(exp_dir, model, songs, {"version": VERSION, "model": own, "songs": origin})


@torch.no_grad()
def _measure(exp_dir: Path, model: MusicSeparator, songs: Sequence[Song], head: dict) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        untrained = type(model)(**model.get_model_args()).eval().to(_device(model))
    scores = {**head, "trained": _scores(model, songs)}
    scores["untrained"] = _scores(untrained, songs)
    write_json(exp_dir / ARTIFACTS, scores)


def _device(model: MusicSeparator) -> torch.device:
    return next(model.parameters()).device


def _scores(model: MusicSeparator, songs: Sequence[Song]) -> dict[str, Any]:
    strides = model.upsampling_strides
    silence = silence_response(model, model.in_channels, (1, *strides)[-1], device=_device(model))
    period = 1
    for stride in reversed(strides):
        period *= stride if period < PERIOD else 1
    period = period if strides else PERIOD
    frequencies = tone_frequencies(model.sample_rate, [period])
    sounds = unusual_sounds(int(model.sample_rate), songs[0])
    return {
        "tonal_fraction": _tonal_fractions(model) if strides else [],
        "period": period,
        "silence": silence.to_dict(),
        "silent_windows": {song.name: _in_song(model, song, frequencies) for song in songs},
        "unusual": {name: _tones(model, sound, frequencies) for name, sound in sounds.items()},
    }


def _tonal_fractions(model: MusicSeparator) -> list[float]:
    with watching(model) as calls:
        model(torch.zeros(1, model.in_channels, 2**14, device=_device(model)))
    tones = [call.tones() for call in calls]
    return [tone.tonal_fraction for tone in tones if tone is not None]


def _in_song(model: MusicSeparator, song: Song, frequencies: Sequence[float]) -> dict[str, Any]:
    """By source: what the estimate has left where the source is silent."""
    rate = int(model.sample_rate)
    frames = min(song.frames, EXCERPT_SECONDS * rate)
    mixture, *sources = song.read((MIXTURE, *model.sources), 0, frames)
    level = song.level((MIXTURE,)) if model.normalize else 1.0
    estimates = model(mixture[None].to(_device(model)) / level)[0].cpu() * level
    pairs = zip(model.sources, sources, estimates, strict=True)
    return {
        name: silent_windows(source, estimate, rate, frequencies).to_dict()
        for name, source, estimate in pairs
    }


def _tones(model: MusicSeparator, sound: Tensor, frequencies: Sequence[float]) -> dict[str, Any]:
    """The most significant steady tone in the estimates, and how many frequencies have one."""
    estimates = model(sound[None].to(_device(model)))[0].cpu().flatten(0, 1)
    found = detect_tones(estimates, model.sample_rate, frequencies)
    best = min(range(len(frequencies)), key=lambda k: (found.p_values[k], -found.levels_db[k]))
    return {
        "level_db": 20 * math.log10(mono_level([sound])),
        "tones": sum(found.present),
        "frequencies": len(frequencies),
        "frequency_hz": frequencies[best],
        "tone_db": found.levels_db[best],
        "over_floor_db": found.over_floor_db[best],
        "p_value": found.p_values[best],
    }
