"""Measure everything on this machine and write ``REPORT.md``, with the JSON behind it.

    python benchmarks/run.py                                   # all sections, saved one by one
    python benchmarks/run.py --device cuda --resume            # only those that are missing
    python benchmarks/run.py layers channels=24 seconds=5      # one measurement: prints its tables

Each device has its own file in ``results/``; the report shows the last figures of all of them. The
settings of a measurement are the arguments of ``run`` in the script of that name.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import inference
import layers
import loader
import measure
import report
import scoring
import separation
import steps
import torch
from omegaconf import OmegaConf
from tqdm import tqdm

from asteroid_upsamplers.files import write_json

HERE = Path(__file__).parent
KINDS = {
    "layers": layers.run,
    "training": steps.run,
    "inference": inference.run,
    "loader": loader.run,
    "separation": separation.run,
    "scoring": scoring.run,
}
Section = tuple[str, dict[str, Any]]
"""The kind of what is measured, and its settings."""

SIZE = {"channels": 2, "depth": 4, "rounds": 1}
TINY: list[Section] = [
    ("layers", {**SIZE, "seconds": 0.05, "batch": 1}),
    ("training", {**SIZE, "seconds": 0.05, "comparison": "upsamplers"}),
    ("inference", {**SIZE, "seconds": 0.05}),
    ("separation", {**SIZE, "seconds": 2, "long_seconds": 20, "chunk": 1.0, "long_channels": 2}),
    ("loader", {**SIZE, "seconds": 0.05, "songs": 2, "song_seconds": 1, "workers": []}),
]


def cpu_sections() -> list[Section]:
    """At sizes that two cores can do."""
    step, single = {"seconds": 10, "batch": 2}, {"dtype": "float32"}
    return [
        ("training", {"channels": 24, **step, "comparison": "upsamplers"}),
        ("training", {"channels": 48, **step, "comparison": "upsamplers", "rounds": 7}),
        ("training", {"channels": 24, **step, "comparison": "options"}),
        ("training", {"channels": 24, **step, "comparison": "other upsamplers"}),
        ("layers", {"channels": 24, "seconds": 5, "batch": 2, **single, "other_rounds": 0}),
        ("layers", {"channels": 64, "seconds": 10, "batch": 4, **single, "rounds": 3}),
        ("layers", {"channels": 100, "seconds": 10, "batch": 4, **single, "rounds": 2}),
        ("inference", {"channels": 24, "seconds": 10, "batch": 1}),
        ("separation", {"channels": 24, "seconds": 30, "long_seconds": 7200}),
        ("scoring", {}),
        ("loader", {"channels": 24, "songs": 100, "seconds": 10, "batch": 4}),
    ]


def gpu_sections() -> list[Section]:
    """At the paper's size; first what the rules of the package rest on."""
    paper = {"channels": 100, "seconds": 10, "batch": 32}
    half = {**paper, "dtype": "bfloat16"}
    return [
        ("layers", {**half, "other_rounds": 0}),
        ("training", {**half, "comparison": "eager"}),
        ("training", {**half, "comparison": "compiled"}),
        ("training", {**paper, "comparison": "eager", "dtype": "float32"}),
        ("layers", {**paper, "dtype": "float32", "other_rounds": 0}),
        ("training", {**half, "comparison": "options"}),
        ("training", {**half, "comparison": "other upsamplers"}),
        ("inference", {**paper, "batch": 1}),
        ("separation", {"channels": 100, "seconds": 30, "batches": [1, 16], "long_seconds": 7200}),
        ("loader", {**paper, "songs": 100, "workers": [2, 4, 8]}),
    ]


def label(kind: str, settings: dict[str, Any]) -> str:
    """The section's name in the file."""
    units = {"channels": "{} channels", "songs": "{} songs", "seconds": "{} s", "batch": "batch {}"}
    units |= {"comparison": "{}", "dtype": "{}"}
    if kind == "training" and settings.get("dtype") == "bfloat16":
        del units["dtype"]
    sizes = [words.format(settings[key]) for key, words in units.items() if key in settings]
    return ", ".join([kind, *sizes])


def measured(kind: str, device: torch.device, settings: dict[str, Any]) -> dict[str, Any]:
    """A section: its rows, and the machine."""
    rate = measure.matrix_rate(device, settings.get("dtype", "float32"))
    rows = KINDS[kind](device, **settings)
    machine = measure.machine(device)
    return {"kind": kind, "machine": machine, "gigamacs_per_s": rate, "rows": rows}


def main() -> None:
    """Measure, save after every section, render."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "only", nargs="*", metavar="KIND key=value", help=f"print one of {', '.join(KINDS)}"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--resume", action="store_true", help="keep the sections that are there")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--report", type=Path, default=HERE / "REPORT.md")
    args = parser.parse_intermixed_args()
    device = torch.device(args.device)
    if args.only:
        kind, *given = args.only
        settings = OmegaConf.to_container(OmegaConf.from_dotlist(given))
        print("\n\n".join(report.details(measured(kind, device, settings))))
        return
    path = args.results / f"{device.type}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    found = json.loads(path.read_text()) if args.resume and path.exists() else {"sections": {}}
    if args.quick:
        measure.MATRIX_SIZE["cpu"] = 64
    sections = TINY if args.quick else cpu_sections() if device.type == "cpu" else gpu_sections()
    for kind, settings in tqdm(sections, desc="sections"):
        name = label(kind, settings)
        if name not in found["sections"]:
            found["sections"][name] = measured(kind, device, settings)
            write_json(path, found, indent=1)
    args.report.write_text(report.render(report.read(args.results)))


if __name__ == "__main__":
    main()
