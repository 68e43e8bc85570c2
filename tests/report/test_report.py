"""The comparison: figures from score files, quoted ones apart, and nothing missing unsaid."""

import json

import pandas as pd
import pytest
import yaml

from asteroid_upsamplers.data import SOURCES
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.evaluation import METRICS
from asteroid_upsamplers.report import collect, write_report
from tests.training.test_config import CONF


def write_scores(exp_dir, values):
    """One song with one frame; ``values`` are the SDRs of the sources, other metrics 1 more."""
    targets = [
        {
            "name": source,
            "frames": [
                {
                    "time": 0.0,
                    "duration": 1.0,
                    "metrics": {metric: value + (metric != "SDR") for metric in METRICS},
                }
            ],
        }
        for source, value in zip(SOURCES, values, strict=True)
    ]
    folder = exp_dir / "scores" / "test"
    folder.mkdir(parents=True)
    (folder / "song.json").write_text(json.dumps({"targets": targets}))


def write_experiment(exp_dir, values, upsampler="nearest", modified=False, **extra):
    conf = yaml.safe_load(CONF.read_text())
    conf["model"].update(upsampler=upsampler, modified=modified)
    exp_dir.mkdir(parents=True)
    (exp_dir / "conf.yml").write_text(yaml.safe_dump(conf))
    summary = {"parameters": 1234567, "seconds_per_epoch": 12.34, "seed": 42, "epochs": 3}
    (exp_dir / "training.json").write_text(json.dumps({**summary, "commit": "abc", **extra}))
    write_scores(exp_dir, values)
    return exp_dir


@pytest.fixture
def exp_dirs(tmp_path):
    write_scores(tmp_path / "mixture", [-4.0, -5.0, -6.0, -7.0])
    nearest = write_experiment(tmp_path / "nearest", [1.0, 2.0, 3.0, 4.0])
    silence = {"silence": {"rms_db": float("-inf"), "share_at_tones": 0.0}}
    loud = {"silence": {"rms_db": -31.4, "share_at_tones": 0.876}}
    scores = {"trained": silence, "untrained": loud}
    window = {"windows": 3, "silent": True, "rms_db": -50.0, "share_at_tones": 0.1}
    for entry, level in zip(scores.values(), (-400.0, -62.4), strict=True):
        entry["tonal_fraction"] = [0.5, 0.25]
        entry["silent_windows"] = {"song": {s: {**window, "tones_db": level} for s in SOURCES}}
        found = {
            "frequencies": 8,
            "tones": 0 if level < -300 else 8,
            "tone_db": level,
            "over_floor_db": 40.0,
        }
        entry["unusual"] = dict.fromkeys(("noise", "sweep", "voice", "quiet song"), found)
    (nearest / "artifacts.json").write_text(json.dumps(scores))
    other = write_experiment(tmp_path / "subpixel_modified", [5, 6, 7, 8], "subpixel", True)
    return [nearest, other]


def test_rows_hold_scores_settings_and_quotations(exp_dirs):
    results = collect(exp_dirs)
    assert list(results.index) == ["mixture", "nearest", "subpixel_modified"]
    row = results.loc["nearest"]
    assert [row[f"SDR_{source}"] for source in SOURCES] == [1, 2, 3, 4]
    assert row["SDR_mean"] == 2.5
    assert row["SIR_mean"] == 3.5
    assert row["SDR_mean_mean_of_medians"] == 2.5
    assert (row["songs"], row["songs_total"], row["nan_frames"], row["frames"]) == (1, 1, 0, 1)
    assert row["paper_sdr"] == 5.17
    assert row["silence_db"] == float("-inf")
    assert row["untrained_silence_db"] == -31.4
    assert (row["silent_windows_tones_db"], row["untrained_silent_windows_tones_db"]) == (
        -400,
        -62.4,
    )
    assert (row["quiet_song_tones"], row["untrained_quiet_song_tones"]) == (0, 8)
    assert row["silent_windows"] == 12
    assert results.loc["mixture", "SDR_drums"] == -4
    assert pd.isna(results.loc["mixture", "paper_sdr"])
    assert results.loc["subpixel_modified", "paper_sdr"] == 5.38


def test_files(exp_dirs, tmp_path):
    written = write_report(exp_dirs, tmp_path / "out" / "report.html", "Two songs")
    assert {path.name for path in written.values()} == {f"report.{e}" for e in written}
    markdown = written["md"].read_text()
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    for table in markdown.split("####")[1:]:
        assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) == 1
    assert rows[3].startswith("| nearest | 1.00 | 2.00 | 3.00 | 4.00 | 2.50 | 3.50 |")
    assert rows[3].endswith("| 1 | 1 | 0 | 1,234,567 | 12.3 | - | 5.17 | 423 | 716M |")
    assert "| nearest | SIR, mean of medians | 2.00 | 3.00 | 4.00 | 5.00 | 3.50 |" in rows
    assert "| nearest | songs | 1 | 1 | 1 | 1 | - |" in rows
    assert f"| nearest | silent | none (-62 dB){' | 0 of 8 (8)' * 4} |" in rows
    assert any(row.endswith("| too few songs |") for row in rows)
    for words in ("### Two songs", "median over songs", "commit abc", "seed 42", "quoted"):
        assert words in markdown
    table = pd.read_csv(written["csv"], index_col="system")
    assert table.loc["nearest", "SDR_drums"] == 1
    assert table.loc["nearest", "parameters"] == 1234567
    html = written["html"].read_text()
    assert html.count("<tr>") == len(rows) - html.count("<table>")  # one rule a table
    assert "too few songs" in html
    assert "data:image/png;base64," in html
    assert "http" not in html
    assert written["png"].read_bytes().startswith(b"\x89PNG")


def test_two_commits_are_both_named(exp_dirs, tmp_path):
    third = write_experiment(tmp_path / "third", [0, 0, 0, 0], commit="def")
    markdown = write_report([*exp_dirs, third], tmp_path / "report")["md"].read_text()
    assert "commit abc / def" in markdown


def test_equal_names_are_kept_apart(exp_dirs, tmp_path):
    write_scores(tmp_path / "other" / "mixture", [0, 0, 0, 0])
    twin = write_experiment(tmp_path / "other" / "nearest", [9, 9, 9, 9])
    results = collect([exp_dirs[0], twin])
    here = tmp_path.name
    names = [f"{here}/mixture", "other/mixture", f"{here}/nearest", "other/nearest"]
    assert list(results.index) == names
    assert results.loc["other/nearest", "SDR_mean"] == 9


def test_demucs_is_quoted_as_demucs(exp_dirs):
    conf = yaml.safe_load((exp_dirs[0] / "conf.yml").read_text())
    conf["model"].update(upsampler="transposed", encoder_context=0)
    (exp_dirs[0] / "conf.yml").write_text(yaml.safe_dump(conf))
    assert collect(exp_dirs).loc["nearest", "paper_parameters"] == "648M"
    conf["model"].update(upsampler_kernel_size=5)  # no row of the paper
    (exp_dirs[0] / "conf.yml").write_text(yaml.safe_dump(conf))
    assert pd.isna(collect(exp_dirs).loc["nearest", "paper_parameters"])


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("conf.yml", "no experiment here"),
        ("training.json", "training.json: missing or damaged"),
        ("scores/test/song.json", "no museval scores"),
    ],
)
def test_what_is_missing_is_named_and_the_rest_is_made(exp_dirs, missing, message, caplog):
    (exp_dirs[0] / missing).unlink()
    assert list(collect(exp_dirs).index) == ["mixture", "subpixel_modified"]
    (line,) = caplog.messages
    assert line.startswith("left out: ") and message in line


@pytest.mark.parametrize("text", ["", "[]", '{"trained": {}}'])
def test_damaged_artifact_scores_are_named(exp_dirs, text, caplog):
    (exp_dirs[0] / "artifacts.json").write_text(text)
    assert "nearest" not in collect(exp_dirs).index
    assert "artifacts.json: damaged" in caplog.text


def test_nothing_to_report():
    with pytest.raises(UsageError, match="no experiment folders"):
        collect([])
