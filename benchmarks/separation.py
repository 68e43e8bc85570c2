"""How fast whole songs are separated, from file to files, and in how much memory.

Ours is ``separate_files``; beside it stands ``apply_model`` of the ``demucs`` package with its own
network of the same size and weights, chunks, overlap and threads; it is given the samples of the
file at once, and what it returns is written to files of the same format. Both cross-fade chunks;
they differ in what surrounds a chunk (the song there, zeros here), where it is faded out.

The memory is that of a process of its own that separates hours of noise by a small network.

    python benchmarks/run.py separation seconds=60 long_seconds=600
"""

from __future__ import annotations

import functools
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import measure
import numpy as np
import soundfile
import torch
from layers import SAMPLE_RATE
from steps import SOURCES, reference
from torch import nn

from asteroid_upsamplers.models import DemucsLike, load_demucs_checkpoint
from asteroid_upsamplers.separation import load_on_device, separate_files

OVERLAP = 0.25
BLOCK = 30 * SAMPLE_RATE


def run(
    device: torch.device,
    channels: int = 24,
    seconds: float = 60,
    batches: Sequence[int] = (1, 4),
    rounds: int = 3,
    long_seconds: float = 600,
    chunk: float = 10.0,
    depth: int = 6,
    long_channels: int = 4,
) -> list[dict[str, Any]]:
    """Rows with the times of a song, and with the memory that a long file needs.

    Args:
        device: That separates.
        channels: Of the networks whose speed is measured.
        seconds: Length of their song.
        batches: Chunks that go through our network at once.
        rounds: Of each candidate.
        long_seconds: Length of the file whose memory is measured; a tenth of it is measured too.
        chunk: Length in s of a chunk.
        depth: Of all networks.
        long_channels: Of the network that separates the long file.
    """
    sizes = {"channels": channels, "depth": depth, "seconds": seconds, "chunk": chunk}
    with tempfile.TemporaryDirectory() as name:
        rows = speed(device, Path(name), sizes, batches, rounds)
        network = DemucsLike(SOURCES, channels=long_channels, depth=depth, normalize=True)
        torch.save(network.serialize(), Path(name) / "model.pth")
        context = multiprocessing.get_context("spawn")  # its memory is nobody else's
        with ProcessPoolExecutor(1, context) as pool:
            for length in (long_seconds / 10, long_seconds):
                found = pool.submit(memory, Path(name), str(device), length, chunk).result()
                rows.append({"channels": long_channels, "depth": depth, "chunk": chunk, **found})
    return rows


def speed(
    device: torch.device, folder: Path, sizes: dict[str, Any], batches: Sequence[int], rounds: int
) -> list[dict[str, Any]]:
    """One row for every candidate, and how far its estimates are from the package's."""
    song, chunk = folder / "song.wav", sizes["chunk"]
    write_noise(song, sizes["seconds"])
    ours, theirs = twins(device, folder, sizes["channels"], sizes["depth"])
    settings, calls = {}, {}
    for shifts, more in ((0, ""), (1, ", 1 shift")):
        for batch in batches:
            name = f"ours, batch {batch}{more}"
            settings[name] = {"package": False, "batch": batch, "shifts": shifts}
            options = {"chunk": chunk, "overlap": OVERLAP, "shifts": shifts, "batch": batch}
            options |= {"force_overwrite": True, "progress": False}
            calls[name] = functools.partial(separate_files, ours, [song], folder / name, **options)
        name = f"demucs.apply{more}"
        settings[name] = {"package": True, "batch": 1, "shifts": shifts}
        calls[name] = functools.partial(
            separate_by_package, theirs, song, folder / name, chunk, shifts
        )
    times = measure.interleaved(calls, rounds, device, f"{sizes['channels']} channels, song")
    package = estimates(folder / "demucs.apply")
    steady = package.mean(1, keepdim=True)  # most of what untrained networks give
    rows = []
    for name, one in settings.items():
        row = {"candidate": name, **sizes, **one, "overlap": OVERLAP}
        row |= {"threads": torch.get_num_threads(), "separation_ms": times[name]}
        row["real_time_factor"] = times[name]["median"] / 1e3 / sizes["seconds"]
        if not one["shifts"]:
            found = estimates(folder / name) - steady
            row["difference"] = measure.relative_difference(found, package - steady)
        rows.append(row)
    return rows


def twins(
    device: torch.device, folder: Path, channels: int, depth: int
) -> tuple[nn.Module, nn.Module]:
    """Our network and the package's, with the same random weights."""
    torch.manual_seed(0)
    theirs = reference(channels, depth).eval()
    torch.save(theirs.state_dict(), folder / "weights.th")
    ours = load_demucs_checkpoint(folder / "weights.th", resample=False)
    return ours.to(device), theirs.to(device)


def separate_by_package(
    network: nn.Module, song: Path, folder: Path, chunk: float, shifts: int
) -> None:
    """From a file to files, with as little as can be around ``apply_model``."""
    from demucs.apply import apply_model

    samples, rate = soundfile.read(song, dtype="float32", always_2d=True)
    settings = {"shifts": shifts, "split": True, "overlap": OVERLAP, "segment": chunk}
    device = next(network.parameters()).device
    found = apply_model(
        network, torch.from_numpy(samples.T.copy())[None], device=device, **settings
    )
    folder.mkdir(exist_ok=True)
    for source, estimate in zip(SOURCES, found[0], strict=True):
        path = folder / f"{song.stem}_{source}.wav"
        soundfile.write(path, estimate.T.numpy(), rate, subtype="FLOAT")


def estimates(folder: Path) -> torch.Tensor:
    """What was written there: ``(source, time, channel)``."""
    paths = [folder / f"song_{source}.wav" for source in SOURCES]
    return torch.stack([torch.from_numpy(soundfile.read(path)[0]) for path in paths])


def memory(folder: Path, device: str, seconds: float, chunk: float) -> dict[str, Any]:
    """The most memory that this process had, after a long file, and its real-time factor."""
    torch.set_flush_denormal(True)
    model = load_on_device(folder / "model.pth", device)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        write_noise(Path(name) / "long.wav", seconds)
        begin = time.perf_counter()
        written = separate_files(model, [Path(name) / "long.wav"], chunk=chunk, progress=False)
        factor = (time.perf_counter() - begin) / seconds
        size = sum(path.stat().st_size for path in written) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    status = Path("/proc/self/status")  # there getrusage counts the process that started this one
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        peak = int(lines["VmHWM"].split()[0]) * 1024 / 1e9
    row = {"seconds": seconds, "peak_gb": round(peak, 3), "written_gb": round(size, 3)}
    return {**row, "real_time_factor": factor}


def write_noise(path: Path, seconds: float) -> None:
    """Seeded stereo noise in 16 bits, block by block."""
    rng = np.random.default_rng(0)
    frames = round(seconds * SAMPLE_RATE)
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 2, "PCM_16") as file:
        for start in range(0, frames, BLOCK):
            shape = (min(BLOCK, frames - start), 2)
            file.write(rng.integers(-8000, 8000, shape, dtype=np.int16))
