"""From a configuration to batches of segments, and to whole songs to validate on."""

from __future__ import annotations

import logging
import math
import shutil
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from ..data import (
    SOURCES,
    Segments,
    SegmentSampler,
    SharedSongs,
    WholeSongs,
    cores,
    songs_at_rate,
    split_validation,
)
from ..errors import UsageError
from .config import Config
from .processes import Processes

logger = logging.getLogger(__name__)

MOST_WORKERS = 8
"""Processes that read for one device: by then the copying to it is slower than they are."""

PREFETCH = 2
"""Batches that each of them has ready."""

SHARED_MEMORY = Path("/dev/shm")


def samples(conf: Config, section: str, key: str) -> int:
    """A duration of the configuration in samples."""
    return round(conf[section][key] * conf["data"]["sample_rate"])


def part_of_batch(conf: Config, processes: Processes) -> int:
    """Segments that a device takes at a time: whole groups among which sources are exchanged.

    Raises:
        UsageError: If the devices and parts do not divide the batch so.
    """
    training, group = conf["training"], conf["augmentation"]["remix_group"]
    parts = processes.world * training["accumulate"]
    if training["batch_size"] % (parts * group):
        raise UsageError(
            f"training.batch_size is {training['batch_size']}, allowed are multiples of "
            f"{parts * group}: {processes.world} device(s) share a batch, each in "
            f"{training['accumulate']} part(s) (training.accumulate), of whole groups of {group} "
            "(augmentation.remix_group)"
        )
    return training["batch_size"] // parts


def make_loaders(
    conf: Config, processes: Processes, context: tuple[int, int] = (0, 0)
) -> tuple[DataLoader, DataLoader]:
    """The loaders of one process: of segments to train on, and of songs to validate on.

    Args:
        conf: A checked configuration.
        processes: Those that share a batch.
        context: Samples that the network needs before and after a segment.

    Raises:
        UsageError: If the songs cannot be used, or are too few.
    """
    data, training = conf["data"], conf["training"]
    rate, normalize = data["sample_rate"], conf["model"]["normalize"]
    folders = Path(data["musdb18_dir"]), Path(data["wav_dir"])
    train, valid = split_validation(songs_at_rate(*folders, "train", rate))
    frames = samples(conf, "data", "segment") + samples(conf, "augmentation", "shift")
    part = part_of_batch(conf, processes)
    hop = samples(conf, "data", "segment_stride")
    segments = Segments(train, frames, hop, normalize, context=context)
    sampler = SegmentSampler(segments, training["seed"], training["batch_size"], part)
    if not sampler.steps:
        raise UsageError(
            f"training.batch_size is {training['batch_size']}, but there are "
            f"{len(segments)} segments of {frames / rate:g} s in {len(train)} songs: lower "
            "it, data.segment or data.segment_stride"
        )
    workers = data["num_workers"]
    if workers is None:
        channels, item = 2, torch.float32.itemsize
        size = part * len(SOURCES) * channels * (frames + sum(context)) * item
        workers = fitting_workers(size, processes)
    train_loader = DataLoader(
        segments,
        batch_size=part,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=PREFETCH if workers else None,
        pin_memory=processes.accelerator == "gpu",
        drop_last=True,
    )
    # Devices that share the weights meet in every call of the network: all have the same chunks.
    shared = None if training["strategy"] == "fsdp" else SharedSongs(valid)
    songs = WholeSongs(valid, normalize)
    return train_loader, DataLoader(songs, batch_size=None, sampler=shared)


def fitting_workers(batch_bytes: int, processes: Processes) -> int:
    """Processes that read for one device: none beside a CPU that trains, else as the machine has.

    Args:
        batch_bytes: Of what a device takes at a time. The batches of all workers lie in shared
            memory, of which they shall take half at most.
        processes: Those that share the machine.
    """
    if processes.accelerator == "cpu":
        return 0
    share = cores() // processes.devices
    room = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.exists() else math.inf
    fitting = room / 2 / processes.devices / (PREFETCH * batch_bytes)
    if fitting < 1:
        logger.warning("%s has no room for batches: read by the process that trains", SHARED_MEMORY)
        return 0
    return int(max(1, min(share - 1, MOST_WORKERS, fitting)))
