"""Separate one file, and say how much memory the process had at most.

    python benchmarks/long_file.py best_model.pth song.wav folder

``separation.py`` runs this as a process of its own, whose memory is nobody else's.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import torch

from asteroid_upsamplers.separation import load_on_device, separate_files


def peak_gigabytes() -> float:
    """The most memory that this process had, in 10^9 bytes, where the system can tell.

    On Linux by the process's own status: ``getrusage`` there counts what the process had before it
    became this program, which is all the memory of the one that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024 / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def main() -> None:
    """Print the peak, and the seconds that the separation took, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("song", type=Path)
    parser.add_argument("folder", type=Path, help="where the sources go")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--chunk", type=float, default=10.0)
    parser.add_argument("--batch", type=int, default=1)
    args = parser.parse_args()
    torch.set_flush_denormal(True)  # as measure.py does
    model = load_on_device(args.model, args.device)
    begin = time.perf_counter()
    separate_files(model, [args.song], args.folder, chunk=args.chunk, batch=args.batch)
    taken = time.perf_counter() - begin
    print(json.dumps({"peak_gb": round(peak_gigabytes(), 3), "taken_s": round(taken, 2)}))


if __name__ == "__main__":
    main()
