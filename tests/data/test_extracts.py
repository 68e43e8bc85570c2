"""Extracts: every place once an epoch, in an order that depends on seed and epoch only."""

import pytest
import torch
import torch.distributed
from torch.utils.data import DataLoader

from asteroid_upsamplers.data import (
    SOURCES,
    Extracts,
    ExtractSampler,
    SharedSongs,
    WholeSongs,
    find_songs,
)
from asteroid_upsamplers.errors import UsageError
from tests.conftest import RATE, write_song


@pytest.fixture
def songs(song_set):
    return find_songs(song_set, "train", RATE)


def test_every_place_of_every_song_once_an_epoch(songs):
    sampler = ExtractSampler(songs, frames=RATE, stride=RATE // 4, seed=0)
    expected = {(song, n * RATE // 4) for song in range(3) for n in range(5)}
    assert len(sampler) == 15
    assert set(sampler) == expected
    assert len(list(sampler)) == 15


def test_the_order_depends_on_seed_and_epoch(songs):
    def order(seed, epoch):
        sampler = ExtractSampler(songs, RATE, RATE // 10, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 3) == order(0, 3)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_a_song_shorter_than_an_extract_is_padded_and_named(song_set, caplog):
    write_song(song_set / "train" / "short one", seconds=0.5)
    songs = find_songs(song_set, "train", RATE)
    sampler = ExtractSampler(songs, RATE, RATE, seed=0)
    assert "short one" in caplog.text
    assert [place for place in sampler if place[0] == 0] == [(0, 0)]
    extract = Extracts(songs, RATE)[0, 0].samples
    assert extract.shape == (4, 2, RATE)
    assert torch.count_nonzero(extract[..., RATE // 2 :]) == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_songs_samples(songs, workers):
    sampler = ExtractSampler(songs, RATE, RATE // 2, seed=0)
    loader = DataLoader(Extracts(songs, RATE), batch_size=4, sampler=sampler, num_workers=workers)
    batches = torch.cat([batch.sources() for batch in loader])
    assert batches.shape == (9, 4, 2, RATE)
    for extract, (song, start) in zip(batches, sampler, strict=True):
        assert torch.equal(extract, songs[song].read(SOURCES, start, RATE))


def test_context_is_what_is_around_an_extract(songs):
    extracts = Extracts(songs, RATE, context=(30, 50))
    for start in (0, 7, RATE):
        expected = songs[1].read(SOURCES, start - 30, RATE + 80)
        extract = extracts[1, start].samples
        assert torch.equal(extract, expected)
        assert torch.equal(extract[..., 30:-50], Extracts(songs, RATE)[1, start].samples)


def test_whole_songs_are_whole(songs):
    dataset = WholeSongs(songs)
    assert len(dataset) == 3
    index, song = dataset[1]
    assert index == 1
    assert song.shape == (4, 2, 2 * RATE)


def among(monkeypatch, processes, function):
    """What ``function`` gives in each of some processes."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: processes)
    results = []
    for rank in range(processes):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        results.append(function())
    return results


@pytest.mark.parametrize(("processes", "accumulate"), [(1, 1), (2, 1), (1, 2), (2, 3), (3, 2)])
def test_batches_are_the_same_however_they_are_divided(songs, monkeypatch, processes, accumulate):
    """Part by part, process by process, they are the order of one process; whole batches only."""
    alone = list(ExtractSampler(songs, RATE, RATE // 20, seed=0))
    part = 12 // processes // accumulate
    sampler = ExtractSampler(songs, RATE, RATE // 20, seed=0, batch=12, part=part)
    shares = among(monkeypatch, processes, lambda: list(sampler))
    lengths = among(monkeypatch, processes, lambda: len(sampler))
    assert (sampler.steps, len(alone)) == (5, 63)
    assert lengths == [60 // processes] * processes
    together = [
        place
        for first in range(0, 60 // processes, part)
        for share in shares
        for place in share[first : first + part]
    ]
    assert together == alone[:60]


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_songs_are_shared_out_longest_first_and_evenly(songs, song_set, monkeypatch, processes):
    write_song(song_set / "train" / "a long one", seconds=3)
    songs = find_songs(song_set, "train", RATE)
    sampler = SharedSongs(songs)
    shares = among(monkeypatch, processes, lambda: list(sampler))
    assert {len(share) for share in shares} == {-(-4 // processes)}
    assert {number for share in shares for number in share} == {0, 1, 2, 3}
    assert songs[shares[0][0]].name == "a long one"
    assert among(monkeypatch, processes, lambda: len(sampler)) == [-(-4 // processes)] * processes


@pytest.mark.parametrize("workers", [0, 2])
def test_another_song_stands_in_for_one_that_cannot_be_read(songs, workers):
    """The next one that can, from the same place; the extract says whose place it took."""
    extracts = Extracts(songs, RATE)
    songs[1].path("bass").write_bytes(b"no sound")
    sampler = ExtractSampler(songs, RATE, RATE // 2, seed=0)
    loader = DataLoader(extracts, batch_size=3, sampler=sampler, num_workers=workers)
    batches = list(loader)
    samples = torch.cat([batch.samples for batch in batches])
    unreadable = torch.cat([batch.unreadable for batch in batches]).tolist()
    for (song, start), extract, missing in zip(sampler, samples, unreadable, strict=True):
        stand_in = 2 if song == 1 else song
        assert torch.equal(extract, songs[stand_in].read(SOURCES, start, RATE))
        assert missing == (1 if song == 1 else -1)


def test_without_any_song_that_can_be_read_it_stops(songs):
    extracts = Extracts(songs, RATE)
    for song in songs:
        song.path("drums").unlink()
    with pytest.raises(UsageError, match="no song can be read any more"):
        extracts[2, 0]
