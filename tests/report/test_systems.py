"""Which folders make which systems, and what cannot be used: named, and the rest is made."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from asteroid_upsamplers.data import SOURCES
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.report import collect, read_systems, write_report
from asteroid_upsamplers.report.score_files import read_score_files

from .score_files import (
    mean_row,
    pairs_of,
    song_content,
    songs,
    write_scored_experiment,
    write_system,
)


@pytest.mark.parametrize(
    ("names", "seeds", "expected"),
    [
        (["x.seed1", "x.seed2", "x_seed3"], None, {"x": 3}),
        (["x.seed1", "y.seed1"], None, {"x.seed1": 1, "y.seed1": 1}),
        (["x", "x.seed1", "x.seed2"], None, None),
        (["one", "two", "three"], [1, 2, 3], {"one": 3}),
        (["one", "two"], [1, 1], {"one": 1, "two": 1}),
        (["one", "two"], [None, 2], {"one": 1, "two": 1}),
    ],
)
def test_which_runs_are_seeds_of_one_system(tmp_path, names, seeds, expected):
    for k, name in enumerate(names):
        if seeds is None:
            write_system(tmp_path / name, songs(k, 3))
        else:
            write_scored_experiment(tmp_path / name, songs(k, 3), seeds[k])
    systems = read_systems([tmp_path / name for name in names]).systems
    counts = {system.name: len(system.runs) for system in systems}
    if expected is None:  # x, and two seeds of another x: told apart by their whole paths
        assert sorted(counts.values()) == [1, 2] and len(counts) == 2
    else:
        assert counts == expected


def test_other_settings_or_other_songs_are_no_seeds(tmp_path):
    model = {"name": "WaveUNet", "depth": 12}
    folders = [
        write_scored_experiment(tmp_path / "a", songs(1, 3), 1, model),
        write_scored_experiment(tmp_path / "b", songs(2, 3), 2, {**model, "depth": 11}),
        write_scored_experiment(tmp_path / "c", songs(3, 3, start=50), 3, model),
    ]
    results = collect(folders)
    assert list(results["seeds"]) == [1, 1, 1]
    assert list(results["model"]) == ["WaveUNet"] * 3
    assert "paper_sdr" not in results


def test_named_seeds_of_other_settings_are_warned_of(tmp_path, caplog):
    a = write_scored_experiment(tmp_path / "x_seed1", songs(1, 3), 1, {"depth": 1})
    b = write_scored_experiment(tmp_path / "x_seed2", songs(2, 3), 2, {"depth": 2})
    assert list(collect([a, b]).index) == ["x"]
    assert "differ in more than the seed" in caplog.text


def test_a_row_of_seeds_is_mean_and_deviation(tmp_path):
    factors = (0.1, 0.3)
    values = [songs(k, 7) for k in range(2)]
    folders = [
        write_scored_experiment(
            tmp_path / f"run{k}", values[k], k, real_time_factor=factors[k], seconds_per_epoch=k + 1
        )
        for k in range(2)
    ]
    single = [collect([folder]).iloc[0] for folder in folders]
    row = collect(folders).loc["run0"]
    for column in ("SDR_vocals", "SAR_mean", "SDR_mean_mean_of_medians"):
        figures = [each[column] for each in single]
        assert row[column] == pytest.approx(np.mean(figures))
        assert row[f"{column}_std"] == pytest.approx(np.std(figures, ddof=1))
    assert (row["seeds"], row["seed"], row["parameters"]) == (2, "0 / 1", 1000)
    assert row["real_time_factor"] == pytest.approx(0.2)
    assert row["seconds_per_epoch"] == pytest.approx(1.5)

    other = write_system(tmp_path / "other", songs(9, 7))
    pair = mean_row(pairs_of(*folders, other))
    mean = np.mean([[values[k][s] for s in values[0]] for k in range(2)], axis=0)
    differences = (mean - np.array(list(songs(9, 7).values()))).mean(1)
    assert pair["p"] == pytest.approx(stats.wilcoxon(differences).pvalue)
    markdown = write_report([*folders, other], tmp_path / "r")["md"].read_text()
    expected = f"{row['SDR_mean']:.2f} ± {row['SDR_mean_std']:.2f}"
    assert expected in markdown and "standard deviation over the seeds" in markdown


def test_real_time_factor_of_the_evaluation(tmp_path):
    exp_dir = write_scored_experiment(tmp_path / "a", songs(1, 2))
    assert collect([exp_dir]).loc["a", "real_time_factor"] is None
    (exp_dir / "evaluation.json").write_text('{"real_time_factor": 0.125}')
    assert collect([exp_dir]).loc["a", "real_time_factor"] == 0.125


def _drop_stem(folder):
    content = song_content({stem: [1.0] for stem in SOURCES if stem != "bass"})
    (folder / "song 0.json").write_text(json.dumps(content))


def _other_format(folder):
    (folder / "song 0.json").write_text('{"sdr": 5.0}')


def _cut_short(folder):
    text = (folder / "song 0.json").read_text()
    (folder / "song 0.json").write_text(text[: len(text) // 2])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_drop_stem, r"song 0\.json: no scores of bass"),
        (_other_format, r"song 0\.json is no museval JSON"),
        (_cut_short, r"song 0\.json is no museval JSON"),
    ],
)
def test_a_bad_score_file_is_left_out_and_named(tmp_path, caplog, spoil, words):
    bad = write_system(tmp_path / "bad", songs(1, 4))
    good = write_system(tmp_path / "good", songs(2, 4))
    spoil(bad)
    written = write_report([bad, good], tmp_path / "report")
    (line,) = caplog.messages
    assert line.startswith("left out: ") and re.search(words, line) and "\n" not in line
    table = pd.read_csv(written["csv"], index_col="system")
    assert dict(table["songs"]) == {"bad": 3, "good": 4}
    assert re.search(words, written["md"].read_text())
    assert re.search(words, json.loads(written["json"].read_text())["left_out"][0])


def test_a_second_file_of_a_song_is_left_out(tmp_path):
    folder = write_system(tmp_path / "a", songs(1, 2))
    write_system(folder, songs(5, 1), compress=True)
    frames, (problem,) = read_score_files(folder)
    assert "second file of this song" in problem
    assert frames["track"].nunique() == 2


def test_bad_folders_are_left_out_and_named(tmp_path, caplog):
    good = write_scored_experiment(tmp_path / "good", songs(1, 2))
    (tmp_path / "empty").mkdir()
    no_scores = write_scored_experiment(tmp_path / "no_scores", {})
    no_conf = write_scored_experiment(tmp_path / "no_conf", songs(2, 2))
    (no_conf / "conf.yml").unlink()
    broken = write_scored_experiment(tmp_path / "broken", songs(2, 2))
    (broken / "conf.yml").write_text("a: [")
    expected = {
        tmp_path / "empty": "no museval scores",
        tmp_path / "nowhere": "no such folder",
        no_scores: "no museval scores",
        no_conf: r"no experiment here \(no conf.yml\)",
        broken: "a YAML mapping is needed",
    }
    assert list(collect([*expected, good]).index) == ["good"]
    assert len(caplog.messages) == len(expected)
    for message, (folder, words) in zip(caplog.messages, expected.items(), strict=True):
        assert re.search(words, message) and str(folder) in message
    with pytest.raises(UsageError, match="none of the 2 folders"):
        collect([tmp_path / "empty", no_conf])


def test_warnings_go_to_standard_error_and_the_status_is_0(tmp_path):
    good = write_system(tmp_path / "good", songs(1, 2))
    command = [sys.executable, "-m", "asteroid_upsamplers.cli", "report", str(good), "nowhere"]
    command += ["--out", str(tmp_path / "r")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert "left out: nowhere: no experiment here" in done.stderr
    assert "| good |" in done.stdout
