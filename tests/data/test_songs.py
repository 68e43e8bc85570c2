"""Songs on disk: what is found, what is refused and how it is said, how they are split."""

import itertools

import numpy as np
import pytest
import soundfile
import torch

from asteroid_upsamplers.data import SOURCES, find_songs, split_validation
from asteroid_upsamplers.data.packed import pack_songs
from asteroid_upsamplers.data.songs import Song, musdb_validation_names
from asteroid_upsamplers.errors import UsageError
from tests.conftest import RATE, write_song


def test_songs_are_found_by_name_with_their_length(song_set):
    songs = find_songs(song_set, "train", RATE)
    assert [song.name for song in songs] == ["train 0", "train 1", "train 2"]
    assert {song.frames for song in songs} == {2 * RATE}


def test_extracts_are_what_is_in_the_files(song_set):
    song = find_songs(song_set, "test", RATE)[0]
    extract = song.read(("bass", "mixture"), start=100, frames=50)
    assert extract.shape == (2, 2, 50)
    for row, name in zip(extract, ("bass", "mixture"), strict=True):
        samples, _ = soundfile.read(song.path(name), dtype="float32")
        np.testing.assert_array_equal(row.T.numpy(), samples[100:150])


def test_past_its_end_a_song_is_silent(song_set):
    song = find_songs(song_set, "train", RATE)[0]
    extract = song.read(SOURCES, start=2 * RATE - 10, frames=30)
    assert extract.shape == (4, 2, 30)
    assert extract[..., :10].abs().max() > 0
    assert torch.count_nonzero(extract[..., 10:]) == 0


def test_before_its_start_a_song_is_silent(song_set):
    song = find_songs(song_set, "train", RATE)[0]
    extract = song.read(SOURCES, start=-10, frames=2 * RATE + 30)
    assert torch.equal(extract[..., 10:-20], song.read(SOURCES))
    assert torch.count_nonzero(extract[..., :10]) == 0
    assert torch.count_nonzero(extract[..., -20:]) == 0


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


def test_nan_is_refused_where_it_is_read(song_set):
    samples = np.zeros((2 * RATE, 2), np.float32)
    samples[500] = np.nan
    folder = write_song(song_set / "train" / "nan", subtype="FLOAT", bass=samples)
    song = Song(folder, 2 * RATE)
    assert torch.isfinite(song.read(SOURCES, 0, 400)).all()
    with pytest.raises(UsageError, match=r"bass\.wav: holds NaN or infinite"):
        song.read(SOURCES, 400, 400)


def test_test_songs_need_a_mixture_and_training_songs_do_not(song_set):
    for subset, name in (("train", "train 0"), ("test", "test 0")):
        (song_set / subset / name / "mixture.wav").unlink()
    assert len(find_songs(song_set, "train", RATE)) == 3
    with pytest.raises(UsageError, match=r"mixture\.wav: missing"):
        find_songs(song_set, "test", RATE)


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


def test_a_file_that_became_shorter_is_told_from_silence(tmp_path):
    """Its header was read before; soundfile would give what is left of it."""
    song = Song(write_song(tmp_path / "song", seconds=1.0), RATE)
    path = song.path("drums")
    path.write_bytes(path.read_bytes()[:1000])
    song.read(SOURCES, 0, 100)
    with pytest.raises(
        UsageError, match=r"drums\.wav: cannot be read \(truncated before sample 60"
    ):
        song.read(SOURCES, 500, 100)
    with pytest.raises(UsageError, match="truncated before sample 8000"):
        pack_songs([song], tmp_path / "packed", progress=False)
