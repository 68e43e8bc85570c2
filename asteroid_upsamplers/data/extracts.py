"""Extracts of songs for training: which ones is decided in one place, by seed and epoch."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import torch
import torch.distributed
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from tqdm import tqdm

from .songs import SOURCES, Song

logger = logging.getLogger(__name__)

Place = tuple[int, int]
"""Which song, and at which sample the extract starts."""


class ExtractSampler(Sampler[Place]):
    """The extracts of an epoch in random order: every ``stride`` samples of every song, one.

    The order depends on the seed and the epoch only, so a run that is resumed sees what an unbroken
    one sees. Under ``torch.distributed`` each process gets its share.

    Args:
        songs: To take extracts from; of one that is too short, the only extract is all of it.
        frames: Length of an extract in samples.
        stride: Samples between the starts of neighbouring extracts of a song.
        seed: Seed of the order.
    """

    def __init__(self, songs: Sequence[Song], frames: int, stride: int, seed: int):
        self.seed = seed
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

    def __len__(self) -> int:
        return len(self.places) // _world()[1]

    def __iter__(self) -> Iterator[Place]:
        generator = seeded(self.seed, self.epoch)
        order = torch.randperm(len(self.places), generator=generator).tolist()
        rank, processes = _world()
        for index in order[rank : len(self) * processes : processes]:
            yield self.places[index]


class Extracts(Dataset[Tensor]):
    """Reads the extract at a :data:`Place`: ``(source, channel, frames)``, float32.

    Args:
        songs: As the sampler's.
        frames: Length of an extract in samples.
        normalize: Whether to divide by the level of the song's mixture, as [3] does; the levels
            are read once, here.
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

    def __getitem__(self, place: Place) -> Tensor:
        song, start = place
        before, after = self.context
        frames = before + self.frames + after
        return self.songs[song].read(self.sources, start - before, frames) / self.levels[song]


class WholeSongs(Dataset[Tensor]):
    """Reads whole songs: ``(source, channel, time)``, float32. Arguments as :class:`Extracts`."""

    def __init__(
        self, songs: Sequence[Song], normalize: bool = False, sources: Sequence[str] = SOURCES
    ):
        self.songs, self.sources = list(songs), tuple(sources)
        self.levels = _levels(songs, sources, normalize)

    def __len__(self) -> int:
        return len(self.songs)

    def __getitem__(self, index: int) -> Tensor:
        return self.songs[index].read(self.sources) / self.levels[index]


def _levels(songs: Sequence[Song], sources: Sequence[str], normalize: bool) -> list[float]:
    if not normalize:
        return [1.0] * len(songs)
    return [song.level(sources) for song in tqdm(songs, "reading levels", leave=False)]


def seeded(*numbers: int) -> torch.Generator:
    """A generator whose numbers depend on all of ``numbers``, and on their order."""
    seed = 0
    for number in numbers:
        # splitmix64's odd constant spreads neighbouring seeds over all bits
        seed = (seed * 0x9E3779B97F4A7C15 + number + 1) % 2**63
    return torch.Generator().manual_seed(seed)


def _world() -> tuple[int, int]:
    """Rank and number of the processes that train together."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
