"""Extracts: every place once an epoch, in an order that depends on seed and epoch only."""

import pytest
import torch
import torch.distributed
from torch.utils.data import DataLoader

from asteroid_upsamplers.data import SOURCES, Extracts, ExtractSampler, WholeSongs, find_songs
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
    extract = Extracts(songs, RATE)[0, 0]
    assert extract.shape == (4, 2, RATE)
    assert torch.count_nonzero(extract[..., RATE // 2 :]) == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_songs_samples(songs, workers):
    sampler = ExtractSampler(songs, RATE, RATE // 2, seed=0)
    loader = DataLoader(Extracts(songs, RATE), batch_size=4, sampler=sampler, num_workers=workers)
    batches = torch.cat(list(loader))
    assert batches.shape == (9, 4, 2, RATE)
    for extract, (song, start) in zip(batches, sampler, strict=True):
        assert torch.equal(extract, songs[song].read(SOURCES, start, RATE))


def test_context_is_what_is_around_an_extract(songs):
    extracts = Extracts(songs, RATE, context=(30, 50))
    for start in (0, 7, RATE):
        expected = songs[1].read(SOURCES, start - 30, RATE + 80)
        assert torch.equal(extracts[1, start], expected)
        assert torch.equal(extracts[1, start][..., 30:-50], Extracts(songs, RATE)[1, start])


def test_whole_songs_are_whole(songs):
    dataset = WholeSongs(songs)
    assert len(dataset) == 3
    assert dataset[1].shape == (4, 2, 2 * RATE)


def test_processes_share_an_epoch(songs, monkeypatch):
    sampler = ExtractSampler(songs, RATE, RATE // 4, seed=0)
    alone = list(sampler)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    shares = []
    for rank in range(2):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        shares.append(list(sampler))
        assert len(sampler) == 7
    assert shares == [alone[0:14:2], alone[1:14:2]]
