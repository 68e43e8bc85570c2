"""The songs of a configuration: segments to train on, whole songs to validate on."""

from __future__ import annotations

import logging
import math
import shutil
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, DistributedSampler

from ..data import (
    Segments,
    SegmentSampler,
    WholeSongs,
    cores,
    songs_at_rate,
    split_validation,
)
from ..errors import UsageError
from .schema import Config

logger = logging.getLogger(__name__)

SHARED_MEMORY = Path("/dev/shm")
MOST_WORKERS = 8
"""Processes that read for one GPU: beyond this, host-to-device copies are the bottleneck."""


def samples(conf: Config, section: str, key: str) -> int:
    """A duration of the configuration in samples."""
    return round(conf[section][key] * conf["data"]["sample_rate"])


class SongSegments(pl.LightningDataModule):
    """Segments of the training songs, and the validation songs.

    ``training.batch_size`` is the batch of a step, which all processes share; each takes its share
    in ``training.accumulate`` micro-batches, of whole groups of the remix augmentation.

    Args:
        conf: A checked configuration.
        context: Samples that the network needs before and after a segment.
        processes: How many train together.

    Raises:
        UsageError: If the songs cannot be used or are too few, or the batch cannot be shared so.
    """

    def __init__(self, conf: Config, context: tuple[int, int] = (0, 0), processes: int = 1):
        super().__init__()
        data, training = conf["data"], conf["training"]
        batch_size, group = training["batch_size"], conf["augmentation"]["remix_group"]
        shares = processes * training["accumulate"]
        if batch_size % (shares * group):
            raise UsageError(
                f"training.batch_size is {batch_size}: must be a multiple of {shares * group}, as "
                f"{processes} process(es) (training.devices, num_nodes) share it in "
                f"{training['accumulate']} micro-batch(es) (training.accumulate) of whole groups "
                f"of {group} (augmentation.remix_group)"
            )
        self.micro_batch = batch_size // shares
        rate, normalize, sources = data["sample_rate"], conf["model"]["normalize"], data["sources"]
        folders = Path(data["musdb18_dir"]), Path(data["wav_dir"])
        songs = songs_at_rate(
            *folders, "train", rate, sources=sources, skip_bad_songs=data["skip_bad_songs"]
        )
        train_songs, valid_songs = split_validation(songs)
        frames = samples(conf, "data", "segment") + samples(conf, "augmentation", "shift")
        hop = max(1, samples(conf, "data", "segment_stride"))
        self.segments = Segments(train_songs, frames, hop, normalize, sources, context)
        valid_songs.sort(key=lambda song: -song.frames)  # so that all processes end together
        self.valid_songs = WholeSongs(valid_songs, normalize, sources)
        self.sampler = SegmentSampler(self.segments, training["seed"], batch_size, self.micro_batch)
        if not self.sampler.steps:
            raise UsageError(
                f"training.batch_size is {batch_size}, but there are {len(self.segments)} segments "
                f"of {frames / rate:g} s in {len(train_songs)} songs: lower it, data.segment or "
                "data.segment_stride"
            )
        self.workers = data["num_workers"]
        if self.workers is None:
            devices = min(torch.cuda.device_count(), processes)
            numbers = self.micro_batch * len(sources) * 2 * (frames + sum(context))
            self.workers = fitting_workers(numbers * torch.float32.itemsize, devices)

    def train_dataloader(self) -> DataLoader:
        """Micro-batches ``(batch, source, channel, time)`` of the epoch that is to be trained."""
        if self.trainer is not None:  # Lightning tells the sampler after worker processes began
            progress: Any = self.trainer.fit_loop.epoch_progress.current
            self.sampler.set_epoch(progress.processed)
        return DataLoader(
            self.segments,
            batch_size=self.micro_batch,
            sampler=self.sampler,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
            drop_last=True,
        )

    def val_dataloader(self) -> DataLoader:
        """Numbers of songs, and their sources ``(source, channel, time)``."""
        together = torch.distributed.is_available() and torch.distributed.is_initialized()
        sampler: Any = DistributedSampler(self.valid_songs, shuffle=False) if together else None
        return DataLoader(self.valid_songs, batch_size=None, sampler=sampler)


def fitting_workers(batch_bytes: int, devices: int) -> int:
    """Processes that read segments for one GPU, as cores and shared memory allow; 0 without one.

    Args:
        batch_bytes: Of a micro-batch. Those of all workers, two each, lie in shared memory, and
            shall take at most half of it.
        devices: GPUs of this machine that train.
    """
    if not devices:
        return 0
    room = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.exists() else math.inf
    fitting = room / 2 / devices / (2 * batch_bytes)
    if fitting < 1:
        logger.warning("%s has no room for batches: the training process reads", SHARED_MEMORY)
        return 0
    return int(max(1, min(cores() // devices - 1, MOST_WORKERS, fitting)))
