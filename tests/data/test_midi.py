"""Songs from MIDI files: which instrument goes where, what is refused, left out and kept."""

import io
import struct

import mido
import numpy as np
import pytest

from asteroid_upsamplers.data import SOURCES, find_songs, render_midi_set
from asteroid_upsamplers.data.demo_songs import compose
from asteroid_upsamplers.data.midi_parts import read_midi
from asteroid_upsamplers.data.midi_render import default_soundfont, load_soundfont, render_midi
from asteroid_upsamplers.errors import UsageError

DRUMS, BASS, CHORDS, LEAD = (9, 0), (1, 33), (2, 0), (3, 73)


def track(channel, program, pitches, beats=1, name="", chord=(0,), setup=()):
    """A track on which each pitch is held for some beats, one after another."""
    messages = [mido.MetaMessage("track_name", name=name), *setup]
    messages.append(mido.Message("program_change", channel=channel, program=program))
    for pitch in pitches:
        for kind, time in (("note_on", 0), ("note_off", round(480 * beats))):
            for number, interval in enumerate(chord):
                note = pitch + interval
                at = time if number == 0 else 0
                messages.append(mido.Message(kind, channel=channel, note=note, time=at))
    return mido.MidiTrack(messages)


def content(*tracks, type=1, division=480):
    file = mido.MidiFile(type=type, ticks_per_beat=480)
    file.tracks += tracks
    stream = io.BytesIO()
    file.save(file=stream)
    written = stream.getvalue()
    return written[:12] + struct.pack(">h", division) + written[14:]


def band(**more):
    """Tracks of a song of 20 beats, or 10 s, some of them in another way than usual."""
    tracks = {
        "drums": track(*DRUMS, [36, 38] * 10),
        "bass": track(*BASS, [40, 43] * 10),
        "chords": track(*CHORDS, [60, 57] * 5, beats=2, chord=(0, 4, 7)),
        "lead": track(*LEAD, [72, 74, 76, 77] * 5),
    } | more
    return [tracks[name] for name in tracks if tracks[name] is not None]


def stems_of(written):
    """Channels of each stem."""
    return {k: [key[0] for key in keys] for k, keys in read_midi(written).stems().items()}


USUAL = {"drums": [9], "bass": [1], "other": [2], "vocals": [3]}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (content(*band()), USUAL),
        (b"RIFF\0\0\0\0RMIDdata\0\0\0\0" + content(*band()), USUAL),
        (content(mido.merge_tracks(band()), type=0), USUAL),
        (content(*band(drums2=track(9, 16, [42] * 20))), USUAL | {"drums": [9, 9]}),
        (  # Roland's message, and Yamaha's bank, make a channel one of drums
            content(
                *band(
                    roland=track(
                        10,
                        0,
                        [42] * 20,
                        setup=[
                            mido.Message(
                                "sysex",
                                data=(0x41, 16, 0x42, 0x12, 0x40, 0x1A, 0x15, 2, 0x0F, 0),
                            )
                        ],
                    ),
                    yamaha=track(
                        11,
                        0,
                        [42] * 20,
                        setup=[mido.Message("control_change", channel=11, control=0, value=127)],
                    ),
                )
            ),
            USUAL | {"drums": [9, 10, 11]},
        ),
        (  # an arpeggio is no lead, though it is higher and busier
            content(*band(arpeggio=track(4, 80, [84, 88, 91, 96] * 40, beats=1 / 8))),
            USUAL | {"other": [2, 4]},
        ),
        (  # a track may say what it is
            content(*band(low=track(4, 66, [50, 52] * 10, name="Melody (sax)"))),
            USUAL | {"other": [2, 3], "vocals": [4]},
        ),
    ],
    ids=["type 1", "RIFF", "type 0", "two kits", "more drum channels", "arpeggio", "named"],
)
def test_instruments_go_to_their_stems(written, expected):
    assert stems_of(written) == expected


def test_time_follows_tempo_frames_and_tracks():
    slow = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=1000000, time=4800)])
    assert read_midi(content(*band())).seconds == pytest.approx(10)
    assert read_midi(content(slow, *band())).seconds == pytest.approx(15)
    assert read_midi(content(*band(), type=2)).seconds == pytest.approx(40)  # one after another
    smpte = (-25 << 8) | 40  # 25 frames of 40 ticks: 1000 ticks a second, whatever the tempo
    assert read_midi(content(slow, *band(), division=smpte)).seconds == pytest.approx(9.6)
    stopped = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=0)])
    assert read_midi(content(stopped, *band())).seconds == pytest.approx(10)
    assert read_midi(content(*band()), longest=4).seconds == pytest.approx(4)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (b"", "not a MIDI file"),
        (b"RIFF\0\0\0\0WAVEfmt ", "not a MIDI file"),
        (content(*band())[:200], "damaged MIDI file"),
        (content(*band())[:9], "damaged MIDI file"),
        (content(*band(), division=0), "its beats have no length"),
        (content(), "no notes"),
        (content(*band(drums=None)), "no drums"),
        (content(*band(bass=None)), "no bass"),
        (content(*band(chords=None)), "nothing but drums, bass and lead"),
        (content(*band(lead=None)), "no melody"),
        (content(*band(bass=track(*BASS, [40]))), "hardly any bass"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_song_of_four_stems_is_refused(written, words):
    with pytest.raises(UsageError, match=words):
        read_midi(written).stems()


@pytest.fixture(scope="module")
def font():
    return load_soundfont(default_soundfont())


def test_stems_sound_when_and_as_high_as_their_notes(font):
    late = track(*LEAD, [81] * 12, chord=(0, -3))  # of two notes only the higher is sung
    late.insert(0, mido.Message("control_change", channel=3, control=64, value=0, time=3840))
    stems = render_midi(content(*band(lead=late)), font)
    assert tuple(stems) == SOURCES
    for stem in stems.values():
        assert (stem.dtype, stem.shape) == (np.int16, (12 * 44100, 2))
    sung = stems["vocals"].mean(axis=1)
    assert not sung[: 2 * 44100].any()  # muted, without a noise floor, as it is for over a second
    assert sung[5 * 44100 : 9 * 44100].std() > 100
    spectrum = np.abs(np.fft.rfft(sung[5 * 44100 : 9 * 44100]))
    hertz = np.fft.rfftfreq(4 * 44100, 1 / 44100)
    dropped, highest = (spectrum[np.abs(hertz - f) < 15].max() for f in (370, 440))
    assert highest > 20 * dropped


def test_loud_stems_do_not_clip_and_silent_ones_are_refused(font):
    full = mido.Message("control_change", channel=2, control=7, value=127)
    loud = track(2, 61, [40, 43] * 5, beats=2, chord=tuple(range(0, 40, 2)), setup=[full])
    stems = render_midi(content(*band(chords=loud)), font)
    other = np.abs(stems["other"].astype(int)).max(axis=1)
    assert (other >= 0.98 * other.max()).mean() < 1e-3  # flat tops would be many
    off = mido.Message("control_change", channel=1, control=7, value=0)
    with pytest.raises(UsageError, match="its bass are silent"):
        render_midi(content(*band(bass=track(*BASS, [40] * 20, setup=[off]))), font)


def test_a_folder_becomes_a_set_and_what_does_not_fit_is_named(tmp_path, caplog):
    midi, root = tmp_path / "midi", tmp_path / "set"
    (midi / "a").mkdir(parents=True)
    files = {"a/Üb/r.mid": "x", "a/one.mid": compose(1, 12), "one.MIDI": compose(2, 12)}
    files |= {"a - one.kar": compose(3, 12), "short.mid": content(*band(drums=None))}
    for name, written in files.items():
        (midi / name).parent.mkdir(exist_ok=True)
        (midi / name).write_bytes(written if isinstance(written, bytes) else written.encode())
    (midi / "gone.mid").symlink_to(tmp_path / "nowhere")
    options = {"seconds": 10.0, "sample_rate": 8000, "n_test": 1, "progress": False}
    caplog.set_level("INFO")
    render_midi_set(root, midi, **options)
    assert "r.mid: not a MIDI file" in caplog.text
    assert "short.mid: no drums (channel 10)" in caplog.text
    assert "gone.mid: cannot be read (No such file or directory)" in caplog.text
    assert "3 songs; 3 MIDI files left out" in caplog.text
    found = find_songs(root, "train") + find_songs(root, "test")
    assert sorted(song.name for song in found) == ["a - one", "a - one (2)", "one"]
    assert len(find_songs(root, "test")) == 1
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.wav")}
    render_midi_set(root, midi, **options)
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*.wav")}


def test_bad_soundfonts_and_folders_are_refused(tmp_path, capfd):
    (tmp_path / "a.mid").write_bytes(content(*band()))
    cut = tmp_path / "cut.sf2"
    whole = bytearray(default_soundfont().read_bytes())
    cut.write_bytes(whole[:100000])
    whole[-201434] = 212  # a count that points beyond a table
    (tmp_path / "panic.sf2").write_bytes(whole)
    for options, words in (
        ({"soundfont": cut}, "cut.sf2: not a soundfont"),
        ({"soundfont": tmp_path / "panic.sf2"}, "panic.sf2: not a soundfont"),
        ({"soundfont": tmp_path / "none.sf2"}, "none.sf2: cannot be read"),
        ({"soundfont": tmp_path}, "cannot be read"),
        ({"n_train": 0}, "n_train is 0"),
        ({"seconds": 4}, "seconds is 4: must be at least 10"),
        ({"midi": tmp_path / "none"}, "must be a folder with MIDI files"),
        ({"midi": cut}, "must be a folder with MIDI files"),
    ):
        with pytest.raises(UsageError, match=words):
            render_midi_set(
                **{"root": tmp_path / "set", "midi": tmp_path, "progress": False} | options
            )
    (tmp_path / "train").mkdir()
    with pytest.raises(UsageError, match="says which songs to test on"):
        render_midi_set(tmp_path / "set", tmp_path, n_test=1, progress=False)
    assert not (tmp_path / "set").exists()
    assert "panicked" not in capfd.readouterr().err
