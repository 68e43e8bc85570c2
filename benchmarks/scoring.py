"""How well BSS Eval uses the cores when songs are scored in parallel.

Songs of seeded noise are scored by one worker process and by one for every core, each with one
BLAS thread. That the workers start is part of both times.

    python benchmarks/run.py scoring songs=8 least_seconds=15 most_seconds=40
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from layers import SAMPLE_RATE
from steps import SOURCES
from tqdm import tqdm

from asteroid_upsamplers.data import cores
from asteroid_upsamplers.evaluation import ScoringJob, score_songs

LOUDEST = 8000
"""Of the references, in steps of 16 bits."""


def run(
    device: torch.device,
    songs: int = 8,
    least_seconds: float = 15,
    most_seconds: float = 40,
    rounds: int = 1,
) -> list[dict[str, Any]]:
    """One row.

    Args:
        device: As every benchmark has it; BSS Eval runs on the CPU.
        songs: To score, of four stereo stems at 44.1 kHz.
        least_seconds: Length of the shortest.
        most_seconds: Length of the longest; those between are at equal steps.
        rounds: How often all of them are scored, by one worker and then by all.
    """
    lengths = [round(float(s), 2) for s in np.linspace(least_seconds, most_seconds, songs)]
    row: dict[str, Any] = {"songs": songs, "seconds": lengths, "cores": cores()}
    row |= {"serial_s": [], "parallel_s": []}
    with tempfile.TemporaryDirectory() as folder:
        jobs = [write_song(Path(folder) / str(n), n, length) for n, length in enumerate(lengths)]
        for _ in tqdm(range(rounds), desc="scoring", leave=False):
            for key, workers in (("serial_s", 1), ("parallel_s", row["cores"])):
                begin = time.perf_counter()
                score_songs(jobs, workers=workers, progress=False, force=True)
                row[key].append(round(time.perf_counter() - begin, 3))
    return [row]


def write_song(folder: Path, number: int, seconds: float) -> ScoringJob:
    """Noise; estimates are it and other noise: scoring takes as long whatever the samples are."""
    shape, half = (round(seconds * SAMPLE_RATE), 2), LOUDEST // 2
    rng = np.random.default_rng(number)
    for source in SOURCES:
        reference = rng.integers(-LOUDEST, LOUDEST + 1, shape, dtype=np.int16)
        estimate = reference + rng.integers(-half, half + 1, shape, dtype=np.int16)
        for kind, samples in (("true", reference), ("estimated", estimate)):
            path = folder / kind / f"{source}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16")
    names = folder / "true", folder / "estimated"
    return ScoringJob(folder.name, *names, SOURCES, folder / "scores.json")
