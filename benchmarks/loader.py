"""How many random segments a second come from full-length songs, and how many training takes.

Songs of seeded noise are written as wav files; the recipe's own data module then reads them, with
several numbers of worker processes, from the disk (``cold``) and from memory (``warm``).

    python benchmarks/run.py loader songs=6 channels=24
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import measure
import numpy as np
import soundfile
import torch
from layers import SAMPLE_RATE
from steps import SOURCES, Candidate, Steps
from torch.utils.data import DataLoader
from tqdm import tqdm

from asteroid_upsamplers.data import Augment, seeded
from asteroid_upsamplers.training import SongSegments, load_config

RECIPE = Path(__file__).parents[1] / "recipes" / "musdb18" / "DemucsUpsamplers"


def run(
    device: torch.device,
    songs: int = 6,
    song_seconds: float = 240,
    seconds: float = 10,
    batch: int = 4,
    workers: Sequence[int] = (0, 1, 2),
    batches: int = 50,
    channels: int = 24,
    depth: int = 6,
    rounds: int = 3,
) -> list[dict[str, Any]]:
    """Rows of reading, of a training step, and of augmentation.

    Args:
        device: That trains.
        songs: To write, of four stereo stems at 44.1 kHz.
        song_seconds: Length of each.
        seconds: Of a segment; a tenth more is read, for the shift of the augmentation.
        batch: Segments.
        workers: Numbers of processes that read; what the recipe chooses is measured as well.
        batches: To time.
        channels: Of the ``DemucsLike`` whose step is measured.
        depth: Of that.
        rounds: Of the step and of augmentation.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_songs(Path(folder) / "train", songs, song_seconds)
        conf = load_config(RECIPE / "local" / "conf.yml")
        conf["data"] |= {"musdb18_dir": folder, "wav_dir": str(Path(folder) / "wav")}
        conf["data"] |= {"segment": seconds, "segment_stride": seconds / 100}
        conf["augmentation"]["shift"] = seconds / 10
        conf["model"]["normalize"] = False  # levels are read before training
        conf["training"]["batch_size"] = batch
        rows = []
        for cache, count in [("cold", None), ("warm", None), *(("warm", n) for n in workers)]:
            if cache == "cold":
                drop_from_page_cache(Path(folder))
            row = {"songs": songs, "song_seconds": song_seconds, "cache": cache}
            rows.append({**row, "chosen": count is None, **loading(conf, count, batches)})
    return rows + training_rows(device, channels, depth, seconds, batch, rounds)


def write_songs(folder: Path, songs: int, seconds: float) -> None:
    """Seeded noise: reading takes as long whatever the samples are."""
    for index in tqdm(range(songs), desc="writing songs", leave=False):
        rng = np.random.default_rng(index)
        song = folder / f"song {index:03d}"
        song.mkdir(parents=True)
        for source in SOURCES:
            noise = rng.integers(-8000, 8000, (round(seconds * SAMPLE_RATE), 2), dtype=np.int16)
            soundfile.write(song / f"{source}.wav", noise, SAMPLE_RATE, subtype="PCM_16")


def loading(conf: dict[str, Any], workers: int | None, batches: int) -> dict[str, Any]:
    """Segments a second once the workers' queues are full; ``None``: as the recipe chooses."""
    conf = {**conf, "data": {**conf["data"], "num_workers": workers}}
    loader = SongSegments(conf).train_dataloader()
    stream = _endless(loader)
    for _ in range(1 + loader.num_workers * (loader.prefetch_factor or 0)):
        next(stream)
    begin = time.perf_counter()
    for _ in tqdm(range(batches), desc="batches", leave=False):
        next(stream)
    rate = batches * loader.batch_size / (time.perf_counter() - begin)
    sizes = {"batch": loader.batch_size, "segment_seconds": conf["data"]["segment"]}
    return {"workers": loader.num_workers, **sizes, "segments_per_s": round(rate, 2)}


def _endless(loader: DataLoader) -> Iterator[torch.Tensor]:
    while True:
        yield from loader


def drop_from_page_cache(root: Path) -> None:
    """Have what is read next come from the disk, where the system can be asked for that."""
    for path in root.rglob("*.wav"):
        if hasattr(os, "posix_fadvise"):
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def training_rows(
    device: torch.device, channels: int, depth: int, seconds: float, batch: int, rounds: int
) -> list[dict[str, Any]]:
    """What a step takes, and what augmenting its batch does."""
    steps = Steps(device, channels, depth, seconds, batch)
    one = Candidate(dtype="float32" if device.type == "cpu" else "bfloat16", form="auto")
    shift = round(seconds / 10 * SAMPLE_RATE)
    augment = Augment(shift)
    sources = torch.randn(batch, len(SOURCES), 2, steps.time + shift, device=device)
    turns = {"step": steps.step(one), "augmentation": lambda: augment(sources, seeded(0, 0))}
    times = measure.interleaved(turns, rounds, device, "augmentation")
    row = {**steps.size, "variant": one.variant, "step_ms": times["step"]}
    row["augment_ms"] = times["augmentation"]
    row["segments_per_s"] = round(batch / times["step"]["median"] * 1e3, 3)
    return [row]
