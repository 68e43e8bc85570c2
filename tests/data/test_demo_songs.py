"""Laws of the demo songs: repeatable, additive, level, varied, and resumable on disk."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from asteroid_upsamplers.data.demo_songs import (
    SOURCES,
    Score,
    render_demo_set,
    render_song,
    song_name,
)
from asteroid_upsamplers.data.demo_synths import TIMBRES, Patch, Syllable, sing
from asteroid_upsamplers.errors import UsageError

FILES = ("mixture", *SOURCES)
SEEDS = range(6)


@pytest.fixture(scope="module")
def songs():
    """Six songs of six seconds at 44.1 kHz."""
    return {seed: render_song(seed, seconds=6.0) for seed in SEEDS}


@pytest.fixture
def demo_set(tmp_path):
    """Arguments of a small set that has been rendered."""
    arguments = {"root": tmp_path / "set", "n_train": 2, "n_test": 1, "seconds": 1.25}
    arguments |= {"sample_rate": 8000, "jobs": 2, "progress": False}
    render_demo_set(**arguments)
    return arguments


def centroid(audio):
    spectrum = np.abs(np.fft.rfft(audio.mean(axis=1)))
    return (spectrum * np.fft.rfftfreq(len(audio), 1 / 44100)).sum() / spectrum.sum()


def dbfs(audio):
    return 20 * np.log10(np.sqrt(np.mean(audio.astype(float) ** 2)))


def modified(root):
    return {path: path.stat().st_mtime_ns for path in root.rglob("*.wav")}


def test_same_bytes_in_another_process():
    lines = (
        "import hashlib",
        "from asteroid_upsamplers.data.demo_songs import render_song",
        "stems = render_song(3, seconds=2.0, sample_rate=16000)",
        "print(hashlib.sha256(b''.join(v.tobytes() for v in stems.values())).hexdigest())",
    )
    command = [sys.executable, "-c", "\n".join(lines)]
    there = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    np.random.seed(1)  # the global generator must not matter
    stems = render_song(3, seconds=2.0, sample_rate=16000)
    here = hashlib.sha256(b"".join(stem.tobytes() for stem in stems.values())).hexdigest()
    assert here == there


@pytest.mark.parametrize(
    ("seconds", "rate"), [(1, 8000), (1.00007, 11025), (1.5, 48000), (20.0, 8000)]
)
def test_shapes_and_types_at_any_length_and_rate(seconds, rate):
    stems = render_song(5, seconds, rate)
    assert tuple(stems) == SOURCES
    for stem in stems.values():
        assert stem.dtype == np.float32
        assert stem.shape == (round(seconds * rate), 2)
        assert np.isfinite(stem).all()
        assert -40 < dbfs(stem) < -10


def test_no_clipping_and_exact_sum_in_any_order(songs):
    for stems in songs.values():
        mixture = sum(stems.values())
        assert 0.85 < np.abs(mixture).max() <= 0.9
        np.testing.assert_array_equal(mixture, sum(reversed(stems.values())))
        np.testing.assert_array_equal(mixture, sum(s.astype(float) for s in stems.values()))


@pytest.mark.parametrize("source", SOURCES)
def test_levels_no_dc_and_real_stereo(songs, source):
    levels = [dbfs(stems[source]) for stems in songs.values()]
    assert -30 < np.median(levels) < -12
    assert min(levels) > -40
    for stems in songs.values():
        stem = stems[source].astype(float)
        assert np.abs(stem.mean(axis=0)).max() < 1e-3 * stem.std()
        side, mid = stem[:, 0] - stem[:, 1], stem.sum(axis=1)
        assert 0.01 < side.std() / mid.std() < 1


@pytest.mark.parametrize("source", SOURCES)
def test_seeds_differ(songs, source):
    for seed in SEEDS[1:]:
        pair = songs[0][source].ravel(), songs[seed][source].ravel()
        assert abs(np.corrcoef(pair)[0, 1]) < 0.5


def test_spectral_centroids_are_ordered(songs):
    mean = {s: np.mean([centroid(stems[s]) for stems in songs.values()]) for s in SOURCES}
    assert mean["bass"] < mean["vocals"] < mean["drums"]


def test_vocals_rest_and_sound(songs):
    for stems in songs.values():
        frames = np.abs(stems["vocals"]).max(axis=1)
        blocks = frames[: len(frames) // 4410 * 4410].reshape(-1, 4410).max(axis=1)
        silent = np.mean(blocks < 1e-3 * frames.max())
        assert 0.05 < silent < 0.8


def test_voice_does_not_click_when_vowels_change():
    line = [Syllable(0.25 * n, 0.25, 52, "ui"[n % 2], False) for n in range(8)]
    for rate in (8000, 44100):
        voice = np.abs(sing(line, "man", 2 * rate, np.random.default_rng(0), rate))
        assert voice.max() < 2.5 * np.percentile(voice, 99)


def test_some_songs_let_a_source_rest_for_a_bar():
    rate, resting = 8000, {}
    for seed in range(40):
        score = Score.draw(12 * rate, rate, np.random.default_rng((seed, 0)))
        for source, bars in score.bars.items():
            for bar in set(range(len(score.roots) - 1)) - set(bars):
                resting[source] = seed, score.onset(bar, 8), score.onset(bar, 15)
    assert set(resting) == set(SOURCES)
    seed, start, stop = resting["vocals"]  # half a bar later, the room has faded
    vocals = render_song(seed, 12.0, rate)["vocals"]
    assert not vocals[round(start * rate) : round(stop * rate) - rate // 10].any()


def test_a_tuned_note_has_its_pitch():
    rng, rate = np.random.default_rng(0), 44100
    for timbre in TIMBRES:
        for pitch in (36, 57, 81):
            hertz = 440 * 2 ** ((pitch - 69) / 12)
            patch = Patch(timbre, brightness=0.5, attack=0.005, decay=0.5)
            note = patch.play(pitch, 1.0, rng, rate)
            spectrum = np.abs(np.fft.rfft(note * np.hanning(len(note)), 8 * rate))
            near = np.arange(int(8 * hertz * 0.9), int(8 * hertz * 1.1))
            found = near[spectrum[near].argmax()] / 8
            assert abs(1200 * np.log2(found / hertz)) < 15, (timbre, pitch)


def test_files_on_disk(demo_set):
    root = demo_set["root"]
    train = {path.name for path in (root / "train").iterdir()}
    test = {path.name for path in (root / "test").iterdir()}
    assert (len(train), len(test)) == (2, 1)
    assert not train & test
    for folder in (*(root / "train").iterdir(), *(root / "test").iterdir()):
        assert {path.name for path in folder.iterdir()} == {f"{name}.wav" for name in FILES}
        audio = {}
        for name in FILES:
            info = soundfile.info(folder / f"{name}.wav")
            assert (info.subtype, info.channels) == ("FLOAT", 2)
            assert (info.frames, info.samplerate) == (10000, 8000)
            audio[name] = soundfile.read(folder / f"{name}.wav", dtype="float32")[0]
        np.testing.assert_array_equal(audio.pop("mixture"), sum(audio.values()))


def test_a_larger_set_never_moves_a_test_song_into_train(demo_set):
    root = demo_set["root"]
    render_demo_set(**(demo_set | {"n_train": 4, "n_test": 0, "seed": 1}))
    train = {path.name for path in (root / "train").iterdir()}
    assert not train & {path.name for path in (root / "test").iterdir()}


def test_the_files_are_the_song_of_that_seed(demo_set):
    stems = render_song(0, demo_set["seconds"], demo_set["sample_rate"])
    for name, stem in stems.items():
        path = demo_set["root"] / "train" / song_name(0) / f"{name}.wav"
        np.testing.assert_array_equal(soundfile.read(path, dtype="float32")[0], stem)


@pytest.mark.parametrize("damage", ["missing", "truncated", "text"])
def test_only_a_damaged_song_is_rendered_anew(demo_set, damage):
    root = demo_set["root"]
    before = modified(root)
    broken = sorted(before)[3]
    if damage == "missing":
        broken.unlink()
    elif damage == "text":
        broken.write_text("not audio")
    else:
        broken.write_bytes(broken.read_bytes()[:20000])
    left_behind = broken.parent.with_name(broken.parent.name + ".partial")
    left_behind.mkdir()
    render_demo_set(**demo_set)
    after = modified(root)
    changed = {path for path in before if after[path] != before[path]}
    assert changed == {path for path in before if path.parent == broken.parent}
    assert not left_behind.exists()


def test_another_length_renders_all_anew_and_a_whole_set_is_kept(demo_set):
    before = modified(demo_set["root"])
    render_demo_set(**demo_set)
    assert modified(demo_set["root"]) == before
    render_demo_set(**(demo_set | {"seconds": 1.0}))
    after = modified(demo_set["root"])
    assert all(after[path] != before[path] for path in before)


def test_song_name():
    assert song_name(7) == "Demo - 007"
    assert len({song_name(seed) for seed in range(1200)}) == 1200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_train", 0),
        ("n_train", 1.5),
        ("n_test", -1),
        ("seconds", 0.99),
        ("seconds", float("nan")),
        ("seconds", float("inf")),
        ("seconds", "12"),
        ("sample_rate", 7999),
        ("sample_rate", 44100.0),
        ("seed", -1),
        ("jobs", 0),
    ],
)
def test_impossible_arguments_are_refused_in_one_line(tmp_path, name, value):
    with pytest.raises(UsageError) as refusal:
        render_demo_set(tmp_path / "set", **{"progress": False, name: value})
    message = str(refusal.value)
    assert message.startswith(f"{name} is {value!r}")
    assert "allowed" in message
    assert "\n" not in message
    assert not (tmp_path / "set").exists()


def test_a_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "set").write_text("mine")
    with pytest.raises(UsageError, match="root is .*set"):
        render_demo_set(tmp_path / "set", progress=False)
    assert (tmp_path / "set").read_text() == "mine"
