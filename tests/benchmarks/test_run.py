"""The benchmarks run, at sizes where their figures mean nothing, and the report shows them all.

Nothing here multiplies bfloat16 matrices: on some CPUs that takes minutes.
"""

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from asteroid_upsamplers import layers

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def scripts(monkeypatch):
    """Imports a script as Python finds it beside ``run.py``; what that sets is put back."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module
    torch.set_flush_denormal(False)
    for name in set(sys.modules) - before:
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_a_quick_run_measures_and_shows_every_section(tmp_path):
    command = [sys.executable, BENCHMARKS / "run.py", "--quick", "--device", "cpu"]
    command += ["--results", tmp_path, "--report", tmp_path / "REPORT.md"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    sections = json.loads((tmp_path / "cpu.json").read_text())["sections"]
    report = (tmp_path / "REPORT.md").read_text()
    assert all(f"### {name[0].upper()}{name[1:]}\n" in report for name in sections)
    rows = {section["kind"]: section["rows"] for section in sections.values()}
    assert [*rows] == ["layers", "training", "inference", "separation", "loader"]
    assert {row["layer"] for row in rows["layers"]} == set(layers.available())
    assert {row["variant"] for row in rows["layers"]} > {"auto", "plain", "folded", "commuted"}
    compared = [row for kind in ("layers", "inference") for row in rows[kind]]
    assert max(row.get("difference", 0) for row in compared) < 1e-5
    assert max(row.get("difference", 0) for row in rows["separation"]) < 1e-2
    step = next(row for row in rows["training"] if row["upsampler"] == "nearest")
    assert f"| nearest: {step['variant']} | {step['step_ms']['median']:.1f} (" in report


def test_the_report_shows_the_results_that_are_kept_here(scripts):
    report = scripts("report")
    found = report.render(report.read(BENCHMARKS / "results"))
    assert found == (BENCHMARKS / "REPORT.md").read_text(), "run: python benchmarks/report.py"


def test_a_gpu_is_asked_for_the_figures_that_are_kept_here(scripts):
    """Section names are unique and settings fit; ``--resume`` finds what was measured before."""
    run, steps = scripts("run"), scripts("steps")
    for sections in (run.cpu_sections(), run.gpu_sections()):
        assert len({run.label(*section) for section in sections}) == len(sections)
        for kind, settings in sections:
            inspect.signature(run.KINDS[kind]).bind("cpu", **settings)
    kept = json.loads((BENCHMARKS / "results" / "cuda.json").read_text())["sections"]
    assert kept.keys() <= {run.label(*section) for section in run.gpu_sections()}
    groups = steps.comparisons("bfloat16")["compiled"]
    rows = kept["training, 100 channels, 10 s, batch 32, compiled"]["rows"]
    asked = [(group, one.upsampler, one.variant) for group in groups for one in groups[group]]
    assert asked == [(row["group"], row["upsampler"], row["variant"]) for row in rows]


@pytest.mark.parametrize(
    ("upsampler", "taps", "time"), [("transposed", 8, 124), ("linear", 4 * 9, 125)]
)
def test_multiply_adds_are_those_of_the_network_written_out(scripts, upsampler, taps, time):
    """One block of 4 channels on 500 samples, ``time`` of them inside, as [3] describes it."""
    encoder = time * (8 * 2 * 4 + 3 * 4 * 8)
    lstm = time * (2 * 4 * 4 * (4 + 4) + 2 * 4 * 4 * (8 + 4) + 8 * 4)
    decoder = time * (3 * 4 * 8 + taps * 4 * 8)
    found = scripts("steps").forward_macs(upsampler, 1, channels=4, depth=1, time=500)
    assert found == encoder + lstm + decoder


@pytest.mark.slow
def test_scoring_is_measured():
    command = [sys.executable, BENCHMARKS / "run.py", "scoring", "--device", "cpu"]
    command += ["lengths=[1.5]", "taps=8"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    assert "| 1.5 s | ours | 1 |" in done.stdout
