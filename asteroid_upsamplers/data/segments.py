"""Segments of songs for training, and whole songs for validation."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.distributed
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from tqdm import tqdm

from ..errors import UsageError
from .parallel import cores
from .songs import SOURCES, Song

logger = logging.getLogger(__name__)


class Segments(Dataset[Tensor]):
    """Segments of songs, one every ``hop`` samples: ``(source, channel, time)``, float32.

    Where a song cannot be read, it is named once, and the next song that can be read stands in for
    it. :attr:`unreadable` counts for each song how often, over all worker processes.

    Args:
        songs: Songs to take segments from. Of a song that is shorter than a segment, the only
            segment is all of it, followed by silence.
        frames: Length of a segment in samples, at least 1.
        hop: Samples between the starts of neighbouring segments of a song, at least 1.
        normalize: Whether to divide every song by its level, as Demucs v1 does
            (:func:`~asteroid_upsamplers.dsp.mono_level` of the sum of its sources). The levels are
            measured here, which reads all songs once.
        sources: Names of the sources to read.
        context: Samples to read before and after a segment as well; silence beyond the song.
    """

    def __init__(
        self,
        songs: Sequence[Song],
        frames: int,
        hop: int,
        normalize: bool = False,
        sources: Sequence[str] = SOURCES,
        context: tuple[int, int] = (0, 0),
    ):
        self.songs, self.frames, self.sources = list(songs), frames, tuple(sources)
        self.context = context
        self.levels = _levels(songs, sources, normalize)
        self.unreadable = torch.zeros(len(songs), dtype=torch.int64).share_memory_()
        self.offsets: list[tuple[int, int]] = []
        """Of every segment, the number of its track and the sample at which it starts."""
        for track, song in enumerate(songs):
            if song.frames < frames:
                logger.warning(
                    "%s: its %d samples are fewer than the %d of a segment; silence is added",
                    song.folder,
                    song.frames,
                    frames,
                )
            last = max(0, song.frames - frames)
            self.offsets += [(track, offset) for offset in range(0, last + 1, hop)]

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, index: int) -> Tensor:
        wanted, offset = self.offsets[index]
        for track in (*range(wanted, len(self.songs)), *range(wanted)):
            song = self.songs[track]
            if track != wanted:
                offset %= max(1, song.frames - self.frames + 1)
            before, after = self.context
            try:
                segment = song.read(self.sources, offset - before, before + self.frames + after)
            except UsageError as error:
                if track == wanted:
                    self._count_unreadable(track, error)
            else:
                return segment.div_(self.levels[track])
        raise UsageError(f"{self.songs[wanted].folder.parent}: no song can be read any more")

    def _count_unreadable(self, track: int, error: UsageError) -> None:
        if not self.unreadable[track]:
            logger.error("%s; other songs stand in for it", error)
        self.unreadable[track] += 1


class SegmentSampler(Sampler[int]):
    """Every segment once an epoch, in an order that depends on the seed and the epoch only.

    So a run that is resumed sees what an unbroken one sees. The segments that do not fill the last
    batch are left out. Under ``torch.distributed`` each process takes its share: of every
    ``micro_batch * processes`` segments, the first process takes the first ``micro_batch``, and so
    on. The segments of a batch are therefore the same however it is divided.

    Args:
        segments: The data set, or anything as long.
        seed: Seed of the order.
        batch: Segments of a training step, of all processes together.
        micro_batch: Segments that a process takes at a time; ``batch`` is a multiple of that
            number times the number of processes.
    """

    def __init__(self, segments: Sized, seed: int, batch: int = 1, micro_batch: int = 1):
        self.segments, self.seed = segments, seed
        self.batch, self.micro_batch = batch, micro_batch
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this before each."""
        self.epoch = epoch

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return len(self.segments) // self.batch

    def __len__(self) -> int:
        return self.steps * self.batch // _world()[1]

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(len(self.segments), generator=seeded(self.seed, self.epoch)).tolist()
        rank, processes = _world()
        first, step = rank * self.micro_batch, processes * self.micro_batch
        for start in range(first, self.steps * self.batch, step):
            yield from order[start : start + self.micro_batch]


class WholeSongs(Dataset[tuple[int, Tensor]]):
    """Whole songs: an item is the song's number, and ``(source, channel, time)``, float32.

    Args:
        songs: Songs to read.
        normalize: As in :class:`Segments`.
        sources: Names of the sources to read.
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
    with ThreadPoolExecutor(cores()) as pool:
        levels = pool.map(lambda song: song.level(sources), songs)
        return list(tqdm(levels, "measuring levels", len(songs), leave=False, delay=1))


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
