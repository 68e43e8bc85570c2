"""Audio of a song's stems from its MIDI file and a soundfont, mixed from a seed.

Every stem is played by itself, put into a room of its own and balanced; all are 16 bit and sum to
the mixture exactly, as those of MUSDB18-HQ do.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import mido
import numpy as np
import soundfile
from scipy.ndimage import maximum_filter1d
from scipy.signal import butter, oaconvolve, resample_poly, sosfilt

from ..errors import UsageError, one_line
from .midi_parts import DRUM_CHANNEL, SLUR, VOICES, Event, read_midi
from .songs import SOURCES

try:
    import midirenderer
except ImportError:  # there are no wheels for Linux on ARM
    midirenderer = None  # type: ignore[assignment]

PLAYER_RATE = 48000
"""Hz, of what midirenderer plays."""
TICKS_PER_BEAT = 24000
"""At MIDI's own 120 beats a minute a tick is a sample."""

TAIL = 2.0
"""Seconds after the last note, in which it dies away."""
LONGEST = 300.0
"""Seconds of a song that are played."""

LEVELS = {"drums": -18.0, "bass": -20.0, "other": -19.0, "vocals": -17.0}
"""dBFS rms of a stem while it plays, before the song is scaled as a whole."""
SPREAD_DB = 3.0
"""By how much a stem may be louder or softer than that."""
PEAK = 0.89
"""Of the loudest of the mixture and the stems."""
LOWEST = 20
"""Hz; soundfonts have offsets below it, recordings have not."""
FLOOR = -84.0
"""dBFS rms of each channel's hiss while its stem plays: a recording's, and the dither of 16 bit."""
MUTED_DB = -80.0
"""A stem that stays below this for a second is muted there, as in a mix."""
SUNG_PITCH = 64
NOTES = ("note_on", "note_off")
VOLUME, PAN, BANK, REVERB, CHORUS = 7, 10, (0, 32), 91, 93
"""Numbers of MIDI's controllers."""


def default_soundfont() -> Path:
    """TimGM6mb, which the package ``pretty_midi`` brings along."""
    spec = find_spec("pretty_midi")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "TimGM6mb.sf2"


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keep to itself what Rust prints when it meets a damaged soundfont: we say it in one line."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@lru_cache(maxsize=1)
def load_soundfont(path: Path) -> bytes:
    """The content of a soundfont (SF2), tried out.

    Raises:
        UsageError: If it is missing, damaged, or of another kind.
    """
    if midirenderer is None:
        raise UsageError("soundfonts are played by midirenderer: 'pip install midirenderer'")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        with _silent_stderr():
            play([Event(0.0, mido.Message("note_on", note=60))], content, 0.1)
    except UsageError as error:
        raise UsageError(f"{path}: not a soundfont (SF2) that can be played ({error})") from error
    return content


def render_midi(
    content: bytes,
    soundfont: bytes,
    seed: int = 0,
    sample_rate: int = 44100,
    seconds: float | None = None,
    longest: float = LONGEST,
) -> dict[str, np.ndarray]:
    """The stems of a MIDI file: ``(frames, 2)``, int16, by source.

    Args:
        content: Of the MIDI file.
        soundfont: Of the SF2 file.
        seed: Sets rooms, levels, noise and the voice; the file itself does, too.
        sample_rate: In Hz.
        seconds: Length of the stems; that of the piece, and of its last notes' decay, if ``None``.
        longest: Seconds of the piece that are read at most.

    Raises:
        UsageError: If it cannot be read, lacks a stem, or is shorter than 5 s.
    """
    piece = read_midi(content, longest)
    seconds = piece.seconds + TAIL if seconds is None else seconds
    keys = piece.stems()
    own = int.from_bytes(hashlib.sha256(content).digest()[:8], "little")
    rngs = np.random.default_rng((seed, own)).spawn(len(SOURCES))
    stems = {}
    for source, rng in zip(SOURCES, rngs, strict=True):
        channels = {key[0] for key in keys[source]}
        events = [
            event
            for event in piece.events
            if event.seconds < seconds
            and event.message.channel in channels
            and (not event.part or event.part in keys[source])
        ]
        if source == "drums":
            events = _on_drum_channel(events)
        elif source == "vocals":
            events = _sung(events, rng)
        played = at_rate(play(events, soundfont, seconds), seconds, sample_rate)
        if not played.any():
            raise UsageError(f"its {source} are silent (volume 0, or no such instruments)")
        stems[source] = _balanced(room(played, rng, sample_rate), LEVELS[source], rng, sample_rate)
    return _mixed(stems, rngs, sample_rate)


def play(events: list[Event], soundfont: bytes, seconds: float) -> np.ndarray:
    """What a soundfont plays, ``(frames, 2)``, int16, at 48 kHz, without reverberation.

    All channels are played as loudly as their loudest allows, and more softly if that clips.

    Raises:
        UsageError: If the soundfont cannot be read.
    """
    volumes = [e.message.value for e in events if e.message.is_cc(VOLUME)]
    loudness = 127 / max([100, *volumes])
    while True:
        try:
            wav = midirenderer.render_wave_from(soundfont, _midi(events, seconds, loudness))
        except BaseException as error:  # Rust's PanicException is no Exception
            if isinstance(error, Exception) or type(error).__name__ == "PanicException":
                raise UsageError(one_line(error)) from error
            raise
        samples, _ = soundfile.read(io.BytesIO(wav), dtype="int16", always_2d=True)
        peak = np.abs(samples.astype(np.int32)).max(initial=0)
        if peak < 2**15 - 1 or loudness < 0.01:
            return samples
        loudness *= 0.7  # half the amplitude: a volume is squared


def _midi(events: list[Event], seconds: float, loudness: float) -> bytes:
    """A MIDI file of type 0 whose ticks are samples."""
    start = [
        mido.Message("control_change", channel=channel, control=control, value=value)
        for channel in {event.message.channel for event in events}
        for control, value in ((VOLUME, 100), (REVERB, 0), (CHORUS, 0))
    ]
    track, before = mido.MidiTrack(), 0
    dry = (e for e in events if not any(map(e.message.is_cc, (REVERB, CHORUS))))
    for event in [*(Event(0.0, message) for message in start), *dry]:
        message, tick = event.message, round(event.seconds * PLAYER_RATE)
        if message.is_cc(VOLUME):
            message = message.copy(value=min(127, round(message.value * loudness)))
        track.append(message.copy(time=tick - before))
        before = tick
    end = max(before, round(seconds * PLAYER_RATE))
    track.append(mido.MetaMessage("end_of_track", time=end - before))
    file = mido.MidiFile(type=0, ticks_per_beat=TICKS_PER_BEAT)
    file.tracks.append(track)
    content = io.BytesIO()
    file.save(file=content)
    return content.getvalue()


def _on_drum_channel(events: list[Event]) -> list[Event]:
    """All kits on channel 10, whose own instrument they all take."""
    return [
        Event(event.seconds, event.message.copy(channel=DRUM_CHANNEL))
        for event in events
        if event.message.channel == DRUM_CHANNEL or event.message.type in NOTES
    ]


def _sung(events: list[Event], rng: np.random.Generator) -> list[Event]:
    """A melody on a voice, with vibrato, in the middle, and in an octave in which people sing."""
    channel = events[0].message.channel
    pitches = [event.message.note for event in events if event.part]
    octaves = 12 * round((SUNG_PITCH - float(np.median(pitches))) / 12)
    voice = mido.Message("program_change", channel=channel, program=VOICES[rng.integers(3)])
    vibrato = int(rng.integers(10, 50))
    wheel = mido.Message("control_change", channel=channel, control=1, value=vibrato)
    sung = [Event(0.0, voice), Event(0.0, wheel)]
    for event in _one_at_a_time(events):
        message = event.message
        if message.type in NOTES:
            note = min(127, max(0, message.note + octaves))
            sung.append(Event(event.seconds, message.copy(note=note)))
        elif message.type != "program_change" and not any(map(message.is_cc, (*BANK, PAN))):
            sung.append(event)
    return sung


def _one_at_a_time(events: list[Event]) -> Iterator[Event]:
    """Of notes that begin together only the highest; each ends the one before."""
    starts = [(event.seconds, event.message.note) for event in events if event.part]
    times, sounding = [seconds for seconds, _ in starts], None
    for event in events:
        seconds, message = event.seconds, event.message
        if event.part:
            near = starts[bisect_left(times, seconds - SLUR) : bisect_right(times, seconds + SLUR)]
            if any(note > message.note for _, note in near):
                continue
            if sounding is not None:
                yield Event(seconds, message.copy(note=sounding, velocity=0))
            sounding = message.note
        elif message.type in NOTES:
            if message.note != sounding:
                continue
            sounding = None
        yield event


def at_rate(samples: np.ndarray, seconds: float, sample_rate: int) -> np.ndarray:
    """``(frames, 2)``, float32, at another rate than 48 kHz."""
    divisor = math.gcd(sample_rate, PLAYER_RATE)
    scaled = samples.astype(np.float32) / 2**15
    resampled = resample_poly(scaled, sample_rate // divisor, PLAYER_RATE // divisor)
    frames = round(seconds * sample_rate)
    return np.pad(resampled, ((0, max(0, frames - len(resampled))), (0, 0)))[:frames]


def room(sound: np.ndarray, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Add a room, other on the left than on the right: noise that fades, for each channel."""
    seconds, wet = rng.uniform(0.15, 0.5), rng.uniform(0.05, 0.3)
    fade = np.exp(-6.9 * np.arange(round(seconds * rate)) / rate / seconds)  # by 60 dB
    response = rng.standard_normal((len(fade), 2)) * fade[:, None]
    low, high = 150, min(6000, 0.45 * rate)
    response = sosfilt(butter(2, (low, high), "bandpass", fs=rate, output="sos"), response, axis=0)
    response *= wet / np.sqrt((response**2).sum(axis=0))
    direct = sosfilt(butter(2, LOWEST, "highpass", fs=rate, output="sos"), sound, axis=0)
    sound = direct.astype(np.float32)
    mono = sound.mean(axis=1, keepdims=True)
    return sound + oaconvolve(mono, response.astype(np.float32), axes=0)[: len(sound)]


def _balanced(stem: np.ndarray, level: float, rng: np.random.Generator, rate: int) -> np.ndarray:
    """A stem at ``level`` dBFS and up to 3 dB from it, in the tenths of a second when it plays."""
    block = max(1, rate // 10)
    blocks = np.pad(stem, ((0, -len(stem) % block), (0, 0))).reshape(-1, block * 2)
    power = np.mean(np.square(blocks, dtype=np.float64), axis=1)
    playing = power[power > 1e-4 * power.max()].mean()
    wanted = level + rng.uniform(-SPREAD_DB, SPREAD_DB)
    return stem * np.float32(10 ** (wanted / 20) / math.sqrt(playing))


def _mixed(
    stems: dict[str, np.ndarray], rngs: list[np.random.Generator], rate: int
) -> dict[str, np.ndarray]:
    """All stems scaled alike, so that neither they nor their sum clips, with hiss, as int16."""
    mixture = np.sum(list(stems.values()), axis=0)
    gain = PEAK / max(float(np.abs(signal).max()) for signal in (mixture, *stems.values()))
    mixed = {}
    for (source, stem), rng in zip(stems.items(), rngs, strict=True):
        scaled = stem * np.float32(gain)
        loudest = maximum_filter1d(np.maximum(*np.abs(scaled.T)), rate)
        scaled += np.float32(10 ** (FLOOR / 20)) * rng.standard_normal(stem.shape, np.float32)
        scaled[loudest < 10 ** (MUTED_DB / 20)] = 0
        mixed[source] = np.round(scaled * 2**15).astype(np.int16)
    return mixed
