"""Segments: every one once an epoch, in an order that depends on seed and epoch only."""

import pytest
import torch
import torch.distributed
from torch.utils.data import DataLoader

from asteroid_upsamplers.data import (
    SOURCES,
    Segments,
    SegmentSampler,
    WholeSongs,
    find_songs,
)
from asteroid_upsamplers.errors import UsageError
from tests.conftest import RATE, write_song


@pytest.fixture
def songs(song_set):
    return find_songs(song_set, "train", RATE)


def test_every_offset_of_every_track_once_an_epoch(songs):
    segments = Segments(songs, frames=RATE, hop=RATE // 4)
    sampler = SegmentSampler(segments, seed=0)
    expected = [(track, n * RATE // 4) for track in range(3) for n in range(5)]
    assert len(sampler) == len(segments) == 15
    assert sorted(segments.offsets[index] for index in sampler) == expected


def test_the_order_depends_on_seed_and_epoch_only():
    def order(seed, epoch):
        sampler = SegmentSampler(range(60), seed)
        sampler.set_epoch(epoch)
        return tuple(sampler)

    assert order(0, 3) == order(0, 3)
    assert len({order(seed, epoch) for seed in range(3) for epoch in range(3)}) == 9


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_samples_of_the_songs_at_their_level(songs, workers):
    segments = Segments(songs, RATE, RATE // 2, normalize=True)
    sampler = SegmentSampler(segments, seed=0)
    loader = DataLoader(segments, batch_size=4, sampler=sampler, num_workers=workers)
    batches = torch.cat(list(loader))
    assert batches.shape == (9, 4, 2, RATE)
    for segment, index in zip(batches, sampler, strict=True):
        track, offset = segments.offsets[index]
        mono = songs[track].read(SOURCES).sum(0).mean(0)
        expected = songs[track].read(SOURCES, offset, RATE) / mono.std(correction=0)
        torch.testing.assert_close(segment, expected, atol=0, rtol=1e-5)


def test_context_is_what_is_around_a_segment(songs):
    segments = Segments(songs, RATE, RATE, context=(30, 50))
    for index, offset in ((2, 0), (3, RATE)):
        assert torch.equal(segments[index], songs[1].read(SOURCES, offset - 30, RATE + 80))


def test_a_song_shorter_than_a_segment_is_padded_and_named(song_set, caplog):
    write_song(song_set / "train" / "short one", seconds=0.5)
    segments = Segments(find_songs(song_set, "train", RATE), RATE, RATE)
    assert "short one" in caplog.text
    assert [offset for offset in segments.offsets if offset[0] == 0] == [(0, 0)]
    assert segments[0].shape == (4, 2, RATE)
    assert torch.count_nonzero(segments[0][..., RATE // 2 :]) == 0


def test_sources_are_those_asked_for(songs):
    assert torch.equal(
        Segments(songs, RATE, RATE, sources=("vocals", "mixture"))[0],
        songs[0].read(("vocals", "mixture"), 0, RATE),
    )
    number, song = WholeSongs(songs, sources=("bass",))[1]
    assert (number, song.shape) == (1, (1, 2, 2 * RATE))


def among(monkeypatch, processes, function):
    """What ``function`` gives in each of some processes."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: processes)
    results = []
    for rank in range(processes):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        results.append(function())
    return results


@pytest.mark.parametrize(("processes", "accumulate"), [(1, 2), (2, 3), (3, 1)])
def test_batches_are_the_same_however_they_are_divided(monkeypatch, processes, accumulate):
    """Micro-batch by micro-batch they are the order of one process; whole batches only."""
    alone = list(SegmentSampler(range(63), seed=0))
    micro = 12 // processes // accumulate
    sampler = SegmentSampler(range(63), seed=0, batch=12, micro_batch=micro)
    shares = among(monkeypatch, processes, lambda: (len(sampler), list(sampler)))
    assert sampler.steps == 5
    assert [length for length, _ in shares] == [60 // processes] * processes
    together = [
        index
        for first in range(0, 60 // processes, micro)
        for _, share in shares
        for index in share[first : first + micro]
    ]
    assert together == alone[:60]


@pytest.mark.parametrize("workers", [0, 2])
def test_another_song_stands_in_for_one_that_cannot_be_read(songs, workers, caplog):
    """The next one that can, at the same offset; it is named, and the segments are counted."""
    segments = Segments(songs, RATE, RATE // 2)
    songs[1].path("bass").write_bytes(b"no sound")
    sampler = SegmentSampler(segments, seed=0)
    batches = torch.cat(list(DataLoader(segments, 3, sampler=sampler, num_workers=workers)))
    for segment, index in zip(batches, sampler, strict=True):
        track, offset = segments.offsets[index]
        stand_in = songs[2 if track == 1 else track]
        assert torch.equal(segment, stand_in.read(SOURCES, offset, RATE))
    assert segments.unreadable.tolist() == [0, 3, 0]
    if not workers:
        assert caplog.text.count("bass.wav: cannot be read") == 1


def test_without_any_song_that_can_be_read_it_stops(songs):
    segments = Segments(songs, RATE, RATE)
    for song in songs:
        song.path("drums").unlink()
    with pytest.raises(UsageError, match="no song can be read any more"):
        segments[5]
