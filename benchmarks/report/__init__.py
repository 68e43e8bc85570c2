"""The figures of ``results/`` as Markdown; nothing here is typed by hand."""

from __future__ import annotations

from typing import Any

from . import layers, loader, scoring, separation, steps, training
from .tables import table

KINDS = {
    "layers": layers,
    "steps": steps,
    "training": training,
    "loader": loader,
    "separation": separation,
    "scoring": scoring,
}

INTRODUCTION = """
Written by `python benchmarks/run.py` (`make benchmarks`). Times are medians of a few rounds in
which all candidates took turns in one process, each timed at its second call; in brackets the least
and the largest. Ratios of layers compare medians of one run; those of whole steps are medians over
the rounds of the ratio within a round, with the quartiles in brackets. *Difference* is the largest
deviation from the layer that torch users write, as a share of its largest output
(`alias_free_torch` interpolates with another kernel). *Share* is the rate of a transposed
convolution's multiply-adds (8 a sample and channel pair, three times for forward and backward)
against the machine's own rate in a large matrix product, measured in the same run; the convolutions
of the interpolations have 9. In the sections on training it is the rate of all of a step's
multiply-adds, counted as the layers are written, against the rate in the candidate's own
precision. Memory is what torch's allocator held at most in forward and backward, beyond the input.
Numbers near zero are flushed to zero on the CPU, for all candidates.
""".strip()


def render(results: list[dict[str, Any]]) -> str:
    """The whole report, a chapter for every device."""
    parts = [
        "# What it costs: layers, training, reading, separating, scoring",
        INTRODUCTION,
    ]
    for result in results:
        parts += chapter(result)
    return "\n\n".join(parts) + "\n"


def chapter(result: dict[str, Any]) -> list[str]:
    """One kind of device: the figures that were to be reached, then all that was measured."""
    sections = result["sections"]
    devices = dict.fromkeys(section["machine"]["device"] for section in sections.values())
    in_short, details = [], []
    for kind, shown in KINDS.items():
        mine = {name: section for name, section in sections.items() if section["kind"] == kind}
        for name, section in mine.items():
            in_short += shown.in_short(section["rows"])
            details += [f"### {name[0].upper()}{name[1:]}", made(section), *shown.tables(section)]
    rows = [r for s in sections.values() if s["kind"] == "layers" for r in s["rows"]]
    short = table(["what", "asked", "measured"], in_short)
    rule = ["### The rule", layers.rule(rows)] if rows else []
    return [f"## {', '.join(devices)}", "### In short", short, *rule, *details]


def made(section: dict[str, Any]) -> str:
    """When, with what, and on how fast a machine."""
    machine = section["machine"]
    return (
        f"{machine['date']}, {machine['device']}, commit {machine['commit']}, torch "
        f"{machine['torch']}, Python {machine['python']}. Matrix product: "
        f"{section['gigamacs_per_s']} thousand million multiply-adds a second."
    )
