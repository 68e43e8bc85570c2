"""Measure everything on this machine and write ``REPORT.md``, with the JSON behind it.

    python benchmarks/run.py

Each device has its own file in ``results/``; the report shows the last figures of all of them. A
run that was interrupted goes on with ``--resume``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import layers
import loader
import measure
import report
import scoring
import separation
import steps
import torch
import training
from candidates import OPTIONS
from tqdm import tqdm

from asteroid_upsamplers.layers import available

HERE = Path(__file__).parent
PAPER = ["nearest", "linear", "transposed"]
MEASURES: dict[str, Callable[..., list[dict[str, Any]]]] = {
    "layers": layers.run,
    "steps": steps.run,
    "training": training.run,
    "loader": loader.run,
    "separation": separation.run,
    "scoring": scoring.run,
}
Section = tuple[str, dict[str, Any]]
"""The kind of what is measured, and its settings; ``of`` only tells sections apart."""


def sections(device: str, quick: bool) -> list[Section]:
    """What is measured on a device."""
    if quick:
        return tiny_sections()
    return cpu_sections() if device == "cpu" else gpu_sections()


def tiny_sections() -> list[Section]:
    """At sizes where the figures mean nothing."""
    network = {"channels": 4, "seconds": 0.05, "batch": 1, "rounds": 1}
    one = {"dtype": torch.float32, **network}
    options = ["checkpoint", "accumulate"]
    loading = {"songs": 2, "song_seconds": 1, "workers": [0], "batches": 2, "depth": 2}
    files = {"channels": 2, "depth": 2, "seconds": 2, "batches": [1, 2], "rounds": 1}
    songs = {"songs": 2, "least_seconds": 1, "most_seconds": 2}
    return [
        ("layers", {"other_rounds": 1, **one}),
        ("steps", {"names": PAPER, **one}),
        (
            "training",
            {"names": ["nearest"], "options": options, "ways": [[]], "depth": 2, **network},
        ),
        ("loader", {**network, "batch": 4, **loading}),
        ("separation", {**files, "chunk": 1.0, "long_seconds": 20, "long_channels": 2}),
        ("scoring", songs),
    ]


def cpu_sections() -> list[Section]:
    """At sizes that two cores can do."""
    half = {"dtype": torch.float32, "seconds": 5, "batch": 2, "rounds": 3}
    full = {"dtype": torch.float32, "seconds": 10, "batch": 4}
    step = {"dtype": torch.float32, "seconds": 10, "batch": 2, "rounds": 7}
    engine = {"seconds": 10, "batch": 2, "ways": [[]]}
    return [
        ("steps", {"channels": 24, "names": available(), **step, "rounds": 5}),
        ("steps", {"channels": 48, "names": PAPER, "two_steps": False, **step}),
        ("steps", {"channels": 64, "names": PAPER, "two_steps": False, **step}),
        ("layers", {"channels": 64, "rounds": 3, "other_rounds": 1, **full}),
        ("layers", {"channels": 24, "other_rounds": 0, **half}),
        ("layers", {"channels": 100, "rounds": 2, "other_rounds": 1, **full}),
        ("training", engine | {"channels": 24, "rounds": 5} | every_upsampler()),
        ("loader", full_songs() | {"channels": 24, "batch": 4, "workers": [0, 1, 2]}),
        ("separation", long_songs() | {"channels": 24, "batches": [1, 4], "rounds": 3}),
        ("scoring", {"songs": 8, "least_seconds": 15, "most_seconds": 40, "rounds": 2}),
    ]


def gpu_sections() -> list[Section]:
    """At the paper's size, what is asked for most first."""
    engine: dict[str, Any] = {"channels": 100, "seconds": 10, "batch": 32, "rounds": 5}
    ways = [["bfloat16"], ["bfloat16", "compile"]]
    large = measure.memory_gigabytes(torch.device("cuda")) > 100
    table_1 = {"names": [*PAPER, "subpixel"], "options": [], "together": 3 if large else 1}
    options: dict[str, Any] = {"names": [], "options": list(OPTIONS), "package": False}
    others = {"names": [name for name in available() if name not in table_1["names"]]}
    rows: list[Section] = [
        ("training", engine | table_1 | {"ways": ways}),
        ("training", engine | options | {"ways": [], "of": "options"}),
        ("loader", full_songs() | {"channels": 100, "batch": 32, "workers": [2, 4, 8]}),
        ("separation", long_songs() | {"channels": 100, "batches": [1, 4, 16], "rounds": 5}),
        (
            "training",
            engine | table_1 | others | {"ways": ways, "package": False, "of": "other layers"},
        ),
        ("training", engine | table_1 | {"batch": 16, "ways": ways}),
    ]
    for dtype in (torch.float32, torch.bfloat16):
        full = {"dtype": dtype, "seconds": 10, "batch": 32, "rounds": 10}
        rows += [("layers", {"channels": c, "other_rounds": 10, **full}) for c in (64, 100)]
        rows += [("steps", {"channels": c, "names": PAPER, **full}) for c in (64, 100)]
    return rows


def every_upsampler() -> dict[str, Any]:
    """Whole steps with each, and with each option of the engine."""
    return {"names": available(), "options": list(OPTIONS)}


def full_songs() -> dict[str, Any]:
    """As many songs as MUSDB18 has to train on, as long as those are."""
    return {"songs": 100, "song_seconds": 240, "seconds": 10, "batches": 50, "rounds": 3}


def long_songs() -> dict[str, Any]:
    """Half a minute for the pace, two hours for the memory."""
    return {"seconds": 30, "long_seconds": 7200}


UNITS = {"channels": "{} channels", "songs": "{} songs", "seconds": "{} s", "batch": "batch {}"}
UNITS |= {"of": "{}"}


def label(kind: str, settings: dict[str, Any]) -> str:
    """The section's name in the file."""
    sizes = [words.format(settings[key]) for key, words in UNITS.items() if key in settings]
    dtype = [str(settings["dtype"]).removeprefix("torch.")] if "dtype" in settings else []
    return ", ".join([kind, *sizes, *dtype])


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
    for kind, settings in tqdm(sections(device.type, args.quick), desc="sections"):
        name = label(kind, settings)
        if name not in found["sections"]:
            rate = measure.matrix_rate(device, settings.get("dtype", torch.float32))
            rows = MEASURES[kind](device, **{k: v for k, v in settings.items() if k != "of"})
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
