"""How fast whole songs are separated, from file to files, and in how much memory.

    python benchmarks/separation.py

Ours is ``separate_files``; beside it stands ``apply_model`` of the ``demucs`` package with its own
network of the same size and weights, chunks, overlap and threads; it is given the samples of the
file at once, and what it returns is written to files of the same format. Where they differ:

- the package weights chunks by triangles and divides by the sum of the weights; over what two
  chunks share, that is our linear cross-fade to a hundred-thousandth;
- it fills a chunk up to what fits the network's levels by the song around it, ours by zeros, so
  that estimates differ near the ends of chunks, where they are faded out;
- it goes on with a shorter chunk where less of the song is left than the overlap;
- with shifts it delays the whole song, ours each chunk by itself.

The memory is that of a process of its own that separates hours of noise by a small network.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measure
import numpy as np
import soundfile
import torch
from demucs.apply import apply_model
from demucs.demucs import Demucs
from steps import SAMPLE_RATE, SOURCES, reference
from torch import nn

from asteroid_upsamplers.models import DemucsLike, load_demucs_checkpoint
from asteroid_upsamplers.separation import separate_files

OVERLAP = 0.25
BLOCK = 30 * SAMPLE_RATE


def run(
    device: torch.device,
    channels: int,
    seconds: float,
    batches: list[int],
    rounds: int,
    long_seconds: float,
    chunk: float = 10.0,
    depth: int = 6,
    long_channels: int = 4,
) -> list[dict[str, Any]]:
    """Rows of two kinds: ``pace`` and ``memory``.

    Args:
        device: That separates.
        channels: Of the networks whose pace is measured.
        seconds: Length of their song.
        batches: Chunks that go through ours at once.
        rounds: Of the pace.
        long_seconds: Length of the file whose memory is measured; a tenth of it is measured too.
        chunk: Length in s of a chunk.
        depth: Of all networks.
        long_channels: Of the network that separates the long file.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = {"channels": channels, "depth": depth, "seconds": seconds, "chunk": chunk}
        rows = paces(device, folder, sizes, batches, rounds)
        for length in (long_seconds / 10, long_seconds):
            rows.append(memory(device, folder, length, chunk, depth, long_channels))
    return rows


def paces(
    device: torch.device, folder: Path, sizes: dict[str, Any], batches: list[int], rounds: int
) -> list[dict[str, Any]]:
    """One row for every candidate, and how far its estimates are from the package's."""
    song = folder / "song.wav"
    write_noise(song, sizes["seconds"])
    ours, theirs = twins(device, folder, sizes["channels"], sizes["depth"])
    settings: dict[str, dict[str, Any]] = {}
    for shifts, more in ((0, ""), (1, ", 1 shift")):
        for batch in batches:
            one = {"package": False, "batch": batch, "shifts": shifts}
            settings[f"ours, batch {batch}{more}"] = one
        settings[f"demucs.apply{more}"] = {"package": True, "batch": 1, "shifts": shifts}

    def candidate(words: str) -> Callable[[], Any]:
        one, target = settings[words], folder / words
        if one["package"]:
            return lambda: separate_by_package(theirs, song, target, sizes["chunk"], one["shifts"])
        return lambda: separate_files(
            ours, [song], target, True, sizes["chunk"], OVERLAP, False, one["shifts"], one["batch"]
        )

    candidates = {words: candidate(words) for words in settings}
    times = measure.interleaved(candidates, rounds, device, f"{sizes['channels']} channels, song")
    package = estimates(folder / "demucs.apply")
    steady = package.mean(1, keepdim=True)  # most of what untrained networks give
    rows = []
    for words, one in settings.items():
        row = {"kind": "pace", "candidate": words, **sizes, **one}
        row |= {"overlap": OVERLAP, "threads": torch.get_num_threads()}
        row["separation_ms"] = measure.plain(times[words])
        row["real_time_factor"] = times[words].median / 1e3 / sizes["seconds"]
        if not one["shifts"]:
            row["difference"] = measure.relative_difference(
                estimates(folder / words) - steady, package - steady
            )
        rows.append(row)
    return rows


def twins(
    device: torch.device, folder: Path, channels: int, depth: int
) -> tuple[DemucsLike, Demucs]:
    """Ours and the package's network, with the same random weights."""
    torch.manual_seed(0)
    theirs = reference(channels, depth).eval()
    path = folder / "weights.th"
    torch.save(theirs.state_dict(), path)
    ours = load_demucs_checkpoint(path, resample=False)
    path.unlink()
    return ours.to(device), theirs.to(device)


def separate_by_package(
    network: nn.Module, song: Path, folder: Path, chunk: float, shifts: int
) -> None:
    """From a file to files, with as little as can be around ``apply_model``."""
    random.seed(0)  # of the shifts
    device = next(network.parameters()).device
    samples, rate = soundfile.read(song, dtype="float32", always_2d=True)
    mixture = torch.from_numpy(samples.T.copy())[None]
    found = apply_model(
        network, mixture, shifts, split=True, overlap=OVERLAP, segment=chunk, device=device
    )
    folder.mkdir(exist_ok=True)
    for source, estimate in zip(SOURCES, found[0], strict=True):
        path = folder / f"{song.stem}_{source}.wav"
        soundfile.write(path, estimate.T.numpy(), rate, subtype="FLOAT")


def estimates(folder: Path) -> torch.Tensor:
    """What was written there: ``(source, time, channel)``."""
    paths = [folder / f"song_{source}.wav" for source in SOURCES]
    return torch.stack([torch.from_numpy(soundfile.read(path)[0]) for path in paths])


def memory(
    device: torch.device, folder: Path, seconds: float, chunk: float, depth: int, channels: int
) -> dict[str, Any]:
    """What a process that separates a long file needs, and how fast it is."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        here = Path(name)
        model = DemucsLike(SOURCES, channels=channels, depth=depth, normalize=True)
        torch.save(model.serialize(), here / "model.pth")
        write_noise(here / "long.wav", seconds)
        script = str(Path(__file__).with_name("long_file.py"))
        words = [sys.executable, script, *(str(here / n) for n in ("model.pth", "long.wav", "out"))]
        words += ["--device", str(device), "--chunk", str(chunk)]
        found = json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)
        written = sum(path.stat().st_size for path in (here / "out").iterdir()) / 1e9
    row = {"kind": "memory", "channels": channels, "depth": depth, "seconds": seconds}
    row |= {"chunk": chunk, "written_gb": round(written, 3), **found}
    return {**row, "real_time_factor": found["taken_s"] / seconds}


def write_noise(path: Path, seconds: float) -> None:
    """Seeded stereo noise in 16 bits, block by block."""
    rng = np.random.default_rng(0)
    frames = round(seconds * SAMPLE_RATE)
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 2, "PCM_16") as file:
        for start in range(0, frames, BLOCK):
            shape = (min(BLOCK, frames - start), 2)
            file.write(rng.integers(-8000, 8000, shape, dtype=np.int16))


def main() -> None:
    """Print the rows of one size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--channels", type=int, default=24)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--chunk", type=float, default=10)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--long_seconds", type=float, default=600)
    parser.add_argument("--long_channels", type=int, default=4)
    settings = vars(parser.parse_args())
    for row in run(torch.device(settings.pop("device")), **settings):
        print(", ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
