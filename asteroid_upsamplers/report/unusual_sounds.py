"""Sounds that a music separator was not trained on."""

from __future__ import annotations

import librosa
import torch
from torch import Tensor
from torch.nn import functional as F

from ..data import MIXTURE, Song, render_song
from ..dsp import mono_level

SECONDS = 6
VOICE_SEED = 7
QUIET = 0.2


def unusual_sounds(sample_rate: int, song: Song) -> dict[str, Tensor]:
    """Noise, a sweep, a voice alone, and a song at a fifth of its level, by name.

    Each is ``(2, 6 s)``, normalised to level 1 as mixtures are in training
    (:func:`dsp.mono_level`), the quiet song to 0.2.
    """
    frames = SECONDS * sample_rate
    generator = torch.Generator().manual_seed(0)
    sweep = librosa.chirp(fmin=20, fmax=0.45 * sample_rate, sr=sample_rate, length=frames)
    sounds = {
        "noise": torch.randn(1, frames, generator=generator).expand(2, -1),
        "sweep": torch.from_numpy(sweep).float().expand(2, -1),
        "voice": torch.from_numpy(render_song(VOICE_SEED, SECONDS, sample_rate)["vocals"].T.copy()),
        "quiet song": song.read((MIXTURE,), 0, min(frames, song.frames))[0],
    }
    for name, sound in sounds.items():
        level = QUIET if name == "quiet song" else 1.0
        padded = F.pad(sound, (0, frames - sound.shape[-1]))
        sounds[name] = padded * (level / mono_level([padded]))
    return sounds
