"""How well museval uses the cores when songs are scored in parallel.

    python benchmarks/scoring.py

Songs of seeded noise are scored by ``score_song``, one after the other in one process with one BLAS
thread, and by ``score_songs`` with a worker a core. That these start is part of the parallel time;
what it costs is seen beside it, by a silent song for each, which museval has nothing to do with.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from asteroid_upsamplers.data import SOURCES, cores
from asteroid_upsamplers.evaluation import ScoringJob, score_song, score_songs
from asteroid_upsamplers.evaluation.scoring import load_museval

SAMPLE_RATE = 44100
LOUDEST = 8000
"""Of the references, in steps of 16 bits."""


def run(
    device: torch.device, songs: int, least_seconds: float, most_seconds: float, rounds: int = 1
) -> list[dict[str, Any]]:
    """One row.

    Args:
        device: As every benchmark has it; museval computes on the CPU.
        songs: To score, of four stereo stems at 44.1 kHz.
        least_seconds: Length of the shortest.
        most_seconds: Length of the longest; those between are at equal steps.
        rounds: How often all of them are scored, one after the other and then in parallel.
    """
    lengths = [round(float(s), 2) for s in np.linspace(least_seconds, most_seconds, songs)]
    workers = cores()
    serial, parallel = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_songs(folder / "songs", lengths)
        write_songs(folder / "silence", [1.0] * min(workers, songs), loudest=0)
        start = taken_by(folder / "silence", workers)
        for _ in tqdm(range(rounds), desc="scoring", leave=False):
            serial.append(taken_by(folder / "songs", 0))
            parallel.append(taken_by(folder / "songs", workers))
    row = {"songs": songs, "seconds": lengths, "cores": workers, "start_s": start}
    return [{**row, "serial_s": serial, "parallel_s": parallel}]


def write_songs(folder: Path, lengths: list[float], loudest: int = LOUDEST) -> None:
    """Seeded noise; estimates are it and other noise: museval takes its time whatever they are."""
    half = loudest // 2
    for index, seconds in enumerate(tqdm(lengths, desc="writing songs", leave=False)):
        shape = (round(seconds * SAMPLE_RATE), 2)
        for number, source in enumerate(SOURCES):
            rng = np.random.default_rng([index, number])
            reference = rng.integers(-loudest, loudest + 1, shape, dtype=np.int16)
            estimate = reference + rng.integers(-half, half + 1, shape, dtype=np.int16)
            for kind, samples in (("true", reference), ("estimated", estimate)):
                path = folder / f"{index:03d}" / kind / f"{source}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16")


def taken_by(folder: Path, workers: int) -> float:
    """Seconds that :func:`score` takes in a process of its own, which is set up as workers are."""
    words = [sys.executable, __file__, "--score", str(folder), "--workers", str(workers)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return round(float(done.stdout), 3)


def score(folder: Path, workers: int) -> float:
    """Score all songs of a folder; without workers one after the other.

    Returns:
        Seconds, without the imports of this process.
    """
    jobs = [
        ScoringJob(song.name, song / "true", song / "estimated", SOURCES, song / "scores.json")
        for song in sorted(folder.iterdir())
    ]
    logging.getLogger("asteroid_upsamplers").setLevel(logging.ERROR)  # of silence it warns
    load_museval()
    begin = time.perf_counter()
    if workers:
        score_songs(jobs, workers=workers, force=True)
    else:
        with threadpool_limits(1):
            for job in tqdm(jobs, desc="one after the other", unit="song", leave=False):
                score_song(job.references, job.estimates, SOURCES)
    return time.perf_counter() - begin


def main() -> None:
    """Print the row of one size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--songs", type=int, default=8)
    parser.add_argument("--least_seconds", type=float, default=15)
    parser.add_argument("--most_seconds", type=float, default=40)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--score", type=Path, help="only print the seconds that this folder takes")
    parser.add_argument("--workers", type=int, default=0, help="for that; 0: none")
    settings = vars(parser.parse_args())
    folder, workers = settings.pop("score"), settings.pop("workers")
    if folder is not None:
        print(score(folder, workers))
        return
    for row in run(torch.device("cpu"), **settings):
        print(", ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
