"""Demo songs for four stems, composed as MIDI from a seed and played with a soundfont.

Drums, a bass line, chords and a melody to be sung, on a common bar grid.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pretty_midi

from .midi_parts import VOICES
from .midi_render import default_soundfont, load_soundfont, render_midi
from .songs import SOURCES

SHORTEST = 30.0  # seconds that are composed at least, however few are played
STEPS = 16  # per bar of four beats
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10))  # semitones
PROGRESSIONS = ("0453", "0534", "5304", "0304", "0234", "1405", "0654", "0034")  # scale degrees
DRUMS = {"k": 36, "s": 38, "c": 49, "h": 42, "o": 46, "1": 41, "2": 45, "3": 48}  # General MIDI's
FILLS = ("............1122", "........1.1.2.33", "........11223333", "............s.ss")


@dataclass(frozen=True)
class Style:
    """What songs of a kind have in common.

    Patterns are one bar in sixteenths: "." is a rest, "-" holds the note before, anything else
    starts a note. Programs are General MIDI's, from 0; the first of ``kits`` is its drum kit.
    """

    tempo: tuple[float, float]
    swing: float
    drums: tuple[str, ...]
    basses: tuple[str, ...]
    chords: tuple[str, ...]
    kits: tuple[int, ...]
    bass_programs: tuple[int, ...]
    chord_programs: tuple[int, ...]
    arpeggio_programs: tuple[int, ...]


STYLES = (
    Style(  # rock
        (96, 150), 0.0,
        ("k.......k.......", "k.....k.k.......", "k..k..k...k...k."),
        ("0-0-0-0-0-0-0-0-", "0---0-0-0---5-8-"),
        ("x---------------", "x-----x-----x---", "x-x-x-x-x-x-x-x-"),
        (0, 16), (33, 34), (25, 27, 29, 30), (25, 27),
    ),
    Style(  # dance
        (112, 136), 0.0,
        ("k...k...k...k...", "k...k...k..kk..."),
        ("..0-..0-..0-..0-", "0-8-0-8-0-8-5-8-"),
        ("..x-..x-..x-..x-", "x--x--x-x--x--x-"),
        (24, 25), (38, 39), (50, 81, 90), (80, 87),
    ),
    Style(  # funk
        (88, 112), 0.12,
        ("k..k..k...k.....", "k.....kk..k..k.."),
        ("0--0--0-0--.5.8.", "0.0.-.8.0..05.8."),
        ("....x--...x.....", "x--.....x-x--..."),
        (0, 8), (36, 37), (4, 7, 16), (4, 11),
    ),
    Style(  # ballad
        (70, 92), 0.25,
        ("k.......k.......", "k.......k.k....."),
        ("0-------0-----5-", "0---------5-8---"),
        ("x---------------", "x-------x-------"),
        (0, 32), (32, 35), (0, 24, 48, 89), (0, 24, 46),
    ),
)  # fmt: skip
SNARES = ("....s.......s...", "....s.......s..s", "....s..s.s..s...")
HATS = ("h.h.h.h.h.h.h.h.", "hhhhhhhhhhhhhhhh", "h.o.h.o.h.o.h.o.", "h...h...h.h.h.o.")
ARPEGGIOS = ("x-x-x-x-x-x-x-x-", "xxxxxxxxxxxxxxxx", "x--x--x-x--x--x-")
PHRASES = ((2, 2, 4, 4), (2, 3, 3, 6), (4, 4, 6, 8), (2, 2, 2, 4))  # lengths of sung notes


@dataclass(frozen=True)
class Score:
    """What all instruments of a song share: style, time grid, key, chords and who plays when."""

    style: Style
    step_seconds: float
    tonic: int  # MIDI pitch
    scale: Sequence[int]  # semitones above the tonic
    roots: list[int]  # scale degree of each bar's chord
    bars: dict[str, list[int]]  # in which each stem plays

    @classmethod
    def draw(cls, seconds: float, rng: np.random.Generator) -> Score:
        """Draw style, tempo, key, chord progression and rests of one or two bars."""
        style = _pick(STYLES, rng)
        step_seconds = 60 / rng.uniform(*style.tempo) / 4
        n_bars = math.ceil(max(SHORTEST, seconds) / step_seconds / STEPS)
        bars = {source: list(range(n_bars)) for source in SOURCES}
        for start in range(0, n_bars - 3, 8):
            if rng.random() < 0.5:
                source = _pick(SOURCES, rng)
                first = start + 1 + int(rng.integers(min(6, n_bars - start - 2)))
                rests = first, first + int(rng.integers(2))
                bars[source] = [bar for bar in bars[source] if bar not in rests]
        scale, progression = _pick(SCALES, rng), _pick(PROGRESSIONS, rng)
        roots = [int(progression[bar % len(progression)]) for bar in range(n_bars)]
        return cls(style, step_seconds, int(rng.integers(29, 41)), scale, roots, bars)

    def onset(self, bar: int, step: int) -> float:
        """Start of a sixteenth, in seconds."""
        return (bar * STEPS + step + self.style.swing * (step % 2)) * self.step_seconds

    def pitch(self, degree: int) -> int:
        """MIDI pitch of a scale degree (0 is the tonic, 7 the octave above)."""
        return self.tonic + 12 * (degree // 7) + self.scale[degree % 7]


class Instrument(pretty_midi.Instrument):
    """An instrument that is told notes on a song's bar grid."""

    def __init__(self, program: int, name: str, rng: np.random.Generator, is_drum: bool = False):
        super().__init__(program, is_drum, name)
        self.rng = rng

    def play(self, pitch: int, start: float, seconds: float, loudness: float) -> None:
        """Add a note, as unevenly as people play; ``loudness`` is from 0 to 1."""
        start = max(0.0, start + float(self.rng.normal(0, 0.004)))
        velocity = round(127 * loudness * self.rng.uniform(0.8, 1.0))
        self.notes.append(pretty_midi.Note(max(1, velocity), pitch, start, start + seconds))


def _pick(choices: Sequence, rng: np.random.Generator):
    return choices[int(rng.integers(len(choices)))]


def _notes(pattern: str) -> Iterator[tuple[int, int, str]]:
    """Step, length in steps and symbol of each note of a pattern."""
    for note in re.finditer("[^.-]-*", pattern):
        yield note.start(), len(note[0]), note[0][0]


def _drums(score: Score, rng: np.random.Generator) -> list[Instrument]:
    kit = Instrument(_pick(score.style.kits, rng), "drums", rng, is_drum=True)
    patterns = _pick(score.style.drums, rng), _pick(SNARES, rng), _pick(HATS, rng)
    groove = [(step, drum) for pattern in patterns for step, _, drum in _notes(pattern)]
    for bar in score.bars["drums"]:
        hits = groove
        if bar % 4 == 3:
            fill = [(step, drum) for step, _, drum in _notes(_pick(FILLS, rng))]
            hits = [hit for hit in groove if hit[0] < fill[0][0] or hit[1] == "k"] + fill
        elif bar % 4 == 0 and rng.random() < 0.6:
            hits = [*groove, (0, "c")]
        for step, drum in hits:
            loudness = (0.6 if drum in "hoc" else 0.9) * (0.75 if step % 4 else 1.0)
            kit.play(DRUMS[drum], score.onset(bar, step), 0.1, loudness)
    return [kit]


def _bass(score: Score, rng: np.random.Generator) -> list[Instrument]:
    bass = Instrument(_pick(score.style.bass_programs, rng), "bass", rng)
    line, variation = _pick(score.style.basses, rng), _pick(score.style.basses, rng)
    intervals = {"0": 0, "5": 7, "8": 12}  # root, fifth, octave in semitones
    for bar in score.bars["bass"]:
        root = 28 + (score.pitch(score.roots[bar]) - 28) % 12
        for step, length, symbol in _notes(variation if bar % 4 == 3 else line):
            seconds = 0.92 * length * score.step_seconds
            bass.play(root + intervals[symbol], score.onset(bar, step), seconds, 0.8)
    return [bass]


def _other(score: Score, rng: np.random.Generator) -> list[Instrument]:
    chords = Instrument(_pick(score.style.chord_programs, rng), "chords", rng)
    arpeggio = Instrument(_pick(score.style.arpeggio_programs, rng), "arpeggio", rng)
    low, n_tones = int(rng.integers(50, 58)), int(rng.integers(3, 5))
    rhythm, pattern = _pick(score.style.chords, rng), _pick(ARPEGGIOS, rng)
    for bar in score.bars["other"]:
        degrees = [score.roots[bar] + 2 * third for third in range(n_tones)]
        chord = sorted(low + (score.pitch(degree) - low) % 12 for degree in degrees)
        for step, length, _ in _notes(rhythm):
            for pitch in chord:
                seconds = 0.95 * length * score.step_seconds
                chords.play(pitch, score.onset(bar, step), seconds, 0.65)
        rising = [pitch + 12 for pitch in chord]
        for count, (step, length, _) in enumerate(_notes(pattern)):
            seconds = 0.9 * length * score.step_seconds
            arpeggio.play(rising[count % len(rising)], score.onset(bar, step), seconds, 0.6)
    played = ([chords], [arpeggio], [chords, arpeggio])
    return _pick(played, rng)


def _vocals(score: Score, rng: np.random.Generator) -> list[Instrument]:
    """Phrases of two bars, each with a rest at its end, that walk along the scale."""
    voice = Instrument(_pick(VOICES, rng), "vocals", rng)
    lowest = _pick((48, 57), rng)
    octaves = lowest + (score.tonic - lowest) % 12 - score.tonic
    lengths, degree = _pick(PHRASES, rng), 2
    for bar in score.bars["vocals"]:
        chord = [score.roots[bar] + tone for tone in (-10, -7, -5, -3, 0, 2, 4)]
        step, end = (0, _pick((6, 8, 12), rng)) if bar % 2 else (_pick((0, 2, 4), rng), STEPS)
        while step < end:
            degree = max(-2, min(6, degree + int(rng.integers(-2, 3))))
            if step % 8 == 0:
                degree = min(chord, key=lambda tone: abs(tone - degree))
            length = min(_pick(lengths, rng), end - step)
            seconds = 0.95 * length * score.step_seconds
            voice.play(score.pitch(degree) + octaves, score.onset(bar, step), seconds, 0.85)
            step += length
    return [voice]


def compose(seed: int, seconds: float) -> bytes:
    """A MIDI file with drums, bass, other instruments and a melody, ``seconds`` long or more.

    Args:
        seed: 0 or more; sets style, tempo, key, chords, patterns and instruments.
        seconds: At least 1.
    """
    rngs = np.random.default_rng(seed).spawn(1 + len(SOURCES))
    score = Score.draw(seconds, rngs[0])
    song = pretty_midi.PrettyMIDI(initial_tempo=120, resolution=480)
    for write, rng in zip((_drums, _bass, _other, _vocals), rngs[1:], strict=True):
        song.instruments += write(score, rng)
    content = io.BytesIO()
    song.write(content)
    return content.getvalue()


def render_song(
    seed: int,
    seconds: float = 12.0,
    sample_rate: int = 44100,
    soundfont: Path | None = None,
) -> dict[str, np.ndarray]:
    """Compose one song and play it; the same arguments give the same samples.

    Args:
        seed: 0 or more; sets the song, and how it is mixed.
        seconds: Length, at least 1.
        sample_rate: In Hz, at least 8000.
        soundfont: SF2 file; TimGM6mb if ``None``.

    Returns:
        For each of drums, bass, other and vocals: ``(frames, 2)``, float32 in whole steps of 16
        bit. The stems sum to the mixture exactly, in any order, without clipping.
    """
    font = load_soundfont(soundfont or default_soundfont())
    stems = render_midi(compose(seed, seconds), font, seed, sample_rate, seconds)
    return {source: stem / np.float32(2**15) for source, stem in stems.items()}
