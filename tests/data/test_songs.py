"""Songs on disk: what is found, what is refused and how it is said, how they are split."""

import itertools

import numpy as np
import pytest
import soundfile
import torch

from asteroid_upsamplers.data import SOURCES, find_songs, prepare, songs_at_rate, split_validation
from asteroid_upsamplers.data.songs import Song, musdb_validation_names
from asteroid_upsamplers.errors import UsageError
from tests.conftest import RATE, write_song


def test_songs_are_found_by_name_with_their_length(song_set):
    songs = find_songs(song_set, "train", RATE)
    assert [song.name for song in songs] == ["train 0", "train 1", "train 2"]
    assert {song.frames for song in songs} == {2 * RATE}


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_before_its_start_and_past_its_end_a_song_is_silent(tmp_path, subtype):
    write_song(tmp_path / "train" / "song", subtype=subtype)
    (song,) = find_songs(tmp_path, "train", RATE)
    whole = np.stack([soundfile.read(song.path(s))[0].T for s in ("bass", "mixture")])
    padded = np.pad(whole, ((0, 0), (0, 0), (50, 50)))
    for start, frames in ((0, None), (-10, None), (100, 50), (2 * RATE - 10, 30), (-9, 2 * RATE)):
        stop = 2 * RATE if frames is None else start + frames
        samples = song.read(("bass", "mixture"), start, frames)
        np.testing.assert_array_equal(samples, padded[..., 50 + start : 50 + stop])
    assert not song.read(("bass",), -60, 50).any()
    assert not song.read(("bass",), 2 * RATE + 10, 50).any()


BAD_FILES = {
    "rate": ({"rate": 11025}, "11025 Hz, 8000 Hz is needed"),
    "mono": ({"channels": 1}, r"1 channel\(s\), 2 are needed"),
    "empty": ({"seconds": 0}, "no samples"),
    "length": ({"bass": np.zeros((5, 2))}, "files differ in length .*bass 5"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_songs_that_do_not_fit_are_named_in_one_line(song_set, case):
    settings, message = BAD_FILES[case]
    write_song(song_set / "train" / "bad one", **settings)
    with pytest.raises(UsageError, match=message) as caught:
        find_songs(song_set, "train", RATE)
    assert str(caught.value).startswith("1 of 4 songs: ")
    assert "bad one" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_damaged_files_are_all_named(song_set):
    (song_set / "train" / "train 0" / "drums.wav").unlink()
    (song_set / "train" / "train 1" / "vocals.wav").write_bytes(b"RIFF")
    with pytest.raises(UsageError, match="2 of 3 songs") as caught:
        find_songs(song_set, "train", RATE)
    assert "drums.wav: missing" in str(caught.value)
    assert "vocals.wav: cannot be read" in str(caught.value)


def test_test_songs_need_a_mixture_and_training_songs_do_not(song_set):
    for subset, name in (("train", "train 0"), ("test", "test 0")):
        (song_set / subset / name / "mixture.wav").unlink()
    assert len(find_songs(song_set, "train", RATE)) == 3
    with pytest.raises(UsageError, match=r"mixture\.wav: missing"):
        find_songs(song_set, "test", RATE)


def test_endings_and_names_in_upper_case_and_flac_are_read(song_set):
    folder, song = song_set / "train" / "train 0", find_songs(song_set, "train", RATE)[0]
    expected = song.read(SOURCES)
    (folder / "drums.wav").rename(folder / "Drums.WAV")
    (folder / "vocals.wav").rename(folder / "VOCALS.Wav")
    for stem, name in (("bass", "bass.flac"), ("other", "Other.FLAC")):
        samples, _ = soundfile.read(folder / f"{stem}.wav", dtype="int16")
        soundfile.write(folder / name, samples, RATE, format="FLAC")
        (folder / f"{stem}.wav").unlink()
    (song_set / "train").rename(song_set / "Train")
    song = find_songs(song_set, "train", RATE)[0]
    assert torch.equal(song.read(SOURCES), expected)
    assert torch.equal(song.read(SOURCES, 100, 50), expected[..., 100:150])
    (_, _, song) = find_songs(song_set, "train", RATE, ("VOCALS",))
    assert song.path("VOCALS").name == "vocals.wav"


def unusable(folder, **changed):
    """A song in which something is wrong: bytes of a file, ``None`` for no file, or a link."""
    write_song(folder, subtype="FLOAT" if "nan" in folder.name else "PCM_16")
    for name, content in changed.items():
        path = folder / name.replace("_", ".")
        path.unlink(missing_ok=True)
        if isinstance(content, str):
            path.symlink_to(content)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            soundfile.write(path, content, RATE, subtype="FLOAT" if "nan" in folder.name else None)


NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, (2 * RATE, 2))
SILENT = {f"{name}_wav": 0 * NOISE for name in SOURCES}
UNUSABLE = {
    "two files": ({"drums_flac": NOISE}, "drums.flac and drums.wav are one stem"),
    "mp3": ({"drums_wav": None, "drums_mp3": b"mp3"}, "drums.mp3 is neither wav nor flac"),
    "no sound": ({"bass_wav": b""}, "bass.wav: cannot be read"),
    "link": ({"bass_wav": "nowhere.wav"}, "bass.wav: broken link"),
    "shorter": ({"bass_wav": NOISE[:-1]}, "differ in length"),
    "silent": (SILENT, "silent: silent throughout"),
    "nan": ({"other_wav": NOISE * np.inf}, "other.wav: holds NaN or infinite"),
}


@pytest.fixture
def bad_set(song_set):
    """Three good songs to train on, and whatever can be wrong with others."""
    train = song_set / "train"
    for name, (changed, _) in UNUSABLE.items():
        unusable(train / name, **changed)
    soundfile.write(train / "cut.flac", NOISE, RATE)
    flac = (train / "cut.flac").read_bytes()
    unusable(train / "cut", vocals_wav=None, vocals_flac=flac[: len(flac) // 2])
    write_song(train / "artist" / "deeper")
    (train / "empty").mkdir()
    (train / "gone").symlink_to("nowhere")
    return song_set


def test_what_looks_like_a_song_and_cannot_be_used_is_named(bad_set, caplog):
    messages = {name: message for name, (_, message) in UNUSABLE.items()} | {
        "cut.flac": "cut.flac: a single file",
        "cut": "vocals.flac: cannot be read",
        "artist": "artist/drums.wav: missing (there are folders with audio",
        "empty": "empty/drums.wav: missing (the folder is empty",
        "gone": "gone: broken link",
    }
    with pytest.raises(UsageError, match="12 of 17 songs: .*--skip_bad_songs") as caught:
        prepare(bad_set, bad_set.parent / "wav", RATE, progress=False)
    assert "\n" not in str(caught.value)
    assert [m for m in messages.values() if m not in caplog.text] == []
    caplog.clear()
    caplog.set_level("INFO")
    skip = {"skip_bad_songs": True, "progress": False}
    prepare(bad_set, bad_set.parent / "wav", RATE, **skip)
    assert "train: 15 songs found, 3 used" in caplog.text
    assert [m for m in messages.values() if m not in caplog.text] == []
    songs = songs_at_rate(bad_set, bad_set.parent / "wav", "train", RATE // 2, **skip)
    assert [song.name for song in songs] == ["train 0", "train 1", "train 2"]


def test_what_other_programs_leave_is_named_and_no_song(song_set, caplog):
    write_song(song_set / "train" / ".ipynb_checkpoints" / "train 0")
    (song_set / "train" / "__MACOSX").mkdir()
    (song_set / "train" / "__MACOSX" / "._drums.wav").write_bytes(b"")
    (song_set / "train" / "README.txt").write_text("")
    (song_set / "train" / ".hidden").mkdir()
    assert len(find_songs(song_set, "train", RATE)) == 3
    assert "train: 2 not read, as hidden: .ipynb_checkpoints, __MACOSX" in caplog.text


def test_the_rate_of_most_songs_is_that_of_the_set(song_set):
    write_song(song_set / "train" / "a first one", rate=4000)
    with pytest.raises(UsageError, match="1 of 4 songs: .*a first one: 4000 Hz, 8000 Hz"):
        find_songs(song_set, "train")


def test_an_empty_set_is_named(tmp_path):
    with pytest.raises(UsageError, match="no songs"):
        find_songs(tmp_path, "train", RATE)


def songs_named(names, tmp_path):
    return [Song(tmp_path / name, 100) for name in names]


def test_musdbs_validation_songs_are_held_out(tmp_path, caplog):
    fixed = sorted(musdb_validation_names())
    assert len(fixed) == 14
    assert "Leaf - Summerghost" in fixed
    train, valid = split_validation(songs_named([*fixed, "A - B", "C - D"], tmp_path))
    assert [song.name for song in valid] == fixed
    assert [song.name for song in train] == ["A - B", "C - D"]
    assert not caplog.records
    split_validation(songs_named([*fixed[1:], "A - B"], tmp_path))
    assert f"validation songs of musdb that are not there: {fixed[0]}" in caplog.text


def test_songs_that_are_named_so_are_held_out(tmp_path):
    names = ["A - B", "Validation - C", min(musdb_validation_names())]
    assert [s.name for s in split_validation(songs_named(names, tmp_path))[1]] == [names[1]]


@pytest.mark.parametrize(("count", "held_out"), [(2, 1), (3, 2), (7, 2), (18, 3), (100, 14)])
def test_other_sets_hold_out_a_seventh(tmp_path, count, held_out):
    songs = songs_named([f"{n:03d}" for n in range(count)], tmp_path)
    train, valid = split_validation(songs)
    assert sorted(train + valid, key=lambda song: song.name) == songs
    assert len(valid) == held_out
    places = [songs.index(song) for song in valid]
    gaps = {after - before for before, after in itertools.pairwise(places)}
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_one_song_cannot_be_split(tmp_path):
    with pytest.raises(UsageError, match="1 training song"):
        split_validation(songs_named(["a"], tmp_path))
    with pytest.raises(UsageError, match="none is left"):
        split_validation(songs_named(sorted(musdb_validation_names())[:2], tmp_path))
