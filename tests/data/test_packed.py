"""Packed songs: the samples of the files bit for bit, made once, mended where they are damaged."""

import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from asteroid_upsamplers.data import (
    SOURCES,
    Extracts,
    ExtractSampler,
    find_songs,
    pack_songs,
    packed,
    training_songs,
)
from asteroid_upsamplers.errors import UsageError
from tests.conftest import RATE, write_song


@pytest.fixture
def songs(song_set):
    return find_songs(song_set, "train", RATE)


@pytest.fixture
def made(monkeypatch):
    """Names of the songs that are packed from now on."""
    names, pack = [], packed._pack

    def note(song, *args):
        names.append(song.name)
        pack(song, *args)

    monkeypatch.setattr(packed, "_pack", note)
    return names


PLACES = [(0, None), (0, RATE), (7, 100), (RATE, RATE), (-50, 100), (2 * RATE - 10, 30), (-9, None)]


@pytest.mark.parametrize(("subtype", "dtype"), [("PCM_16", torch.int16), ("FLOAT", torch.float32)])
def test_the_samples_are_those_of_the_files(song_set, tmp_path, subtype, dtype):
    shutil.rmtree(song_set / "train" / "train 1")
    write_song(song_set / "train" / "train 1", seed=5, subtype=subtype)
    songs = find_songs(song_set, "train", RATE)
    for song, copy in zip(songs, pack_songs(songs, tmp_path / "packed"), strict=True):
        assert (copy.name, copy.frames) == (song.name, song.frames)
        for start, frames in PLACES:
            for sources in (SOURCES, SOURCES[::-1], SOURCES[2:3]):
                assert copy.stored(sources, start, frames).dtype == dtype
                assert torch.equal(
                    copy.read(sources, start, frames), song.read(sources, start, frames)
                )
        assert copy.level(SOURCES) == song.level(SOURCES)
        assert copy.level(SOURCES[:2]) == song.level(SOURCES[:2])


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_those_of_the_files(songs, tmp_path, workers):
    sampler = ExtractSampler(songs, RATE, RATE // 2, seed=0)
    several = [
        Extracts(some, RATE, normalize=True, context=(300, 500))
        for some in (songs, pack_songs(songs, tmp_path / "packed"))
    ]
    loaders = [DataLoader(e, 3, sampler=sampler, num_workers=workers) for e in several]
    for batch, copy in zip(*loaders, strict=True):
        assert (batch.samples.dtype, copy.samples.dtype) == (torch.float32, torch.int16)
        assert torch.equal(copy.sources(), batch.sources())


def test_nothing_reaches_the_packed_file(songs, tmp_path):
    copy = pack_songs(songs, tmp_path)[0]
    before = (copy.folder / packed.SAMPLES).read_bytes()
    copy.stored(SOURCES).zero_()
    assert (copy.folder / packed.SAMPLES).read_bytes() == before


def damage(folder, kind):
    samples = folder / packed.SAMPLES
    content = bytearray(samples.read_bytes())
    if kind == "flipped":
        content[len(content) // 2] ^= 1
        samples.write_bytes(content)
    elif kind == "truncated":
        samples.write_bytes(content[:-10])
    elif kind == "no level":
        (folder / packed.ABOUT).write_text(json.dumps({"crc32": 0}))
    elif kind == "half of it":
        (folder / packed.ABOUT).unlink()
    elif kind == "shorter":
        np.save(samples, np.load(samples)[..., :-1])
    elif kind == "float":
        np.save(samples, np.load(samples).astype(np.float32))


@pytest.mark.parametrize("kind", ["truncated", "no level", "half of it", "shorter", "float"])
def test_what_is_damaged_is_made_anew_and_the_rest_is_kept(songs, tmp_path, made, kind):
    pack_songs(songs, tmp_path)
    damage(tmp_path / songs[1].name, kind)
    made.clear()
    copies = pack_songs(songs, tmp_path)
    assert made == [songs[1].name]
    assert torch.equal(copies[1].read(SOURCES), songs[1].read(SOURCES))


def test_a_flipped_bit_is_found_by_verification(songs, tmp_path, made, caplog):
    pack_songs(songs, tmp_path)
    damage(tmp_path / songs[2].name, "flipped")
    made.clear()
    pack_songs(songs, tmp_path)
    assert made == []
    pack_songs(songs, tmp_path, verify=True)
    assert made == [songs[2].name]
    assert "damaged (checksum)" in caplog.text
    assert (
        packed._checksum(tmp_path / songs[2].name / packed.SAMPLES)
        == packed._about(tmp_path / songs[2].name)["crc32"]
    )


def test_a_song_that_changed_is_packed_again(songs, tmp_path, made):
    pack_songs(songs, tmp_path)
    made.clear()
    stamp = (tmp_path / songs[0].name / packed.SAMPLES).stat().st_mtime_ns + 10**9
    os.utime(songs[0].path("bass"), ns=(stamp, stamp))
    pack_songs(songs, tmp_path)
    assert made == [songs[0].name]


def test_a_write_that_reads_back_otherwise_is_no_copy(songs, tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "_checksum", lambda path: -1)
    with pytest.raises(UsageError, match="3 of 3 files: .*reads back otherwise"):
        pack_songs(songs, tmp_path / "packed")
    assert list((tmp_path / "packed").iterdir()) == []


def test_too_little_room_is_told_before_anything_is_written(songs, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(UsageError, match=r"need 0\.0 GB, 0\.0 GB are free; .*--packed false"):
        pack_songs(songs, tmp_path / "packed")
    assert list((tmp_path / "packed").iterdir()) == []


SCRIPT = """
import sys
from pathlib import Path
from asteroid_upsamplers.data import training_songs
songs = training_songs(Path(sys.argv[1]), Path(sys.argv[2]), 6000, packed=True)
print(sorted(song.name for song in songs), sum(float(song.read(("bass",)).sum()) for song in songs))
"""


@pytest.mark.slow
def test_processes_that_start_together_resample_and_pack_once(song_set, tmp_path):
    words = [sys.executable, "-c", SCRIPT, str(song_set), str(tmp_path / "wav" / "set")]
    started = [
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    ended = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], ended
    assert len({out for out, _ in ended}) == 1
    folders = sorted(p.name for p in (tmp_path / "wav").iterdir())
    assert folders == ["set_6000", "set_6000_packed"]
    assert len(list((tmp_path / "wav").rglob("*.partial"))) == 0


@pytest.mark.parametrize("is_packed", [True, False])
def test_songs_to_train_on_are_packed_if_asked_for(song_set, tmp_path, is_packed):
    songs = training_songs(song_set, tmp_path / "wav", RATE, is_packed)
    assert [type(song).__name__ for song in songs] == ["PackedSong" if is_packed else "Song"] * 3
    assert (tmp_path / "wav_packed" / "train" / "train 0").is_dir() == is_packed
