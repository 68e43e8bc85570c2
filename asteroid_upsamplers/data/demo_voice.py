"""A synthetic voice that says or sings vowels, for speech mixtures where no speech program is.

Times are in seconds, frequencies in Hz, ``rate`` is the sample rate. Sounds are float64 of shape
``(frames,)``, about -1 to 1. Random numbers come from ``rng``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, sosfilt

Random = np.random.Generator
_PHASE = np.arange(4096) / 4096

# F1, F2, F3 in Hz of men and of women, averages over speakers: Peterson & Barney (1952), "Control
# methods used in a study of the vowels", J. Acoust. Soc. Am. 24(2), Table II.
FORMANTS = {
    "a": {"man": (730, 1090, 2440), "woman": (850, 1220, 2810)},
    "e": {"man": (530, 1840, 2480), "woman": (610, 2330, 2990)},
    "i": {"man": (270, 2290, 3010), "woman": (310, 2790, 3310)},
    "o": {"man": (570, 840, 2410), "woman": (590, 920, 2710)},
    "u": {"man": (300, 870, 2240), "woman": (370, 950, 2670)},
}
HIGH_FORMANTS = {"man": (3400, 4500), "woman": (3900, 4950)}  # F4, F5: much the same in all vowels
BANDWIDTHS = np.array([70.0, 90.0, 120.0, 170.0, 230.0])  # Hz, of F1 to F5
CONTROL_RATE = 100  # Hz, of the voice's pitch, loudness and formants


def midi_to_hz(pitch: float | np.ndarray) -> float | np.ndarray:
    """Frequency of a MIDI pitch in equal temperament (69 is 440 Hz)."""
    return 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)


def oscillator(hertz: np.ndarray, cycle: np.ndarray, rate: int) -> np.ndarray:
    """Repeat ``cycle``, one period of any length, at ``hertz`` (``(frames,)``) without aliasing."""
    spectrum = np.fft.rfft(cycle)
    spectrum[0] = 0.0
    spectrum[1 + max(1, int(0.45 * rate / hertz.max())) :] = 0.0
    table = np.fft.irfft(spectrum, len(cycle))
    position = np.cumsum(hertz) / rate % 1.0
    return np.interp(position, np.linspace(0, 1, len(cycle) + 1), np.append(table, table[0]))


@dataclass(frozen=True)
class Syllable:
    """A sung note: when, how high (MIDI), which vowel, and whether an "s" leads into it."""

    onset: float
    seconds: float
    pitch: float
    vowel: str
    hiss: bool


def sing(line: list[Syllable], build: str, frames: int, rng: Random, rate: int) -> np.ndarray:
    """Sing with a random voice of the "man" or "woman" ``build``, silent between syllables."""
    pitch, loudness, formants = _voice_controls(line, build, frames / rate, rng)
    time = np.arange(frames) / rate * CONTROL_RATE
    steps = np.arange(len(pitch))
    frequency = midi_to_hz(np.interp(time, steps, pitch))
    source = oscillator(np.asarray(frequency), _glottal_cycle(rng.uniform(0.45, 0.75)), rate)
    source += rng.uniform(0.01, 0.04) * rng.standard_normal(frames)  # breath
    source *= np.interp(time, steps, loudness)
    voice = _resonate(source, formants, rate)
    for syllable in line:
        if syllable.hiss:
            above = butter(2, min(4500, 0.2 * rate), "highpass", fs=rate, output="sos")
            hiss = sosfilt(above, rng.standard_normal(round(0.07 * rate)))
            start = max(0, round((syllable.onset - 0.06) * rate))
            onset = voice[start : start + len(hiss)]
            onset += 0.4 * (hiss * np.hanning(len(hiss)))[: len(onset)]
    return voice


def _glottal_cycle(open_quotient: float) -> np.ndarray:
    """Flow derivative of the pulse of Rosenberg (1971): slow opening, sudden closing."""
    opening = 0.7 * open_quotient
    rise = 0.5 - 0.5 * np.cos(np.pi * _PHASE / opening)
    fall = np.cos(0.5 * np.pi * (_PHASE - opening) / (open_quotient - opening))
    flow = np.select([opening > _PHASE, open_quotient > _PHASE], [rise, fall])
    slope = np.gradient(flow)
    return slope / np.abs(slope).max()


def _voice_controls(line: list[Syllable], build: str, seconds: float, rng: Random):
    """Pitch (MIDI), loudness (0 to 1) and formants (Hz, five) at the control rate."""
    steps = int(seconds * CONTROL_RATE) + 3
    pitch, loudness, age = np.zeros(steps), np.zeros(steps), np.zeros(steps)
    formants = np.zeros((steps, len(BANDWIDTHS)))
    size = rng.uniform(0.94, 1.06)  # vocal tracts differ in length
    for count, syllable in enumerate(line):
        start = round(syllable.onset * CONTROL_RATE)
        stop = start + round((syllable.seconds - 0.03) * CONTROL_RATE)
        held = slice(start if count else 0, None)
        pitch[held] = syllable.pitch
        formants[held] = size * np.array(FORMANTS[syllable.vowel][build] + HIGH_FORMANTS[build])
        loudness[start:stop] = rng.uniform(0.7, 1.0)
        age[start:] = np.arange(len(age[start:])) / CONTROL_RATE
    glide = round(rng.uniform(0.04, 0.12) * CONTROL_RATE)
    pitch = uniform_filter1d(pitch, glide, mode="nearest")
    cycles = rng.uniform(4.8, 6.6) * np.arange(steps) / CONTROL_RATE
    vibrato = rng.uniform(0.15, 0.5) * np.clip((age - 0.15) / 0.3, 0, 1)  # semitones
    pitch += vibrato * np.sin(2 * np.pi * cycles)
    pitch += 0.2 * uniform_filter1d(rng.standard_normal(steps), 4, mode="nearest")  # jitter
    formants = uniform_filter1d(formants, 6, axis=0, mode="nearest")
    # A singer raises the first formant with the pitch, or high notes would lose their power.
    formants[:, 0] = np.maximum(formants[:, 0], midi_to_hz(pitch))
    return pitch, uniform_filter1d(loudness, 4, mode="nearest"), formants


def _resonate(source: np.ndarray, formants: np.ndarray, rate: int) -> np.ndarray:
    """Filter by resonators in a row (Klatt, 1980) at ``formants`` Hz, ``(steps, resonators)``."""
    radius = np.exp(-np.pi * BANDWIDTHS / rate) * (formants < 0.45 * rate)  # else lets all through
    turn = 2 * np.pi * formants / rate
    sos = np.zeros((*formants.shape, 6))
    sos[..., 3], sos[..., 4], sos[..., 5] = 1.0, -2 * radius * np.cos(turn), radius**2
    sos[..., 0] = sos[..., 3:].sum(axis=-1)  # unit gain at 0 Hz
    hop = rate // CONTROL_RATE
    fade, tail = np.bartlett(2 * hop + 1)[:-1], np.zeros(4 * hop)
    padded = np.pad(source, (hop, 3 * hop))
    voice = np.zeros(len(source) + 8 * hop)
    # Every step has a filter of its own: new coefficients in a ringing filter would click.
    for start in range(0, len(source) + hop, hop):
        piece = np.append(fade * padded[start : start + 2 * hop], tail)
        voice[start : start + 6 * hop] += sosfilt(sos[round(start * CONTROL_RATE / rate)], piece)
    return voice[hop : hop + len(source)]
