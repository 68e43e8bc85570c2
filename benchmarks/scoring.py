"""BSS Eval of four stereo stems: ours, museval's, and what other packages compute of it.

Every scorer has a process of its own, which makes the song (seeded noise; estimates are it, a
little of another source, and other noise), takes the time of one call, and looks how much memory
the process had at most, beyond what it had with the song before. Two packages are measured where
they are installed, and do not score the same windows: ``mir_eval`` knows no filters for the whole
song, so its images version scores it as one window; ``fast_bss_eval`` scores one channel as one
window, by BSS Eval's older definition.

    python benchmarks/run.py scoring lengths=[20,60,240]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from asteroid_upsamplers.data import cores

RATE = 44100
METRICS = ("SDR", "ISR", "SIR", "SAR")
LONGEST = {"mir_eval": 20, "fast_bss_eval": 60}
"""Seconds of song beyond which another package is left out."""


def run(
    device: torch.device, lengths: list[float] = (20, 60, 240), taps: int = 512
) -> list[dict[str, Any]]:
    """One row for each scorer and length.

    Args:
        device: Of our own third row, beside one core and all cores, if it is a GPU.
        lengths: Seconds of song.
        taps: Length of the filters.
    """
    found = {"ours": [1, cores()], "ours, SDR only": [1], "museval": [1, cores()]}
    found |= {name: [1] for name in LONGEST if importlib.util.find_spec(name)}
    if device.type == "cuda":
        found["ours, GPU"] = [cores()]
    todo = [
        (scorer, threads, seconds)
        for seconds in lengths
        for scorer, counts in found.items()
        for threads in dict.fromkeys(counts)
        if seconds <= LONGEST.get(scorer, seconds)
    ]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for scorer, threads, seconds in tqdm(todo, desc="scoring", leave=False):
            path = Path(folder) / f"{scorer} {threads} {seconds}.npy"
            row = in_process(scorer, threads, seconds, taps, path)
            own, theirs = path, Path(folder) / f"museval 1 {seconds}.npy"
            rows.append({"scorer": scorer, "threads": threads, "seconds": seconds, **row})
            rows[-1]["path"] = own, theirs
        for row in rows:
            row |= {"difference_db": difference(*row.pop("path"))}
    return rows


def in_process(scorer: str, threads: int, seconds: float, taps: int, path: Path) -> dict[str, Any]:
    """Wall and CPU seconds; MiB at most, beyond the song, and of the song."""
    variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    command = [sys.executable, "-W", "ignore", __file__, scorer, str(threads), str(seconds)]
    done = subprocess.run(
        [*command, str(taps), str(path)],
        env=os.environ | dict.fromkeys(variables, str(threads)),
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def difference(own: Path, theirs: Path) -> dict[str, float]:
    """The largest of each metric against museval's, in dB, if both scored the same windows."""
    mine, others = np.load(own), np.load(theirs)
    if mine.shape != others.shape:
        return {}
    gaps = np.abs(mine - others).reshape(len(METRICS), -1).max(axis=1)
    return {m: float(gap) for m, gap in zip(METRICS, gaps, strict=True) if not np.isnan(gap)}


def song(seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """References and estimates, ``(4, time, 2)``."""
    rng = np.random.default_rng(0)
    references, estimates = (rng.standard_normal((4, round(seconds * RATE), 2)) for _ in range(2))
    references *= 0.1
    estimates *= 0.02
    for number, estimate in enumerate(estimates):
        estimate += references[number]
        estimate += 0.1 * references[number - 1]
    return references, estimates


def scorer_of(name: str, threads: int, taps: int) -> Callable[..., Any]:
    """A function of references and estimates; gives four metrics, or what it has of them."""
    if name.startswith("ours"):
        from asteroid_upsamplers.evaluation.bss_eval import bss_eval

        device = "cuda" if name.endswith("GPU") else "cpu"
        more = {"sdr_only": name.endswith("only"), "threads": threads, "device": device}
        return lambda r, e: bss_eval(r, e, RATE, RATE, taps, **more)[:4]
    if name == "museval":
        from asteroid_upsamplers.evaluation._museval import load_museval

        bss = load_museval().metrics.bss_eval
        return lambda r, e: bss(r, e, RATE, RATE, filters_len=taps)[:4]
    if name == "mir_eval":
        from mir_eval.separation import bss_eval_images

        return lambda r, e: bss_eval_images(r, e, compute_permutation=False)[:4]
    import fast_bss_eval

    def left_channel(*pair: np.ndarray) -> Any:  # by torch: of NumPy it wants version 1
        tensors = [torch.from_numpy(signals[..., 0].copy()) for signals in pair]
        how = {"filter_length": taps, "compute_permutation": False}
        return fast_bss_eval.bss_eval_sources(*tensors, **how)[:3]

    return left_channel


def main() -> None:
    """What a process of :func:`in_process` does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("scorer")
    parser.add_argument("threads", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("taps", type=int)
    parser.add_argument("path", type=Path)
    args = parser.parse_args()
    scorer_of(args.scorer, args.threads, 8)(*song(1))  # imports, and first calls of libraries
    score = scorer_of(args.scorer, args.threads, args.taps)
    references, estimates = song(args.seconds)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    before = pages * resource.getpagesize() / 2**20
    wall, cpu = time.perf_counter(), time.process_time()
    found = score(references, estimates)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    np.save(args.path, np.array([np.asarray(values) for values in found]))
    row = {"wall_s": round(wall, 2), "cpu_s": round(cpu, 2), "peak_mib": round(most - before)}
    print(json.dumps(row | {"song_mib": round(2 * references.nbytes / 2**20)}))


if __name__ == "__main__":
    main()
