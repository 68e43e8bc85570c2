"""Extracts of songs for training: which ones is decided in one place, by seed and epoch."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.distributed
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from tqdm import tqdm

from ..errors import UsageError
from .songs import SOURCES, Song

logger = logging.getLogger(__name__)

Place = tuple[int, int]
"""Which song, and at which sample the extract starts."""


class Extract(NamedTuple):
    """Samples of a song as they are stored, or a batch of them."""

    samples: Tensor
    """``(source, channel, frames)``, whole numbers or floats."""
    divisor: Tensor
    """What makes of them samples of the level that the network sees."""
    unreadable: Tensor
    """Number of a song that should have been read and could not be, else -1."""

    def sources(self) -> Tensor:
        """At the network's level: ``(..., source, channel, frames)``, float32, on any device."""
        return self.samples.float() / self.divisor[..., None, None, None]


class ExtractSampler(Sampler[Place]):
    """The extracts of an epoch in random order: every ``stride`` samples of every song, one.

    The order depends on the seed and the epoch only, so a run that is resumed sees what an unbroken
    one sees. Whole batches are given out. Under ``torch.distributed`` each process gets its share:
    of every ``part * processes`` extracts, the first process has the first ``part``. However a
    batch is divided, its extracts are the same.

    Args:
        songs: To take extracts from; of one that is too short, the only extract is all of it.
        frames: Length of an extract in samples.
        stride: Samples between the starts of neighbouring extracts of a song.
        seed: Seed of the order.
        batch: Extracts of a step, of all processes together.
        part: Extracts that a process takes at a time; ``batch`` is a multiple of all of theirs.
    """

    def __init__(
        self,
        songs: Sequence[Song],
        frames: int,
        stride: int,
        seed: int,
        batch: int = 1,
        part: int = 1,
    ):
        self.seed = seed
        self.batch, self.part = batch, part
        self.epoch = 0
        self.places: list[Place] = []
        for index, song in enumerate(songs):
            if song.frames < frames:
                logger.warning(
                    "%s: %d samples are fewer than an extract's %d; silence is put behind them",
                    song.folder,
                    song.frames,
                    frames,
                )
            last = max(0, song.frames - frames)
            self.places += [(index, start) for start in range(0, last + 1, stride)]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this before each."""
        self.epoch = epoch

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return len(self.places) // self.batch

    def __len__(self) -> int:
        return self.steps * self.batch // world()[1]

    def __iter__(self) -> Iterator[Place]:
        generator = seeded(self.seed, self.epoch)
        order = torch.randperm(len(self.places), generator=generator).tolist()
        rank, processes = world()
        for first in range(rank * self.part, self.steps * self.batch, self.part * processes):
            for index in order[first : first + self.part]:
                yield self.places[index]


class Extracts(Dataset[Extract]):
    """Reads the extract at a :data:`Place`.

    Where a song cannot be read, another one stands in for it, and the extract says so.

    Args:
        songs: As the sampler's.
        frames: Length of an extract in samples.
        normalize: Whether the network shall see songs of level 1, as [3] does; the levels are read
            once, here.
        sources: Names of the files to read.
        context: Samples to read before and after the extract as well; silence beyond the song.
    """

    def __init__(
        self,
        songs: Sequence[Song],
        frames: int,
        normalize: bool = False,
        sources: Sequence[str] = SOURCES,
        context: tuple[int, int] = (0, 0),
    ):
        self.songs, self.frames, self.sources = list(songs), frames, tuple(sources)
        self.context = context
        self.levels = _levels(songs, sources, normalize)

    def __getitem__(self, place: Place) -> Extract:
        wanted, start = place
        unreadable = -1
        for number in (*range(wanted, len(self.songs)), *range(wanted)):
            song = self.songs[number]
            if number != wanted:
                start %= max(1, song.frames - self.frames + 1)
            try:
                samples = self._read(song, start)
            except UsageError:
                unreadable = wanted
                continue
            divisor = torch.tensor(song.full_scale * self.levels[number])
            return Extract(samples, divisor, torch.tensor(unreadable))
        raise UsageError(f"{self.songs[wanted].folder.parent}: no song can be read any more")

    def _read(self, song: Song, start: int) -> Tensor:
        before, after = self.context
        return song.stored(self.sources, start - before, before + self.frames + after)


class SharedSongs(Sampler[int]):
    """Numbers of songs, each for one of the processes that work together.

    Every process gets as many, so that none waits for ever: if they do not come out even, some
    songs are given out twice.

    Args:
        songs: The longest are given out first, so that all processes end at about the same time.
    """

    def __init__(self, songs: Sequence[Song]):
        self.order = sorted(range(len(songs)), key=lambda number: -songs[number].frames)

    def __len__(self) -> int:
        return -(-len(self.order) // world()[1])

    def __iter__(self) -> Iterator[int]:
        rank, processes = world()
        for index in range(rank, len(self) * processes, processes):
            yield self.order[index % len(self.order)]


class WholeSongs(Dataset[tuple[int, Tensor]]):
    """Reads whole songs: the number, and ``(source, channel, time)``, float32.

    Arguments as :class:`Extracts`.
    """

    def __init__(
        self, songs: Sequence[Song], normalize: bool = False, sources: Sequence[str] = SOURCES
    ):
        self.songs, self.sources = list(songs), tuple(sources)
        self.levels = _levels(songs, sources, normalize)

    def __len__(self) -> int:
        return len(self.songs)

    def __getitem__(self, index: int) -> tuple[int, Tensor]:
        return index, self.songs[index].read(self.sources) / self.levels[index]


def _levels(songs: Sequence[Song], sources: Sequence[str], normalize: bool) -> list[float]:
    if not normalize:
        return [1.0] * len(songs)
    measured = tqdm(songs, "reading levels", leave=False, delay=1)
    return [song.level(sources) for song in measured]


def seeded(*numbers: int) -> torch.Generator:
    """A generator whose numbers depend on all of ``numbers``, and on their order."""
    seed = 0
    for number in numbers:
        # splitmix64's odd constant spreads neighbouring seeds over all bits
        seed = (seed * 0x9E3779B97F4A7C15 + number + 1) % 2**63
    return torch.Generator().manual_seed(seed)


def world() -> tuple[int, int]:
    """Rank and number of the processes that train together."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
