"""Is this version slower than an older one? Both are measured in one run, in turns.

    python benchmarks/compare.py /path/to/old/checkout

Each turn is a process of its own for either checkout, old, new, old, new and so on, that times
forward and backward passes of single layers and whole training steps with the scripts beside this
one. A ratio is new / old within a turn: below 1 the new one is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from report import table
from tqdm import tqdm

HERE = Path(__file__).resolve()
NAMES = ("transposed", "nearest", "linear", "subpixel")


def measured(channels: int, seconds: float, batch: int, rounds: int, depth: int) -> dict[str, Any]:
    """Milliseconds by what was measured, in this process."""
    import layers
    import measure
    import torch
    from steps import Candidate, Steps

    cpu, found = torch.device("cpu"), {}
    torch.manual_seed(0)
    for shape in layers.demucs_shapes(channels, seconds, batch, depth):
        size, x = (
            (shape.in_channels, shape.out_channels),
            torch.randn(batch, shape.in_channels, shape.time),
        )
        calls = {n: layers.forward_backward(layers.our_layer(n, *size), x) for n in NAMES}
        times = measure.interleaved(calls, rounds, cpu)
        found |= {f"{n}, {size[0]} to {size[1]} channels": times[n]["median"] for n in NAMES}
    steps = Steps(cpu, channels, depth, seconds, batch)
    calls = {n: steps.step(Candidate(n, dtype="float32", form="auto")) for n in NAMES}
    times = measure.interleaved(calls, rounds, cpu)
    return found | {f"training step with {n}": times[n]["median"] for n in NAMES}


def in_checkout(checkout: Path, settings: list[str]) -> dict[str, float]:
    """The same, by the package of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    words = [sys.executable, str(HERE), str(checkout), "--measure", *settings]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True, env=environment)
    return json.loads(done.stdout)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path, help="checkout to compare with")
    parser.add_argument("--new", type=Path, default=HERE.parents[1], help="default: this one")
    parser.add_argument("--turns", type=int, default=3, help="processes of each")
    sizes = {"channels": (int, 24), "seconds": (float, 5.0), "batch": (int, 2)}
    sizes |= {"rounds": (int, 5), "depth": (int, 6)}
    for name, (kind, value) in sizes.items():
        parser.add_argument(f"--{name}", type=kind, default=value)
    parser.add_argument("--measure", action="store_true", help="only this process, as JSON")
    args = vars(parser.parse_args())
    own = {name: args[name] for name in sizes}
    if args["measure"]:
        import asteroid_upsamplers

        imported = Path(asteroid_upsamplers.__file__).resolve()
        if args["old"].resolve() not in imported.parents:
            raise SystemExit(f"{imported} was imported, not the package of {args['old']}")
        print(json.dumps(measured(**own)))
        return
    settings = [word for name, value in own.items() for word in (f"--{name}", str(value))]
    turns = [
        [in_checkout(args[which].resolve(), settings) for which in ("old", "new")]
        for _ in tqdm(range(args["turns"]), desc="turns")
    ]
    body = []
    for name in turns[0][0]:
        old, new = (statistics.median(turn[n][name] for turn in turns) for n in (0, 1))
        ratios = sorted(turn[1][name] / turn[0][name] for turn in turns)
        middle = statistics.median(ratios)
        words = f"{middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        body.append([name, f"{old:.1f}", f"{new:.1f}", words])
    print(table(["", "old ms", "new ms", "new / old"], body))


if __name__ == "__main__":
    main()
