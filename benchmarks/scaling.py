"""What Table 1 takes on other machines: memory and time, computed from what was measured here.

    python benchmarks/scaling.py

Writes the figures of ``docs/scaling.md``. Nothing in them was run: multiply-adds and parameters are
counted on the networks, the share of a machine's matrix rate and the memory of an extract are those
of the benchmark's training section, and the machines are what their makers state.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from operations import forward_macs
from report.tables import Row, table
from report.training import per_extract, share
from training import PASSES

from asteroid_upsamplers.training.config import Config, build_model, load_config
from asteroid_upsamplers.training.forecast import BYTES_A_PARAMETER, saved_bytes

ROOT = Path(__file__).parents[1]
RESULTS, DOCUMENT = ROOT / "benchmarks" / "results", ROOT / "docs" / "scaling.md"
LOCAL = ROOT / "recipes" / "musdb18" / "DemucsUpsamplers" / "local"
BEGIN, END = "<!-- figures: python benchmarks/scaling.py -->", "<!-- end of figures -->"

SONGS, SONG_SECONDS = 86, 240
"""musdb's training songs without its 14 validation songs, and about how long one is."""

USABLE = 0.9
"""Of a device's memory: the rest is cuDNN's, NCCL's, and lost between tensors."""


@dataclass(frozen=True)
class Machine:
    """Devices that train together, as their makers state them.

    Args:
        name: In words.
        devices: How many.
        memory: Of each, in 10^9 bytes.
        rate: Dense matrix products of each in ``precision``, in 10^12 multiply-adds a second.
        link: What a device sends while gradients are summed, in 10^9 bytes a second.
        precision: ``training.precision``.
    """

    name: str
    devices: int
    memory: float
    rate: float
    link: float
    precision: str


UPSAMPLERS = {"transposed", "nearest", "linear", "subpixel"}
BYTES = {"float32": 4, "bfloat16": 2}

V100_FLOAT32, V100_HALF = 15.7, 125
"""Stated rates of a V100 in 10^12 operations a second, of which a multiply-add is two."""

MACHINES = [
    Machine("one H200", 1, 141, 989 / 2, float("inf"), "bf16-mixed"),
    Machine("four V100 (32 GB)", 4, 32, V100_HALF / 2, 150, "16-mixed"),
    Machine("a cluster: 2 machines of 4 H100 (80 GB)", 8, 80, 989 / 2, 50, "bf16-mixed"),
]

PAPER = {"transposed": 319, "nearest": 423, "linear": 430, "subpixel": 311}
PAPER |= {"transposed_modified": 326, "subpixel_modified": 315}
"""Rows of Table 1 (variants of the recipe), and its seconds an epoch on four V100s."""


@dataclass(frozen=True)
class Measured:
    """What the benchmark found."""

    shares: dict[str, float]
    """Of the matrix rate, by upsampler."""
    memory_factor: float
    """Memory of an extract, as a multiple of what its backward pass needs."""
    words: str


def measured(results: Path = RESULTS) -> Measured:
    """The figures of a GPU if there are any, else of a CPU."""
    path = min(results.glob("*.json"), key=lambda p: p.stem != "cuda")
    precision = "bfloat16" if path.stem == "cuda" else "float32"
    sections = json.loads(path.read_text())["sections"].values()
    for section in (s for s in sections if s["kind"] == "training"):
        rows = {
            row["upsampler"]: row
            for row in section["rows"]
            if row["variant"] == precision and row["encoder_context"] and "other_peak_mib" in row
        }
        if rows.keys() >= UPSAMPLERS:
            break
    else:
        raise SystemExit(f"{path}: no training section has all rows of Table 1; make benchmarks")
    baseline, machine = rows["transposed"], section["machine"]
    words = (
        f"{machine['device']}, {machine['date']}, commit {machine['commit']}: {precision}, "
        f"{baseline['channels']} channels, batch {baseline['batch']}"
    )
    compiled = {
        row["upsampler"]: row
        for row in section["rows"]
        if row["variant"] == f"{precision}, torch.compile"
        and row["encoder_context"]
        and not row["out_of_memory"]
    }
    shares = {
        name: max(share(way[name]) for way in (rows, compiled) if name in way)
        for name in sorted(UPSAMPLERS)
    }
    return Measured(shares, memory_factor(baseline), words)


def memory_factor(row: Row) -> float:
    """Measured memory of an extract against that which is counted for the backward pass."""
    conf = load_config(LOCAL / "conf.yml")
    conf["model"] |= {"channels": row["channels"], "depth": row["depth"]}
    counted = saved_bytes(conf, round(row["seconds"] * conf["data"]["sample_rate"])) / 2**20
    return per_extract(row) / (counted * BYTES[row["dtype"]] / BYTES["float32"])


@dataclass(frozen=True)
class Plan:
    """A row of Table 1 on a machine."""

    conf: Config
    parameters: int
    parts: int
    """``training.accumulate``."""
    gigabytes: float
    """Of each device."""
    step: float
    """Seconds of computing."""
    exchange: float
    """Seconds in which gradients are summed, if nothing is computed meanwhile."""


def plan(conf: Config, machine: Machine, found: Measured) -> Plan:
    """In as few parts as the memory allows."""
    samples = round(conf["data"]["segment"] * conf["data"]["sample_rate"])
    batch = conf["training"]["batch_size"]
    with torch.device("meta"):
        model = build_model(conf)
    parameters = sum(p.numel() for p in model.parameters())
    copies = 2  # of the weights, in the half precision of the products
    state = parameters * (sum(BYTES_A_PARAMETER.values()) + copies) / 1e9
    extract = found.memory_factor * saved_bytes(conf, samples) / 1e9
    extract *= BYTES["bfloat16"] / BYTES["float32"]  # as large as float16
    share_of_batch = batch // machine.devices
    allowed = [
        n
        for n in range(1, share_of_batch + 1)
        if share_of_batch % (n * conf["augmentation"]["remix_group"]) == 0
    ]
    fitting = [
        n for n in allowed if state + extract * share_of_batch / n <= USABLE * machine.memory
    ]
    parts = min(fitting, default=allowed[-1])
    upsampler = conf["model"]["upsampler"]
    macs = PASSES * forward_macs(
        upsampler, conf["model"]["channels"], conf["model"]["depth"], samples
    )
    rate = machine.rate * 1e12 * found.shares[upsampler]
    exchange = 2 * (machine.devices - 1) / machine.devices * 4 * parameters / machine.link / 1e9
    return Plan(
        conf,
        parameters,
        parts,
        state + extract * share_of_batch / parts,
        share_of_batch * macs / rate,
        exchange,
    )


def steps_an_epoch(conf: Config) -> int:
    """Of songs that are all as long."""
    data, shift = conf["data"], conf["augmentation"]["shift"]
    extracts = SONGS * (int((SONG_SECONDS - data["segment"] - shift) / data["segment_stride"]) + 1)
    return extracts // conf["training"]["batch_size"]


def render(found: Measured) -> str:
    """All figures, as Markdown."""
    confs = {
        name: load_config(LOCAL / "conf.yml", [LOCAL / "variants" / f"{name}.yml"])
        for name in PAPER
    }
    conf = confs["transposed"]
    steps, batch = steps_an_epoch(conf), conf["training"]["batch_size"]
    samples = round(conf["data"]["segment"] * conf["data"]["sample_rate"])
    macs = PASSES * forward_macs("transposed", conf["model"]["channels"], 6, samples)
    implied = 2 * macs * batch * steps / PAPER["transposed"] / 4 / 1e12
    shares = ", ".join(f"{name} {100 * value:.0f} %" for name, value in found.shares.items())
    parts = [
        "Everything in this section is **computed**, nothing of it was run. Measured were the "
        f"share of the machine's own matrix rate that a step reaches ({shares}) and the memory of "
        f"an extract ({found.memory_factor:.2f} times what its backward pass needs), on "
        f"{found.words}. The machines' rates and memories are their makers'; a real device gives "
        "large products less than that rate.",
        f"A step of {batch} extracts of {conf['data']['segment']:g} s takes "
        f"{2 * batch * macs / 1e12:.1f} TFLOP with transposed convolutions "
        f"({2 * macs / PASSES / 1e9:.0f} GFLOP forward an extract). An epoch of {SONGS} songs of "
        f"{SONG_SECONDS} s has {steps} steps. If the paper's epoch is this one, its "
        f"{PAPER['transposed']} s on four V100s were {implied:.1f} TFLOP/s a device: "
        f"{100 * implied / V100_FLOAT32:.0f} % of a V100's stated float32 rate, "
        f"{100 * implied / V100_HALF:.0f} % of that of its half-precision units.",
    ]
    for machine in MACHINES:
        plans = {name: plan(one, machine, found) for name, one in confs.items()}
        parts += [f"### {machine.name[0].upper()}{machine.name[1:]}, {machine.precision}"]
        parts += [table(HEAD, rows_of(plans, steps, conf["training"]["epochs"]))]
    return "\n\n".join(parts)


HEAD = ["variant", "parameters", "GB a device", "`accumulate`", "step, s", "exchange, s"]
HEAD += ["epoch, s", "600 epochs, days", "paper: epoch, s (four V100)"]


def rows_of(plans: dict[str, Plan], steps: int, epochs: int) -> Iterable[list[str]]:
    """A row of Table 1 each; an epoch exchanges gradients while nothing is computed, at worst."""
    for name, one in plans.items():
        epoch = steps * (one.step + one.exchange)
        yield [
            f"`{name}`",
            f"{one.parameters / 1e6:.0f} M",
            f"{one.gigabytes:.0f}",
            str(one.parts),
            f"{one.step:.2f}",
            f"{one.exchange:.2f}",
            f"{epoch:.0f}",
            f"{epochs * epoch / 86400:.1f}",
            str(PAPER[name]),
        ]


def between_marks(document: str) -> tuple[str, str, str]:
    """What stands before, between and behind the marks."""
    before, rest = document.split(BEGIN)
    figures, behind = rest.split(END)
    return before + BEGIN, figures, END + behind


def main() -> None:
    """Write the figures between the marks of the document."""
    before, _, behind = between_marks(DOCUMENT.read_text())
    DOCUMENT.write_text(f"{before}\n\n{render(measured())}\n\n{behind}")


if __name__ == "__main__":
    main()
