"""Sound sources of the demo songs: oscillators, notes, drums and a singing voice.

Times are in seconds, frequencies in Hz, ``rate`` is the sample rate. Sounds are float64 of shape
``(frames,)``, about -1 to 1, unless stated otherwise. Random numbers come from ``rng``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, oaconvolve, sosfilt

Random = np.random.Generator
_PHASE = np.arange(4096) / 4096
CYCLES = {"saw": 1 - 2 * _PHASE, "square": np.where(_PHASE < 0.5, 1.0, -1.0)}
DRAWBARS = np.array([1, 2, 3, 4, 6, 8])  # harmonics of an organ's stops from 8' to 1'

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


def band(sound: np.ndarray, low: float | None, high: float | None, rate: int) -> np.ndarray:
    """Second-order Butterworth filter along axis 0; ``None`` leaves that side open.

    Edges that the sample rate cannot carry move below its Nyquist frequency.
    """
    top = 0.45 * rate
    high = top if high is None else min(high, top)
    if low is None:
        sections = butter(2, high, "lowpass", fs=rate, output="sos")
    elif high == top:
        sections = butter(2, min(low, 0.5 * top), "highpass", fs=rate, output="sos")
    else:
        sections = butter(2, (min(low, 0.5 * high), high), "bandpass", fs=rate, output="sos")
    return sosfilt(sections, sound, axis=0)


def envelope(frames: int, attack: float, decay: float, rate: int) -> np.ndarray:
    """Linear attack, exponential decay (time constant; ``inf`` holds) and a 15 ms release."""
    time = np.arange(frames) / rate
    rise = np.minimum(1.0, time / max(attack, 1e-3))
    release = np.minimum(1.0, (frames / rate - time) / 0.015)
    return rise * release * np.exp(-time / decay)


def oscillator(hertz: np.ndarray, cycle: np.ndarray, rate: int) -> np.ndarray:
    """Repeat ``cycle``, one period of any length, at ``hertz`` (``(frames,)``) without aliasing."""
    spectrum = np.fft.rfft(cycle)
    spectrum[0] = 0.0
    spectrum[1 + max(1, int(0.45 * rate / hertz.max())) :] = 0.0
    table = np.fft.irfft(spectrum, len(cycle))
    position = np.cumsum(hertz) / rate % 1.0
    return np.interp(position, np.linspace(0, 1, len(cycle) + 1), np.append(table, table[0]))


@dataclass(frozen=True)
class Patch:
    """A timbre (a key of :data:`TIMBRES`) with its settings for one song."""

    timbre: str
    brightness: float  # 0 (dull) to 1 (bright)
    attack: float
    decay: float

    @classmethod
    def draw(cls, timbre: str, rng: Random) -> Patch:
        """Draw settings for ``timbre``."""
        attack = rng.uniform(0.1, 0.4) if timbre == "pad" else rng.uniform(0.002, 0.012)
        return cls(timbre, rng.uniform(), attack, rng.uniform(0.25, 0.9))

    def play(self, pitch: float, seconds: float, rng: Random, rate: int) -> np.ndarray:
        """One note of ``round(seconds * rate)`` frames at a MIDI pitch."""
        frames = max(1, round(seconds * rate))
        return TIMBRES[self.timbre](self, float(midi_to_hz(pitch)), frames, rng, rate)


def _synth(patch: Patch, hertz: float, frames: int, rng: Random, rate: int) -> np.ndarray:
    sound = oscillator(np.full(frames, hertz), CYCLES[patch.timbre], rate)
    cutoff = hertz * (2.0 + 6.0 * patch.brightness)
    dark, bright = band(sound, None, cutoff, rate), band(sound, None, 4 * cutoff, rate)
    sweep = np.exp(-np.arange(frames) / rate / (0.4 * patch.decay))
    shape = envelope(frames, patch.attack, 3 * patch.decay, rate)
    return shape * (dark + sweep * (bright - dark))


def _pad(patch: Patch, hertz: float, frames: int, rng: Random, rate: int) -> np.ndarray:
    detuned = hertz * 2.0 ** (np.array([-1, 0, 1]) * 0.15 * patch.decay / 12)
    sound = np.mean([oscillator(np.full(frames, f), CYCLES["saw"], rate) for f in detuned], axis=0)
    sound = band(sound, None, 700 + 2500 * patch.brightness, rate)
    return sound * envelope(frames, patch.attack, np.inf, rate)


def _organ(patch: Patch, hertz: float, frames: int, rng: Random, rate: int) -> np.ndarray:
    levels = np.array([1, 0.8, 0.6, 0.7, 0.4, 0.5]) * np.where(DRAWBARS < 4, 1, patch.brightness)
    waves = levels[:, None] * np.sin(2 * np.pi * DRAWBARS[:, None] * _PHASE)
    cycle = waves.sum(axis=0) / 2.5
    rotor = np.sin(2 * np.pi * (4 + 3 * patch.decay) * np.arange(frames) / rate)
    sound = oscillator(hertz * (1 + 0.003 * rotor), cycle, rate)
    return sound * (1 + 0.15 * rotor) * envelope(frames, 0.008, np.inf, rate)


def _modulated(patch: Patch, hertz: float, frames: int, ratio: int, index: float, rate: int):
    """Frequency modulation whose index fades, as struck things grow duller."""
    time = np.arange(frames) / rate
    ratio = max(1, min(ratio, int(0.2 * rate / hertz)))
    fading = index * np.exp(-time / (0.3 * patch.decay))
    turn = 2 * np.pi * hertz * time
    shape = envelope(frames, patch.attack, 1.5 * patch.decay, rate)
    return shape * np.sin(turn + fading * np.sin(ratio * turn))


def _fm(patch: Patch, hertz: float, frames: int, rng: Random, rate: int) -> np.ndarray:
    ratio = 1 + int(2 * patch.brightness)
    return _modulated(patch, hertz, frames, ratio, 1.5 + 2 * patch.brightness, rate)


def _epiano(patch: Patch, hertz: float, frames: int, rng: Random, rate: int) -> np.ndarray:
    tine = _modulated(patch, hertz, frames, 14, 0.3 + 0.5 * patch.brightness, rate)
    body = _modulated(patch, hertz, frames, 1, 0.5 + patch.brightness, rate)
    return 0.35 * tine + 0.65 * body


def _pluck(patch: Patch, hertz: float, frames: int, rng: Random, rate: int) -> np.ndarray:
    """Karplus & Strong (1983): each period is the last one, averaged over neighbouring frames."""
    length = int(np.ceil(rate / hertz))
    loss = np.exp(-1 / (hertz * 1.5 * patch.decay))
    string = band(rng.uniform(-1, 1, length), None, hertz * (4 + 20 * patch.brightness), rate)
    string -= string.mean()
    # The average delays by half a frame: read the string at the rate that gives the exact pitch.
    read = np.arange(frames) * (length + 0.5) * hertz / rate
    periods = [string]
    while len(periods) * length <= read[-1] + 1:
        string = loss * 0.5 * (string + np.roll(string, 1))
        periods.append(string)
    sound = np.interp(read, np.arange(length * len(periods)), np.concatenate(periods))
    return sound * envelope(frames, 0.001, np.inf, rate)


TIMBRES = {"saw": _synth, "square": _synth, "pad": _pad, "organ": _organ, "pluck": _pluck}
TIMBRES |= {"fm": _fm, "epiano": _epiano}


@dataclass(frozen=True)
class Kit:
    """Settings of a drum kit for one song."""

    kick_hertz: float
    kick_decay: float
    snare_hertz: float
    snare_decay: float
    hat_hertz: float
    hat_decay: float
    tom_hertz: float

    @classmethod
    def draw(cls, rng: Random) -> Kit:
        """Draw a kit between tight and electronic, and deep and roomy."""
        low = (42, 0.10, 160, 0.06, 5000, 0.02, 75)
        high = (62, 0.30, 240, 0.16, 8500, 0.05, 110)
        return cls(*rng.uniform(low, high))

    def hit(self, drum: str, rng: Random, rate: int) -> np.ndarray:
        """One hit of "kick", "snare", "hat", "open", "crash", "tom1", "tom2" or "tom3"."""
        if drum == "kick":
            thump = _swept_sine(self.kick_hertz, 4.0, self.kick_decay, rate)
            return thump + 0.3 * _noise_burst(0.005, 1500, 6000, len(thump), rng, rate)
        if drum == "snare":
            skin = _swept_sine(self.snare_hertz, 0.6, 0.12, rate)
            return 0.6 * (skin + _noise_burst(self.snare_decay, 1200, 9000, len(skin), rng, rate))
        if drum.startswith("tom"):
            return _swept_sine(self.tom_hertz * 1.35 ** int(drum[3:]), 0.5, 0.15, rate)
        decay = self.hat_decay * {"hat": 1, "open": 6, "crash": 14}[drum]
        return _noise_burst(decay, self.hat_hertz, 15000, round(5 * decay * rate), rng, rate)


def _swept_sine(hertz: float, sweep: float, decay: float, rate: int) -> np.ndarray:
    """Sine that falls from ``(1 + sweep) * hertz`` to ``hertz`` within some 30 ms."""
    frames = round(5 * decay * rate)
    falling = hertz * (1 + sweep * np.exp(-np.arange(frames) / rate / 0.03))
    turn = 2 * np.pi * np.cumsum(falling) / rate
    return np.sin(turn) * envelope(frames, 0.001, decay, rate)


def _noise_burst(decay: float, low: float, high: float, frames: int, rng: Random, rate: int):
    noise = band(rng.standard_normal(frames), low, high, rate)
    return 0.7 * noise * envelope(frames, 0.001, decay, rate)


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
            hiss = band(rng.standard_normal(round(0.07 * rate)), 4500, 9000, rate)
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


def room(sound: np.ndarray, wet: float, seconds: float, rng: Random, rate: int) -> np.ndarray:
    """Add a small room, other on the left than on the right, to ``sound``, ``(frames, 2)``.

    ``wet`` is its loudness next to the sound (0 to 1); it fades by 60 dB within ``seconds``.
    """
    time = np.arange(round(seconds * rate)) / rate
    response = rng.standard_normal((len(time), 2)) * np.exp(-6.9 * time / seconds)[:, None]
    response = band(response, 150, 6000, rate)
    response *= wet / np.sqrt((response**2).sum(axis=0))
    reflected = oaconvolve(sound.mean(axis=1, keepdims=True), response, axes=0)
    return sound + reflected[: len(sound)]
