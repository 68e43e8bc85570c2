"""Songs on disk: what is found, what is refused and how it is said, how they are split."""

import itertools

import numpy as np
import pytest
import soundfile

from asteroid_upsamplers.data import find_songs, split_validation
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


def test_a_folder_without_the_files_of_a_song_is_named(song_set):
    (song_set / "train" / "odd one").mkdir()
    (song_set / "train" / "odd one" / "drums.WAV").write_bytes(b"")
    (song_set / "train" / ".hidden").mkdir()
    with pytest.raises(UsageError, match=r"1 of 4 songs: .*odd one/drums\.wav: missing"):
        find_songs(song_set, "train", RATE)


def test_an_empty_set_is_named(tmp_path):
    with pytest.raises(UsageError, match="no songs"):
        find_songs(tmp_path, "train", RATE)


def songs_named(names, tmp_path):
    return [Song(tmp_path / name, 100) for name in names]


def test_musdbs_validation_songs_are_held_out(tmp_path):
    fixed = sorted(musdb_validation_names())
    assert len(fixed) == 14
    assert "Leaf - Summerghost" in fixed
    train, valid = split_validation(songs_named([*fixed, "A - B", "C - D"], tmp_path))
    assert [song.name for song in valid] == fixed
    assert [song.name for song in train] == ["A - B", "C - D"]


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
