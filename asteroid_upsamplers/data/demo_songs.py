"""Multitrack demo songs, composed and synthesized from a seed.

Drums, bass, chords and a vowel-singing voice on a common bar grid.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from . import demo_synths as synths
from .songs import SOURCES

LEVELS = {"drums": -17.0, "bass": -19.0, "other": -21.0, "vocals": -18.0}  # dBFS rms while playing
FLOOR = -90.0  # dBFS rms of the hiss of each channel while its source plays, as recordings have it
STEPS = 16  # per bar of four beats
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10))  # semitones
PROGRESSIONS = ("0453", "0534", "5304", "0304", "0234", "1405", "0654", "0034")  # scale degrees

# One bar in sixteenths: "." is a rest, "-" holds the note before, anything else starts a note.
KICKS = ("x.......x.......", "x...x...x...x...", "x.....x.x.......", "x..x..x...x...x.")
SNARES = ("....x.......x...", "........x.......", "....x.......x..x", "....x..x.x..x...")
HATS = ("x.x.x.x.x.x.x.x.", "xxxxxxxxxxxxxxxx", "x.o.x.o.x.o.x.o.", "x...x...x.x.x.o.")
FILLS = ("............1122", "........1.1.2.33", "........11223333", "............x.x3")
BASSES = ("0-------0-----5-", "0-0-0-0-0-0-0-0-", "0--0--0-0--.5.8.", "0-8-0-8-0-8-5-8-")
CHORDS = ("x---------------", "x-----x-----x---", "..x-..x-..x-..x-", "x--x--x-x--x--x-")
ARPEGGIOS = ("x-x-x-x-x-x-x-x-", "xxxxxxxxxxxxxxxx", "x--x--x-x--x--x-")
BASS_TIMBRES = ("saw", "square", "fm", "pluck")
CHORD_TIMBRES = ("pad", "organ", "epiano", "pluck")
ARPEGGIO_TIMBRES = ("pluck", "epiano", "saw", "square")
DRUM_SYMBOLS = {"o": "open", "1": "tom3", "2": "tom2", "3": "tom1"}
# Gain and pan (-1 is left) of each drum.
DRUMS = {"kick": (1.0, 0.02), "snare": (0.8, -0.12), "hat": (0.3, 0.4), "open": (0.3, 0.4)}
DRUMS |= {"crash": (0.3, -0.5), "tom1": (0.7, 0.45), "tom2": (0.7, 0.1), "tom3": (0.7, -0.35)}


@dataclass(frozen=True)
class Score:
    """What all sources of a song share: time grid, key, chords and who plays when."""

    frames: int
    rate: int
    step_seconds: float
    swing: float  # delay of every second sixteenth, in sixteenths
    tonic: int  # MIDI pitch
    scale: Sequence[int]  # semitones above the tonic
    roots: list[int]  # scale degree of each bar's chord
    bars: dict[str, list[int]]  # in which each source plays

    @classmethod
    def draw(cls, frames: int, rate: int, rng: synths.Random) -> Score:
        """Draw tempo, swing, key, chord progression and rests of one or two bars."""
        step_seconds = 60 / rng.uniform(76, 150) / 4
        n_bars = math.ceil(frames / rate / step_seconds / STEPS)
        bars = {source: list(range(n_bars)) for source in SOURCES}
        for start in range(0, n_bars - 3, 8):
            if rng.random() < 0.5:
                source = _pick(SOURCES, rng)
                first = start + rng.integers(min(7, n_bars - start - 1))
                rests = first, first + rng.integers(2)
                bars[source] = [bar for bar in bars[source] if bar not in rests]
        swing = rng.uniform(0.1, 0.35) if rng.random() < 0.5 else 0.0
        scale, progression = _pick(SCALES, rng), _pick(PROGRESSIONS, rng)
        roots = [int(progression[bar % len(progression)]) for bar in range(n_bars)]
        return cls(frames, rate, step_seconds, swing, int(rng.integers(29, 41)), scale, roots, bars)

    def onset(self, bar: int, step: int) -> float:
        """Start of a sixteenth, in seconds."""
        return (bar * STEPS + step + self.swing * (step % 2)) * self.step_seconds

    def pitch(self, degree: int) -> int:
        """MIDI pitch of a scale degree (0 is the tonic, 7 the octave above)."""
        return self.tonic + 12 * (degree // 7) + self.scale[degree % 7]


def _pick(choices: Sequence, rng: synths.Random):
    return choices[int(rng.integers(len(choices)))]


def _notes(pattern: str) -> Iterator[tuple[int, int, str]]:
    """Step, length in steps and symbol of each note of a pattern."""
    for note in re.finditer("[^.-]-*", pattern):
        yield note.start(), len(note[0]), note[0][0]


def _add(stem: np.ndarray, sound: np.ndarray, start: int, gain: float, pan: float) -> None:
    """Add a mono sound from frame ``start`` on, panned from -1 (left) to 1 (right)."""
    start = max(0, start)
    sound = sound[: max(0, len(stem) - start), None]
    angle = (pan + 1) * math.pi / 4  # constant power
    stem[start : start + len(sound)] += gain * sound * (math.cos(angle), math.sin(angle))


def _drums(score: Score, rng: synths.Random) -> np.ndarray:
    stem, kit = np.zeros((score.frames, 2)), synths.Kit.draw(rng)
    parts = {"kick": _pick(KICKS, rng), "snare": _pick(SNARES, rng), "hat": _pick(HATS, rng)}
    groove = [(s, DRUM_SYMBOLS.get(c, d)) for d, part in parts.items() for s, _, c in _notes(part)]
    side = _pick((-1, 1), rng)  # seen by the drummer or by the audience
    for bar in score.bars["drums"]:
        hits = groove
        if bar % 4 == 3:
            fill = [(s, DRUM_SYMBOLS.get(c, "snare")) for s, _, c in _notes(_pick(FILLS, rng))]
            hits = [hit for hit in groove if hit[0] < fill[0][0] or hit[1] == "kick"] + fill
        elif bar % 4 == 0 and rng.random() < 0.6:
            hits = [*groove, (0, "crash")]
        for step, drum in hits:
            gain, pan = DRUMS[drum]
            gain *= rng.uniform(0.8, 1.0) * (0.75 if step % 4 else 1.0)
            start = round((score.onset(bar, step) + rng.normal(0, 0.003)) * score.rate)
            _add(stem, kit.hit(drum, rng, score.rate), start, gain, side * pan)
    stem = np.tanh(1.5 * stem)  # rounds off the peaks, as a bus compressor would
    return synths.room(stem, rng.uniform(0.05, 0.25), 0.35, rng, score.rate)


def _bass(score: Score, rng: synths.Random) -> np.ndarray:
    stem, patch = np.zeros((score.frames, 2)), synths.Patch.draw(_pick(BASS_TIMBRES, rng), rng)
    line, variation = _pick(BASSES, rng), _pick(BASSES, rng)
    intervals = {"0": 0, "5": 7, "8": 12}  # root, fifth, octave in semitones
    for bar in score.bars["bass"]:
        root = 31 + (score.pitch(score.roots[bar]) - 31) % 12
        for step, length, symbol in _notes(variation if bar % 4 == 3 else line):
            seconds = rng.uniform(0.85, 0.98) * length * score.step_seconds
            sound = patch.play(root + intervals[symbol], seconds, rng, score.rate)
            _add(stem, sound, round(score.onset(bar, step) * score.rate), rng.uniform(0.8, 1), 0.0)
    stem = synths.band(stem, None, 3500, score.rate)
    return synths.room(stem, rng.uniform(0.04, 0.1), 0.15, rng, score.rate)


def _other(score: Score, rng: synths.Random) -> np.ndarray:
    stem, width = np.zeros((score.frames, 2)), rng.uniform(0.3, 0.8)
    low, n_tones, strum = rng.integers(50, 58), rng.integers(3, 5), rng.uniform(0, 0.02)
    pad = synths.Patch.draw(_pick(CHORD_TIMBRES, rng), rng)
    arpeggio = synths.Patch.draw(_pick(ARPEGGIO_TIMBRES, rng), rng)
    rhythm = _pick(CHORDS[:1] if pad.timbre == "pad" else CHORDS, rng)
    pattern = _pick(ARPEGGIOS, rng)
    layers = _pick(("chords", "arpeggio", "chords and arpeggio"), rng)
    for bar in score.bars["other"]:
        degrees = [score.roots[bar] + 2 * third for third in range(n_tones)]
        chord = sorted(low + (score.pitch(degree) - low) % 12 for degree in degrees)
        notes = []
        if "chords" in layers:
            notes += [(pad, s, n, pitch, 0.5) for s, n, _ in _notes(rhythm) for pitch in chord]
        if "arpeggio" in layers:
            rising = [pitch + octave for octave in (12, 24) for pitch in chord]
            for count, (step, length, _) in enumerate(_notes(pattern)):
                notes.append((arpeggio, step, length, rising[count % len(rising)], 0.35))
        for patch, step, length, pitch, gain in notes:
            sound = patch.play(pitch, 0.97 * length * score.step_seconds, rng, score.rate)
            late = strum * chord.index(pitch) if patch is pad else 0.0
            start = round((score.onset(bar, step) + late) * score.rate)
            pan = width * math.sin(2.4 * pitch)  # gives every pitch a place of its own
            _add(stem, sound, start, gain * rng.uniform(0.8, 1.0), pan)
    return synths.room(stem, rng.uniform(0.15, 0.4), 0.4, rng, score.rate)


def _melody(score: Score, build: str, rng: synths.Random) -> list[synths.Syllable]:
    """Phrases of two bars, each with a rest at its end, that walk along the scale."""
    lowest = 46 if build == "man" else 55
    octaves = lowest + (score.tonic - lowest) % 12 - score.tonic
    lengths = _pick(((2, 2, 4, 4), (2, 3, 3, 6), (4, 4, 6, 8), (2, 2, 2, 4)), rng)
    line, degree = [], 2
    for bar in score.bars["vocals"]:
        chord = [score.roots[bar] + tone for tone in (-10, -7, -5, -3, 0, 2, 4)]
        step, end = (0, _pick((6, 8, 12), rng)) if bar % 2 else (_pick((0, 2, 4), rng), STEPS)
        while step < end:
            degree = max(-2, min(6, degree + int(rng.integers(-2, 3))))
            if step % 8 == 0:
                degree = min(chord, key=lambda tone: abs(tone - degree))
            length = min(_pick(lengths, rng), end - step)
            seconds = 0.95 * length * score.step_seconds
            pitch, vowel = score.pitch(degree) + octaves, _pick(tuple(synths.FORMANTS), rng)
            hiss = rng.random() < 0.3
            line.append(synths.Syllable(score.onset(bar, step), seconds, pitch, vowel, hiss))
            step += length
    return line


def _vocals(score: Score, rng: synths.Random) -> np.ndarray:
    stem, build = np.zeros((score.frames, 2)), _pick(("man", "woman"), rng)
    line = _melody(score, build, rng)
    lead = synths.sing(line, build, score.frames, rng, score.rate)
    _add(stem, lead, 0, 1.0, rng.uniform(-0.1, 0.1))
    if rng.random() < 0.4:  # doubled, a little late and to the side
        double = synths.sing(line, build, score.frames, rng, score.rate)
        _add(stem, double, round(0.025 * score.rate), 0.4, _pick((-0.7, 0.7), rng))
    return synths.room(stem, rng.uniform(0.1, 0.35), 0.4, rng, score.rate)


def render_song(
    seed: int, seconds: float = 12.0, sample_rate: int = 44100
) -> dict[str, np.ndarray]:
    """Compose and synthesize one song; the same arguments give the same samples anywhere.

    Args:
        seed: 0 or more; sets tempo, key, chords, grooves and timbres.
        seconds: Length, at least 1.
        sample_rate: Hz, at least 8000.

    Returns:
        The stem of each of :data:`SOURCES`: float32, shape ``(round(seconds * sample_rate), 2)``.
        Their sum is exact in float32 and stays within -0.9 to 0.9.
    """
    frames = round(seconds * sample_rate)
    score_rng, *rngs = (np.random.default_rng((seed, part)) for part in range(1 + len(SOURCES)))
    score = Score.draw(frames, sample_rate, score_rng)
    stems = {}
    for source, play, rng in zip(SOURCES, (_drums, _bass, _other, _vocals), rngs, strict=True):
        stem = synths.band(play(score, rng), 25, None, sample_rate)
        stem *= np.minimum(1.0, np.arange(frames, 0, -1) / (0.05 * sample_rate))[:, None]
        sounding = stem[np.abs(stem).max(axis=1) > 0.01 * np.abs(stem).max()]
        rms = np.sqrt(np.mean(sounding**2)) if len(sounding) else 1.0
        stems[source] = stem * 10 ** ((LEVELS[source] + rng.uniform(-2, 2)) / 20) / rms
    gain = 0.89 / np.abs(sum(stems.values())).max()
    # Whole multiples of 2**-23 add up without rounding errors in float32, in any order.
    for stem, rng in zip(stems.values(), rngs, strict=True):
        hiss = 10 ** (FLOOR / 20) * rng.standard_normal(stem.shape)
        stem *= gain
        stem += hiss * (np.round(stem * 2**23) != 0)
    return {k: (np.round(v * 2**23) / 2**23).astype(np.float32) for k, v in stems.items()}
