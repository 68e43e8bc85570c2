"""How fast random extracts come from full-length songs, beside how fast training takes them.

    python benchmarks/loader.py

Songs of seeded noise are written as wav files; the training engine's own loader then reads them,
with several numbers of worker processes.
"""

from __future__ import annotations

import argparse
import copy
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import measure
import numpy as np
import soundfile
import torch
from candidates import BASELINE, Size, Steps
from operations import forward_macs
from steps import SAMPLE_RATE
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm
from training import PASSES, matrix_precision

from asteroid_upsamplers.data import SOURCES, Augment, seeded
from asteroid_upsamplers.training import SongSegments, load_config, samples
from asteroid_upsamplers.training.schema import Config

RECIPE = Path(__file__).parents[1] / "recipes" / "musdb18" / "DemucsUpsamplers"
PAPER = Size(channels=100, depth=6, seconds=10, batch=32)


def run(
    device: torch.device,
    songs: int,
    song_seconds: float,
    channels: int,
    seconds: float,
    batch: int,
    workers: list[int],
    batches: int,
    rounds: int,
    depth: int = 6,
    dtype: torch.dtype = torch.float32,
) -> list[dict[str, Any]]:
    """Rows of three kinds: ``load``, ``step`` and ``augment``.

    Args:
        device: That trains.
        songs: To write, of four stereo stems at 44.1 kHz.
        song_seconds: Length of each.
        channels: Of the network whose step is measured.
        seconds: Of its extracts; the loader's are longer by the shift of the augmentation.
        batch: Extracts.
        workers: Numbers of processes that read; what the engine chooses is measured as well.
        batches: To time.
        rounds: Of the step.
        depth: Of the network.
        dtype: Of the step: float32.
    """
    with tempfile.TemporaryDirectory() as folder, matrix_precision("high"):
        root = Path(folder)
        write_songs(root / "songs" / "train", songs, song_seconds)
        size = Size(channels, depth, seconds, batch)
        conf = configuration(root, seconds, batch)
        rows = []
        for cold in (True, False):
            chosen = loading(conf, None, batches, root if cold else None)
            rows.append({**chosen, "chosen": True})
        for count in workers:
            row = loading(conf, count, batches, None)
            rows.append({**row, "chosen": count == chosen["workers"]})
        for row in rows:
            row |= {"songs": songs, "song_seconds": song_seconds}
        return rows + training_rows(device, size, rounds, dtype, conf)


def write_songs(folder: Path, songs: int, seconds: float) -> None:
    """Seeded noise: a loader reads and copies, whatever the samples are."""
    frames = round(seconds * SAMPLE_RATE)
    for index in tqdm(range(songs), desc="writing songs", leave=False):
        rng = np.random.default_rng(index)
        song = folder / f"song {index:03d}"
        song.mkdir(parents=True)
        for source in SOURCES:
            noise = rng.integers(-8000, 8000, (frames, 2), dtype=np.int16)
            soundfile.write(song / f"{source}.wav", noise, SAMPLE_RATE, subtype="PCM_16")


def configuration(root: Path, seconds: float, batch: int) -> Config:
    """The recipe's own, with these songs; the shift is a tenth of an extract, as there."""
    conf = copy.deepcopy(load_config(RECIPE / "local" / "conf.yml"))
    conf["data"] |= {"musdb18_dir": str(root / "songs"), "wav_dir": str(root / "wav")}
    conf["data"] |= {"segment": seconds, "segment_stride": seconds / 100}
    conf["augmentation"]["shift"] = seconds / 10
    conf["model"]["normalize"] = False  # levels are read before training
    conf["training"]["batch_size"] = batch
    return conf


def loading(
    conf: Config,
    workers: int | None,
    batches: int,
    cold: Path | None,
) -> dict[str, Any]:
    """Extracts a second, once the workers' queues are full.

    Args:
        conf: As :func:`configuration` gives it.
        workers: Processes that read; ``None``: as the engine chooses.
        batches: To time.
        cold: Folder whose files are first dropped from the page cache; ``None``: none.
    """
    data = {**conf["data"], "num_workers": workers}
    loader = SongSegments({**conf, "data": data}).train_dataloader()
    if cold is not None:
        drop_from_page_cache(cold)
    stream = _endless(loader)
    waiting = loader.num_workers * (loader.prefetch_factor or 0) + 1
    for _ in range(waiting):
        next(stream)
    begin = time.perf_counter()
    for _ in tqdm(range(batches), desc="batches", leave=False):
        next(stream)
    taken = time.perf_counter() - begin
    return {
        "kind": "load",
        "workers": loader.num_workers,
        "cache": "warm" if cold is None else "cold",
        "extract_seconds": conf["data"]["segment"] + conf["augmentation"]["shift"],
        "batch": conf["training"]["batch_size"],
        "batches": batches,
        "extracts_per_s": round(batches * conf["training"]["batch_size"] / taken, 2),
    }


def _endless(loader: DataLoader) -> Iterator[torch.Tensor]:
    while True:
        yield from loader


def drop_from_page_cache(root: Path) -> None:
    """Have what is read next come from the disk, where the system can be asked for that."""
    for path in root.rglob("*"):
        if path.is_file() and hasattr(os, "posix_fadvise"):
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def training_rows(
    device: torch.device, size: Size, rounds: int, dtype: torch.dtype, conf: Config
) -> list[dict[str, Any]]:
    """What a step takes, measured and (at the paper's size) computed; and what augmenting adds."""
    rate = measure.matrix_rate(device, dtype)
    step = Steps(size, device).of(BASELINE, size.batch)
    group = conf["augmentation"]["remix_group"]
    shift = samples(conf, "augmentation", "shift")
    augment = Augment(shift, remix_group=group)
    sources = torch.randn(size.batch, len(SOURCES), 2, size.time + shift, device=device)
    turns = {"step": step, "augment": lambda: augmented(augment, sources, group)}
    times = measure.interleaved(turns, rounds, device, "augmentation")
    own = {key: measure.plain(value) for key, value in times.items()}
    rows = [{"kind": "step", "computed": False, **vars(size), "step_ms": own["step"]}]
    rows[0]["extracts_per_s"] = round(size.batch / own["step"]["median"] * 1e3, 4)
    macs = PASSES * forward_macs("transposed", PAPER.channels, PAPER.depth, PAPER.time) / 1e9
    paper: dict[str, Any] = {"kind": "step", "computed": True, **vars(PAPER)}
    paper |= {"extract_gigamacs": macs, "gigamacs_per_s": round(rate, 1)}
    paper["extracts_per_s"] = round(rate / macs, 4)
    return [*rows, paper, {"kind": "augment", **vars(size), "augment_ms": own["augment"]}]


def augmented(augment: nn.Module, sources: torch.Tensor, group: int) -> torch.Tensor:
    """Group by group, as the training engine does."""
    groups = enumerate(sources.split(group))
    return torch.cat([augment(some, seeded(0, index)) for index, some in groups])


def main() -> None:
    """Print the rows of one size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--songs", type=int, default=6)
    parser.add_argument("--song_seconds", type=float, default=240)
    parser.add_argument("--channels", type=int, default=24)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--batches", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    settings = vars(parser.parse_args())
    for row in run(torch.device(settings.pop("device")), **settings):
        print(", ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
