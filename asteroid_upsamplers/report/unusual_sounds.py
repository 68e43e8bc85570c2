"""Sounds that a music separator was not trained on."""

from __future__ import annotations

import librosa
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..data import MIXTURE, Song
from ..data.demo_songs import render_song
from ..dsp import mono_level

SECONDS = 6
VOICE_SEED = 7
QUIET = 0.2


def unusual_sounds(sample_rate: int, song: Song) -> dict[str, Tensor]:
    """Noise, a sweep, a voice alone, and a song at a fifth of its level.

    Args:
        sample_rate: In Hz.
        song: The one that becomes quiet.

    Returns:
        By name ``(2, 6 s)``, both channels of the level 1 that training brings mixtures to
        (:func:`dsp.mono_level`), the quiet song of 0.2.
    """
    frames = SECONDS * sample_rate
    generator = torch.Generator().manual_seed(0)
    sweep = librosa.chirp(fmin=20, fmax=0.45 * sample_rate, sr=sample_rate, length=frames)
    voice = render_song(VOICE_SEED, SECONDS, sample_rate)["vocals"].T
    sounds = {
        "noise": torch.randn(1, frames, generator=generator).expand(2, -1),
        "sweep": torch.from_numpy(np.asarray(sweep, dtype=np.float32)).expand(2, -1),
        "voice": torch.from_numpy(voice.copy()),
        "quiet song": song.read((MIXTURE,), 0, min(frames, song.frames))[0],
    }
    sounds = {name: _long_enough(sound, frames) for name, sound in sounds.items()}
    levels = {name: QUIET if name == "quiet song" else 1.0 for name in sounds}
    return {name: sound * (levels[name] / mono_level([sound])) for name, sound in sounds.items()}


def _long_enough(sound: Tensor, frames: int) -> Tensor:
    return F.pad(sound.float(), (0, frames - sound.shape[-1]))
