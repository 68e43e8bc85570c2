"""The benchmarks run, at sizes where their figures mean nothing."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from asteroid_upsamplers import layers

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks")
    command = [sys.executable, BENCHMARKS / "run.py", "--quick", "--device", "cpu"]
    command += ["--results", folder / "results", "--report", folder / "REPORT.md"]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    sections = json.loads((folder / "results" / "cpu.json").read_text())["sections"]
    return command, sections, (folder / "REPORT.md").read_text()


@pytest.mark.slow
def test_every_layer_is_measured_and_equal_to_its_oracle(written):
    rows = [row for s in written[1].values() if s["kind"] == "layers" for row in s["rows"]]
    assert {row["layer"] for row in rows} == set(layers.available())
    compared = [row for row in rows if "alias_free_torch" not in row["variant"]]
    assert max(row["difference"] for row in compared if "difference" in row) < 1e-5
    assert all(row[times]["least"] > 0 for row in rows for times in ("forward_ms", "step_ms"))
    gradients = [row["parameters_mib"] for row in rows]
    assert all(row["peak_mib"] >= held for row, held in zip(rows, gradients, strict=True))
    assert {row["level"] for row in rows} == set(range(1, 7))


@pytest.mark.slow
def test_the_report_says_what_was_asked_and_measured(written):
    _, sections, report = written
    steps = [row for s in sections.values() if s["kind"] == "steps" for row in s["rows"]]
    torchs = next(r for r in steps if r["variant"] == "nn.ConvTranspose1d")["step_ms"]["rounds"]
    nearest = next(r for r in steps if (r["upsampler"], r["variant"]) == ("nearest", "auto"))
    ratio = nearest["step_ms"]["rounds"][0] / torchs[0]  # of a single round
    assert re.search(rf"step with nearest .*\\| <= 1.00 \\| {ratio:.3f} \\|", report)
    assert "took the fastest in" in report
    assert "nn.Upsample + nn.Conv1d" in report


@pytest.mark.slow
def test_every_kind_of_section_is_measured_and_shown(written):
    _, sections, report = written
    kinds = [section["kind"] for section in sections.values()]
    assert kinds == ["layers", "steps", "training", "loader", "separation", "scoring"]
    for name in sections:
        assert f"### {name[0].upper()}{name[1:]}" in report
    for asked in ("demucs package", "extracts loaded", "separating 2 s", "scoring 2 songs"):
        assert asked in report.split("### The rule")[0]


@pytest.mark.slow
def test_a_run_that_was_interrupted_goes_on(written):
    command, sections, _ = written
    results = Path(command[command.index("--results") + 1]) / "cpu.json"
    found = json.loads(results.read_text())
    gone = next(name for name in found["sections"] if name.startswith("steps"))
    kept = {name: section for name, section in found["sections"].items() if name != gone}
    results.write_text(json.dumps({**found, "sections": kept}))
    subprocess.run([*command, "--resume"], check=True, capture_output=True, timeout=600)
    again = json.loads(results.read_text())["sections"]
    assert again.keys() == sections.keys()
    assert all(again[name] == sections[name] for name in kept)
