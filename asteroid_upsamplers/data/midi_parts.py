"""Reading MIDI files, and dealing their instruments out to the stems of a song.

By General MIDI, channel 10 plays drums, and programs 33 to 40 (here 32 to 39) are basses. A lead
that could be sung, nearly monophonic and above the accompaniment, stands for the vocals; the rest
is other.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import mido
import numpy as np

from ..errors import UsageError, one_line
from .songs import SOURCES

DRUM_CHANNEL = 9
BASSES = range(32, 40)
VOICES = (52, 53, 54, 85)
"""Programs that sound like voices: choir, oohs, synth voice, voice lead."""
LEAD_NAMES = ("melod", "vocal", "voice", "sing", "lead")
KEY_SIGNATURE, TEXT = b"\xff\x59\x02", b"\xff\x01\x02"
"""Mido refuses files for wrong key signatures, which nobody hears; as texts it reads them."""
NOT_SUNG = range(112, 128)
"""Programs of percussion and of noises."""

SHORTEST = 5.0
"""Seconds of a song."""
LEAST_NOTES = 8
LEAST_SHARE = 0.05
"""Of the seconds of a song, for which each stem must play."""
LEAD_SHARE = 0.1
FASTEST = 8.0
"""Notes a second of a lead; what is faster is an arpeggio."""
SLUR = 0.05
"""Seconds by which notes of one melody may overlap."""
MOST_OVERLAPS = 0.5
"""Share of the notes of a melody that may begin while another sounds; only the highest is sung."""


class Event(NamedTuple):
    """A message for a channel, and when it is sent, in seconds."""

    seconds: float
    message: mido.Message
    part: tuple[int, int, bool] | None = None
    """Of a note: its channel, its program, and whether it is a drum."""


@dataclass
class Part:
    """The notes that one instrument plays.

    Args:
        key: Channel, program (0 to 127), and whether it is a drum kit.
        named: Whether it is called a melody, or is a voice.
        notes: Start and end in seconds, and the pitch, of each note.
    """

    key: tuple[int, int, bool]
    named: bool = False
    notes: list[tuple[float, float, int]] = field(default_factory=list)

    @property
    def sounding(self) -> float:
        """Seconds in which at least one note sounds."""
        total = end = 0.0
        for start, stop, _ in sorted(self.notes):
            total += max(0.0, stop - max(start, end))
            end = max(end, stop)
        return total

    @property
    def pitch(self) -> float:
        """Mean MIDI pitch, weighted by the lengths of the notes."""
        lengths = [max(1e-3, stop - start) for start, stop, _ in self.notes]
        return float(np.average([pitch for *_, pitch in self.notes], weights=lengths))

    @property
    def alone(self) -> int:
        """Notes that do not begin while another sounds."""
        pairs = itertools.pairwise(sorted(self.notes))
        return len(self.notes) - sum(after[0] < before[1] - SLUR for before, after in pairs)

    @property
    def is_backdrop(self) -> bool:
        """Whether it is percussion, a noise or an arpeggio: not sung, and not under a melody."""
        return self.key[1] in NOT_SUNG or self.alone > FASTEST * self.sounding

    def is_melody(self, seconds: float) -> bool:
        """Whether it could be sung: not a backdrop, nor chords, nor seldom."""
        return (
            not self.is_backdrop
            and self.alone >= max(LEAST_NOTES, (1 - MOST_OVERLAPS) * len(self.notes))
            and self.sounding >= LEAD_SHARE * seconds
        )


@dataclass
class Piece:
    """A song as it is written in a MIDI file.

    Args:
        seconds: From the start to the end of the last note.
        events: In their order in time; those of notes name their part.
        parts: All instruments with notes.
    """

    seconds: float
    events: list[Event]
    parts: list[Part]

    def stems(self) -> dict[str, list[tuple[int, int, bool]]]:
        """The keys of the parts that make up each stem.

        Raises:
            UsageError: If the song is shorter than 5 s, or a stem has no part or plays too seldom.
        """
        if self.seconds < SHORTEST:
            raise UsageError(f"{self.seconds:.1f} s of notes, at least {SHORTEST:g} s are needed")
        drums = [part for part in self.parts if part.key[2]]
        basses = [part for part in self.parts if not part.key[2] and part.key[1] in BASSES]
        rest = [part for part in self.parts if part not in drums and part not in basses]
        lead = _lead(rest, self.seconds)
        other = [part for part in rest if part is not lead]
        missing = {
            "drums": "no drums (channel 10)",
            "bass": "no bass (General MIDI programs 33 to 40)",
            "other": "nothing but drums, bass and lead",
            "vocals": "no melody that could be sung",
        }
        stems = dict(zip(SOURCES, (drums, basses, other, [lead] if lead else []), strict=True))
        for source, parts in stems.items():
            notes = sum(len(part.notes) for part in parts)
            if not notes:
                raise UsageError(missing[source])
            played = len({int(start) for part in parts for start, *_ in part.notes})
            if notes < LEAST_NOTES or played < LEAST_SHARE * self.seconds:
                raise UsageError(f"hardly any {source} ({notes} notes)")
        return {source: [part.key for part in parts] for source, parts in stems.items()}


def _lead(parts: list[Part], seconds: float) -> Part | None:
    """The busiest melody above the mean of the others; one that is called so comes first."""

    def is_above(part: Part) -> bool:
        others = [other for other in parts if other is not part and not other.is_backdrop]
        if not others:
            return True
        weights = [max(1e-3, other.sounding) for other in others]
        return part.pitch > np.average([other.pitch for other in others], weights=weights)

    melodies = [
        part for part in parts if part.is_melody(seconds) and (part.named or is_above(part))
    ]
    return max(melodies, key=lambda part: (part.named, part.alone), default=None)


def read_midi(content: bytes, longest: float = math.inf) -> Piece:
    """The instruments of a MIDI file of type 0, 1 or 2, which may lie in a RIFF file.

    Args:
        content: Of the file.
        longest: Seconds after which nothing is read.

    Raises:
        UsageError: If it is damaged, or no MIDI file, or without notes.
    """
    start = content.find(b"MThd") if content.startswith(b"RIFF") else 0
    if start < 0 or not content.startswith(b"MThd", start):
        raise UsageError("not a MIDI file")
    try:
        keyless = content[start:].replace(KEY_SIGNATURE, TEXT)
        file = mido.MidiFile(file=io.BytesIO(keyless), clip=True)
    except Exception as error:  # mido raises whatever its parser ran into
        raise UsageError(f"damaged MIDI file ({one_line(error)})") from error
    if not file.ticks_per_beat:
        raise UsageError("damaged MIDI file (its beats have no length)")
    events, parts = _parts(_in_seconds(file, longest), [_named(track) for track in file.tracks])
    if not parts:
        raise UsageError("no notes")
    end = max(stop for part in parts for _, stop, _ in part.notes)
    return Piece(end, events, parts)


def _named(track: mido.MidiTrack) -> bool:
    return any(name in track.name.casefold() for name in LEAD_NAMES)


def _in_seconds(file: mido.MidiFile, longest: float) -> Iterator[tuple[float, int, mido.Message]]:
    """All messages in their order in time, each with its track."""
    timed, start = [], 0
    for number, track in enumerate(file.tracks):
        tick = start if file.type == 2 else 0  # the tracks of type 2 follow one another
        for message in track:
            tick += message.time
            timed.append((tick, number, message))
        start = tick
    timed.sort(key=lambda one: one[0])
    ticks_per_beat, tempo, follows_tempo = file.ticks_per_beat, 500000, True
    if ticks_per_beat < 0:  # frames a second and ticks a frame instead, which no tempo changes
        high, low = divmod(ticks_per_beat, 256)
        ticks_per_beat, follows_tempo = max(1, -high * low) / 2, False
    seconds, before = 0.0, 0
    for tick, number, message in timed:
        seconds += (tick - before) * tempo * 1e-6 / ticks_per_beat
        before = tick
        if seconds > longest:
            return
        if message.type == "set_tempo" and follows_tempo and message.tempo > 0:
            tempo = message.tempo
        yield seconds, number, message


def _parts(
    timed: Iterator[tuple[float, int, mido.Message]], named: list[bool]
) -> tuple[list[Event], list[Part]]:
    """What is sent to the channels, and the notes by instrument."""
    programs, kits = [0] * 16, [channel == DRUM_CHANNEL for channel in range(16)]
    parts: dict[tuple[int, int, bool], Part] = {}
    held: dict[tuple[int, int], list[tuple[Part, float]]] = {}
    events, seconds = [], 0.0
    for seconds, track, message in timed:
        if message.type == "sysex":
            _set_kit(kits, message.data)
        if message.is_meta or not hasattr(message, "channel"):
            continue
        channel, part = message.channel, None
        if message.type == "program_change":
            programs[channel] = message.program
        elif message.is_cc(0) and channel != DRUM_CHANNEL:
            kits[channel] = message.value == 127  # a drum kit, in Yamaha's XG
        elif message.type in ("note_on", "note_off"):
            place = channel, message.note
            if message.type == "note_on" and message.velocity:
                key = channel, programs[channel], kits[channel]
                part = parts.setdefault(key, Part(key, key[1] in VOICES and not key[2]))
                part.named |= named[track] and not key[2]
                held.setdefault(place, []).append((part, seconds))
            elif held.get(place):
                ended, start = held[place].pop(0)
                ended.notes.append((start, seconds, message.note))
        events.append(Event(seconds, message, part.key if part else None))
    for (_, note), notes in held.items():  # which nothing ends
        for unended, start in notes:
            unended.notes.append((start, max(start, seconds), note))
    return events, list(parts.values())


def _set_kit(kits: list[bool], data: tuple[int, ...]) -> None:
    """Follow Roland's message that makes a further channel one of drums."""
    if len(data) >= 8 and data[0] == 0x41 and data[2:5] == (0x42, 0x12, 0x40):
        block, is_part = data[5] & 0x0F, data[5] >> 4 == 1
        if is_part and data[6] == 0x15 and data[7]:
            kits[DRUM_CHANNEL if block == 0 else block - (block <= DRUM_CHANNEL)] = True
