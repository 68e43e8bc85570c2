"""The comparison: values from score files, quoted ones apart, and what is left out is named."""

import json
import logging
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from asteroid_upsamplers.cli import main
from asteroid_upsamplers.data import SOURCES
from asteroid_upsamplers.report import collect, read_models, write_report
from asteroid_upsamplers.report.chart import draw_comparison
from asteroid_upsamplers.report.facts import outdated_files
from asteroid_upsamplers.report.paper import quote
from asteroid_upsamplers.report.write import escape_latex

from .score_files import NEAREST, songs, write_experiment, write_scores


@pytest.fixture
def exp_dirs(tmp_path):
    """Two experiments, the first with artifact scores, and the mixture as its own estimate."""
    write_scores(tmp_path / "mixture" / "scores", {"song": [-4.0, -5.0, -6.0, -7.0]})
    nearest = write_experiment(tmp_path / "nearest", {"song": [1.0, 2.0, 3.0, 4.0]})
    (nearest / "evaluation.json").write_text('{"real_time_factor": 0.125}')
    scores = {}
    for state, rms_db, tones_db in (("trained", None, -400.0), ("untrained", -31.4, -62.4)):
        window = {"windows": 3, "silent": True, "rms_db": -50.0, "tones_db": tones_db}
        found = {"frequencies": 8, "tones": 0 if state == "trained" else 8}
        found |= {"tone_db": tones_db, "over_floor_db": 40.0}
        scores[state] = {
            "tonal_fraction": [0.5, 0.25],
            "silence": {"rms_db": rms_db, "share_at_tones": 0.0},
            "silent_windows": {"song": dict.fromkeys(SOURCES, window)},
            "unusual": dict.fromkeys(("noise", "sweep", "voice", "quiet song"), found),
        }
    (nearest / "artifacts.json").write_text(json.dumps(scores))
    subpixel = {**NEAREST, "upsampler": "subpixel", "modified": True}
    other = write_experiment(tmp_path / "modified", {"song": [5.0, 6.0, 7.0, 8.0]}, model=subpixel)
    return [nearest, other]


def test_rows_hold_scores_settings_and_quotations(exp_dirs):
    results = collect(exp_dirs)
    assert list(results.index) == ["mixture", "nearest", "modified"]
    expected = {
        **{f"SDR_{stem}": k + 1 for k, stem in enumerate(SOURCES)},
        **{"SDR_mean": 2.5, "SIR_mean": 3.5, "SDR_mean_mean_of_medians": 2.5},
        **{"songs": 1, "songs_total": 1, "nan_frames": 0, "frames": 1, "real_time_factor": 0.125},
        **{"network": "DemucsLike", "upsampler": "nearest", "paper_sdr": 5.17},
        **{"silence_db": -400, "untrained_silence_db": -31.4, "silent_windows": 12},
        **{"silent_windows_tones_db": -400, "untrained_silent_windows_tones_db": -62.4},
        **{"quiet_song_tones": 0, "untrained_quiet_song_tones": 8},
    }
    assert {key: results.loc["nearest", key] for key in expected} == expected
    assert results.loc["mixture", "SDR_drums"] == -4
    assert pd.isna(results.loc["mixture", "paper_sdr"])
    assert results.loc["modified", "paper_sdr"] == 5.38


def test_text_files(exp_dirs, tmp_path):
    written = write_report(exp_dirs, tmp_path / "out" / "report.html", "Two songs")
    assert {path.name for path in written.values()} == {f"report.{e}" for e in written}
    markdown = written["md"].read_text()
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    for row in (
        "| nearest | 1.00 | 2.00 | 3.00 | 4.00 | 2.50 | 3.50 | 3.50 | 3.50 | 2.50 | 1 | 1 | 0 "
        "| 1,234,567 | 12.3 | 0.125 | 5.17 | 423 | 716M |",
        "| nearest | modified | 1 | -4.00 | -4.00 | too few songs |",
        f"| nearest | silent | none (-62 dB){' | 0 of 8 (8)' * 4} |",
        "| nearest | SIR, mean of medians | 2.00 | 3.00 | 4.00 | 5.00 | 3.50 |",
        "| nearest | songs | 1 | 1 | 1 | 1 | - |",
    ):
        assert row in rows
    for words in ("### Two songs", "median over songs", "commit abc", "seed 42", "Table 1"):
        assert words in markdown
    table = pd.read_csv(written["csv"], index_col="model")
    assert dict(table["SDR_drums"]) == {"mixture": -4, "nearest": 1, "modified": 5}
    assert table.loc["nearest", "parameters"] == 1234567
    html = written["html"].read_text()
    assert html.count("<tr>") == len(rows) - 4  # markdown has a rule in each of the tables
    assert "too few songs</td>" in html and 'class="number">1,234,567</td>' in html
    assert "data:image/png;base64," in html and "http" not in html


def test_scores_that_say_nothing_are_marked_sdr_is_not(tmp_path):
    """A model with one song whose references do not determine the filters, and one without."""
    written = {f"song {k}": [1.0, 2.0, 3.0, 4.0] for k in range(2)}
    folders = [write_scores(tmp_path / name / "scores", written) for name in ("a", "b")]
    path = folders[0] / "song 1.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"reliable": False}))
    write_report([folder.parent for folder in folders], tmp_path / "report")
    text = (tmp_path / "report.md").read_text()
    rows = {name: next(r for r in text.splitlines() if f"| {name} | 1.00" in r) for name in "ab"}
    first, second = rows["a"], rows["b"]
    assert first.count("3.50\\*") == 3 and "*" not in second
    assert "2.50\\*" not in text and "(of 1 for a stem, at most)" in text
    assert collect([folder.parent for folder in folders])["unreliable"].to_list() == [1, 0]


def test_the_chart_shows_the_songs(tmp_path):
    values = songs(1, 9)
    values["song 0"][0] = -40.0
    models = read_models([write_scores(tmp_path / "a", values)]).models
    (axes,) = draw_comparison(collect([tmp_path / "a"]), models).axes
    medians = [line.get_ydata()[0] for line in axes.lines if len(set(line.get_ydata())) == 1]
    for stem in np.array(list(values.values())).T:
        assert any(abs(np.median(stem) - median) < 1e-9 for median in medians)
    assert axes.get_ylim()[0] == -15
    assert [text.get_text() for text in axes.texts] == ["1↓"]


def test_names_are_shown_as_they_are(tmp_path):
    """In the legend, which Matplotlib reads as formulas, and as text in HTML and Markdown."""
    names = ["_first", "$5_a$b", "<script>alert(1)<!script>", "x" * 200, "\udcff.seed0"]
    folders = [write_scores(tmp_path / name, songs(k, 2)) for k, name in enumerate(names)]
    written = write_report(folders, tmp_path / "r", "<script>alert(2)</script> & *more*")
    assert "<script>alert" not in written["html"].read_text()
    markdown = written["md"].read_text()
    assert not re.search(r"(?<!\\)[<*]", markdown) and r"### \<script>" in markdown
    models = read_models(folders[:4]).models
    (axes,) = draw_comparison(collect(folders[:4]), models).axes
    shown = [text.get_text().replace("\n", "") for text in axes.get_legend().get_texts()]
    assert shown[:3] == names[:3] and len(shown[3]) < 125 and shown[3].startswith("xxx")
    assert len({handle.get_facecolor() for handle in axes.get_legend().get_patches()}) == 4


def test_json_holds_everything_and_is_strict(exp_dirs, tmp_path):
    values = songs(1, 7)
    values["song 0"][0] = float("nan")
    folders = [*exp_dirs, write_scores(tmp_path / "a", values)]
    written = write_report(folders, tmp_path / "r", "T", quoted=True)

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    content = json.loads(written["json"].read_text(), parse_constant=refuse)
    results = collect(folders, quoted=True)
    assert list(content["models"]) == list(results.index)
    for model, row in results.iterrows():
        for column, value in row.items():
            there = content["models"][model][column]
            if pd.isna(value):
                assert there is None
            else:
                assert there == pytest.approx(value)
    scores = content["models"]["a"]["scores"]
    assert scores["song 1"]["bass"]["SIR"] == pytest.approx(values["song 1"][1] + 1)
    assert scores["song 0"][SOURCES[0]]["SDR"] is None
    assert content["models"]["nearest"]["folders"] == [str(exp_dirs[0])]
    pairs = pd.read_csv(written["pairs.csv"])
    assert pd.DataFrame(content["pairs"])["difference"].tolist() == pytest.approx(
        pairs["difference"].tolist(), rel=1e-5, nan_ok=True
    )


def test_scores_that_are_out_of_date_are_marked(tmp_path, caplog):
    exp_dir = write_experiment(tmp_path / "a", songs(0, 2))
    (exp_dir / "estimates" / "test" / "new song").mkdir(parents=True)
    (exp_dir / "estimates" / "test" / "new song" / "drums.wav").touch()
    identity = {"path": "/elsewhere/best_model.pth", "size": 1, "digest": "of another"}
    noted = {"model": {"best_model.pth": {"best_model.pth": identity}}}
    (exp_dir / "artifacts.json").write_text(json.dumps(noted))
    (exp_dir / "best_model.pth").touch()
    lines = outdated_files(exp_dir)
    assert [line.partition(": ")[2] for line in lines] == [
        "estimates of new song are not scored: run stage 3",
        "of another best_model.pth: run stage 4",
    ]
    (exp_dir / "artifacts.json").unlink()
    text = write_report([exp_dir], tmp_path / "report")["md"].read_text()
    assert f"Out of date: {lines[0]}." in text and lines[0] in caplog.text


def test_quoted_rows_are_all_of_table_1_and_marked(tmp_path):
    folder = write_scores(tmp_path / "a|b_1", songs(1, 2))
    results = collect([folder], quoted=True)
    quoted = results[results["quoted"]]
    assert len(quoted) == 10 and all(name.endswith(" (quoted)") for name in quoted.index)
    assert quoted["SDR_mean"].isna().all()
    path = write_report([folder], tmp_path / "v1.2", quoted=True)["md"]
    assert path.name == "v1.2.md"
    markdown = path.read_text()
    assert re.search(r"\| Open-Unmix \(quoted\) [-| ]+5\.36 [-| ]+8\.9M \|", markdown)
    assert "a\\|b_1" in markdown
    assert "quoted" not in collect([folder])


def test_which_row_of_table_1():
    model = {"upsampler": "transposed", "modified": False, "encoder_context": 0}
    assert quote(model).parameters == "648M"
    assert quote({**model, "upsampler_kernel_size": 5}) is None


def test_latex_is_balanced_and_escaped(tmp_path):
    names = ["50%_a&b", "c#{d}$", "[e]~^"]
    folders = [write_scores(tmp_path / name, songs(k, 7)) for k, name in enumerate(names)]
    tex = write_report(folders, tmp_path / "r", "100 % of_songs")["tex"].read_text()
    lines = [line for line in tex.splitlines() if not line.startswith("%")]
    body = re.sub(r"\\[%_&#$}{]", "", "\n".join(lines))
    assert body.count("{") == body.count("}") and body.count("$") % 2 == 0
    assert not re.search(r"[%_#~^]|^\[", body, re.M)  # a row must not begin with [
    for name in ("table", "tabular"):
        assert body.count(f"\\begin{{{name}}}") == body.count(f"\\end{{{name}}}") == 3
    assert r"50\%\_a\&b" in tex
    assert escape_latex("5 ± 1 \\é") == r"5 $\pm$ 1 \textbackslash{}é"


def test_the_command(tmp_path, capsys, caplog):
    good = write_scores(tmp_path / "good", songs(1, 2))
    main(["report", str(good), "nowhere", "--out", str(tmp_path / "r"), "--title", "Two songs"])
    assert "left out: nowhere: no experiment here" in caplog.text
    assert re.search(r"### Two songs\n.*\| good \|.*r\.html", capsys.readouterr().out, re.S)


PUBLISHED = {
    "OpenUnmix": {"vocals": 6.319, "drums": 5.731, "bass": 5.234, "other": 4.020, "mean": 5.326},
    "WaveUNet": {"vocals": 3.253, "drums": 4.224, "bass": 3.209, "other": 2.252, "mean": 3.234},
    "Demucs": {"vocals": 6.082, "drums": 6.245, "bass": 5.827, "other": 3.997, "mean": 5.538},
}


@pytest.mark.skipif("MUSEVAL_SCORES" not in os.environ, reason="MUSEVAL_SCORES is not set")
def test_published_models_have_their_published_scores(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    folders = [Path(os.environ["MUSEVAL_SCORES"]) / name for name in PUBLISHED]
    written = write_report(folders, tmp_path / "r")
    assert not caplog.messages
    table = pd.read_csv(written["csv"], index_col="model")
    for model, scores in PUBLISHED.items():
        found = {group: table.loc[model, f"SDR_{group}"] for group in scores}
        assert found == pytest.approx(scores, abs=1e-3)
        assert table.loc[model, "songs"] == 50
    pairs = pd.read_csv(written["pairs.csv"])
    pairs = pairs[pairs["stem"] == "mean"].set_index(["first", "second"])
    # the signed-rank test sees a difference; one song of next to no vocals makes the mean unsure
    assert pairs.loc[("OpenUnmix", "Demucs"), "verdict"] == "within noise"
    assert pairs.loc[("OpenUnmix", "Demucs"), "p"] == pytest.approx(0.0029, abs=1e-4)
    assert pairs.loc[("OpenUnmix", "WaveUNet"), "verdict"].startswith("OpenUnmix is better")
    assert pairs.loc[("WaveUNet", "Demucs"), "verdict"].startswith("Demucs is better")
