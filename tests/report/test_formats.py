"""Quoted rows, LaTeX, JSON, and the published systems as the README of their scores has them."""

import json
import logging
import os
import re
from pathlib import Path

import pandas as pd
import pytest

from asteroid_upsamplers.data import SOURCES
from asteroid_upsamplers.report import collect, write_report
from asteroid_upsamplers.report.formats import escape_latex

from .score_files import (
    pairs_of,
    songs,
    write_system,
)


def test_quoted_rows_are_all_of_table_1_and_marked(tmp_path):
    folder = write_system(tmp_path / "a|b_1", songs(1, 2))
    results = collect([folder], quoted=True)
    quoted = results[results["quoted"]]
    assert len(quoted) == 10 and all(name.endswith(" (quoted)") for name in quoted.index)
    assert quoted["SDR_mean"].isna().all()
    assert quoted.loc["Open-Unmix (quoted)", "paper_sdr"] == 5.36
    assert quoted.loc["Sams-Net (quoted)", "paper_parameters"] == "3.7M"
    markdown = write_report([folder], tmp_path / "r", quoted=True)["md"].read_text()
    assert re.search(r"\| Open-Unmix \(quoted\) [-| ]+5\.36 [-| ]+8\.9M \|", markdown)
    assert "a\\|b_1" in markdown
    assert "quoted" not in collect([folder])


def test_latex_is_balanced_and_escaped(tmp_path):
    names = ["50%_a&b", "c#{d}$", "[e]~^"]
    folders = [write_system(tmp_path / name, songs(k, 7)) for k, name in enumerate(names)]
    tex = write_report(folders, tmp_path / "r", "100 % of_songs")["tex"].read_text()
    lines = [line for line in tex.splitlines() if not line.startswith("%")]
    body = re.sub(r"\\[%_&#$}{]", "", "\n".join(lines))
    assert body.count("{") == body.count("}")
    assert body.count("$") % 2 == 0
    assert not re.search(r"[%_#~^]", body)
    for name in ("table", "tabular"):
        assert body.count(f"\\begin{{{name}}}") == body.count(f"\\end{{{name}}}") == 3
    for part in re.findall(r"\\begin\{tabular\}\{(l(r+))\}(.*?)\\end\{tabular\}", body, re.S):
        rows = [line for line in part[2].splitlines() if line.endswith("\\\\")]
        assert {row.count("&") for row in rows} == {len(part[1])}
    assert r"50\%\_a\&b" in tex
    assert "\n{}[e]" in tex


@pytest.mark.parametrize(
    ("text", "escaped"),
    [("a_b", r"a\_b"), ("5 ± 1 %", r"5 $\pm$ 1 \%"), ("\\", r"\textbackslash{}"), ("é", "é")],
)
def test_escaped_text(text, escaped):
    assert escape_latex(text) == escaped


def test_json_holds_everything(tmp_path):
    values = songs(1, 7)
    values["song 0"][0] = float("nan")
    a, b = write_system(tmp_path / "a", values), write_system(tmp_path / "b", songs(2, 3))
    written = write_report([a, b], tmp_path / "r", "T", quoted=True)

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    content = json.loads(written["json"].read_text(), parse_constant=refuse)
    results, pairs = collect([a, b], quoted=True), pairs_of(a, b)
    assert list(content["systems"]) == list(results.index)
    for system, row in results.iterrows():
        for column, value in row.items():
            there = content["systems"][system][column]
            assert there is None if pd.isna(value) else there == value
    assert content["systems"]["a"]["scores"]["song 1"]["bass"] == {
        metric: pytest.approx(values["song 1"][SOURCES.index("bass")] + (metric != "SDR"))
        for metric in ("SDR", "ISR", "SIR", "SAR")
    }
    assert content["systems"]["a"]["scores"]["song 0"][SOURCES[0]]["SDR"] is None
    assert pd.DataFrame(content["pairs"])["difference"].tolist() == pairs["difference"].tolist()
    assert len(pd.read_csv(written["pairs.csv"])) == len(content["pairs"]) == 5


PUBLISHED = {
    "OpenUnmix": {"vocals": 6.319, "drums": 5.731, "bass": 5.234, "other": 4.020, "mean": 5.326},
    "WaveUNet": {"vocals": 3.253, "drums": 4.224, "bass": 3.209, "other": 2.252, "mean": 3.234},
    "Demucs": {"vocals": 6.082, "drums": 6.245, "bass": 5.827, "other": 3.997, "mean": 5.538},
}


@pytest.mark.skipif("MUSEVAL_SCORES" not in os.environ, reason="MUSEVAL_SCORES is not set")
def test_published_systems(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    folders = [Path(os.environ["MUSEVAL_SCORES"]) / name for name in PUBLISHED]
    written = write_report(folders, tmp_path / "r")
    assert not caplog.messages
    table = pd.read_csv(written["csv"], index_col="system")
    for system, figures in PUBLISHED.items():
        for group, value in figures.items():
            assert table.loc[system, f"SDR_{group}"] == pytest.approx(value, abs=1e-3)
        assert table.loc[system, "songs"] == 50
    pairs = pd.read_csv(written["pairs.csv"])
    pairs = pairs[pairs["stem"] == "mean"].set_index(["first", "second"])
    # the signed-rank test sees a difference; one song of next to no vocals makes the mean unsure
    assert pairs.loc[("OpenUnmix", "Demucs"), "verdict"] == "within noise"
    assert pairs.loc[("OpenUnmix", "Demucs"), "p"] == pytest.approx(0.0029, abs=1e-4)
    assert pairs.loc[("OpenUnmix", "WaveUNet"), "verdict"].startswith("OpenUnmix is better")
    assert pairs.loc[("WaveUNet", "Demucs"), "verdict"].startswith("Demucs is better")
