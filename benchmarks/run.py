"""Measure everything on this machine and write ``REPORT.md``, with the JSON behind it.

    python benchmarks/run.py

Each device has its own file in ``results/``; the report shows the last figures of all of them. A
run that was interrupted goes on with ``--resume``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import layers
import measure
import report
import steps
import torch
from tqdm import tqdm

from asteroid_upsamplers.layers import available

HERE = Path(__file__).parent
PAPER = ["nearest", "linear", "transposed"]


def sections(device: str, quick: bool) -> list[tuple[str, dict[str, Any]]]:
    """What is measured: the kind, and its settings."""
    one = {"dtype": torch.float32, "seconds": 0.05, "batch": 1, "rounds": 1}
    half = {"dtype": torch.float32, "seconds": 5, "batch": 2, "rounds": 3}
    full = {"dtype": torch.float32, "seconds": 10, "batch": 4}
    step = {"dtype": torch.float32, "seconds": 10, "batch": 2, "rounds": 7}
    if quick:
        return [
            ("layers", {"channels": 4, "other_rounds": 1, **one}),
            ("steps", {"channels": 4, "names": PAPER, **one}),
        ]
    if device == "cpu":
        return [
            ("steps", {"channels": 24, "names": available(), **step, "rounds": 5}),
            ("steps", {"channels": 48, "names": PAPER, "two_steps": False, **step}),
            ("steps", {"channels": 64, "names": PAPER, "two_steps": False, **step}),
            ("layers", {"channels": 64, "rounds": 3, "other_rounds": 1, **full}),
            ("layers", {"channels": 24, "other_rounds": 0, **half}),
            ("layers", {"channels": 100, "rounds": 2, "other_rounds": 1, **full}),
        ]
    rows: list[tuple[str, dict[str, Any]]] = []
    for dtype in (torch.float32, torch.bfloat16):
        full = {"dtype": dtype, "seconds": 10, "batch": 32, "rounds": 10}
        rows += [("layers", {"channels": c, "other_rounds": 10, **full}) for c in (64, 100)]
        rows += [("steps", {"channels": c, "names": PAPER, **full}) for c in (64, 100)]
    return rows


def label(kind: str, settings: dict[str, Any]) -> str:
    """The section's name in the file."""
    dtype = str(settings["dtype"]).removeprefix("torch.")
    return (
        f"{kind}, {settings['channels']} channels, {settings['seconds']} s, "
        f"batch {settings['batch']}, {dtype}"
    )


def main() -> None:
    """Measure, save after every section, render."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--resume", action="store_true", help="keep the sections that are there")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--report", type=Path, default=HERE / "REPORT.md")
    args = parser.parse_args()
    device = torch.device(args.device)
    path = args.results / f"{device.type}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    found = json.loads(path.read_text()) if args.resume and path.exists() else {"sections": {}}
    measures = {"layers": layers.run, "steps": steps.run}
    for kind, settings in tqdm(sections(device.type, args.quick), desc="sections"):
        name = label(kind, settings)
        if name not in found["sections"]:
            rate = measure.matrix_rate(device, settings["dtype"])
            rows = measures[kind](device, **settings)
            found["sections"][name] = {
                "kind": kind,
                "machine": measure.machine(device),
                "gigamacs_per_s": round(rate, 1),
                "rows": rows,
            }
            path.write_text(json.dumps(found, indent=1) + "\n")
    everything = [json.loads(file.read_text()) for file in sorted(args.results.glob("*.json"))]
    args.report.write_text(report.render(everything))


if __name__ == "__main__":
    main()
