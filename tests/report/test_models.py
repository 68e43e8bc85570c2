"""Which folders make which models; what cannot be used is named and left out."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from asteroid_upsamplers.data import SOURCES
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.report import collect, read_models, write_report

from .score_files import mean_row, pairs_of, song_content, songs, write_experiment, write_scores


@pytest.mark.parametrize(
    ("names", "seeds", "expected"),
    [
        (["x.seed1", "x.seed2", "x_seed3"], None, {"x": 3}),
        (["x.seed1", "y.seed1"], None, {"x.seed1": 1, "y.seed1": 1}),
        (["x", "x.seed1", "x.seed2"], None, {"x": 1, "x.seed1": 2}),
        (["sub/x", "x"], None, {"sub/x": 1, "{parent}/x": 1}),
        (["one", "two", "three"], [1, 2, 3], {"one": 3}),
        (["one", "two"], [1, 1], {"one": 1, "two": 1}),
        (["one", "two"], [None, 2], {"one": 1, "two": 1}),
    ],
)
def test_which_runs_are_seeds_of_one_model(tmp_path, names, seeds, expected):
    for k, name in enumerate(names):
        if seeds is None:
            write_scores(tmp_path / name, songs(k, 3))
        else:
            write_experiment(tmp_path / name, songs(k, 3), seeds[k])
    models = read_models([tmp_path / name for name in names]).models
    counts = {model.name: len(model.runs) for model in models}
    assert counts == {name.format(parent=tmp_path.name): n for name, n in expected.items()}


def test_other_settings_or_other_songs_are_no_seeds(tmp_path):
    model = {"name": "WaveUNet", "depth": 12}
    folders = [
        write_experiment(tmp_path / "a", songs(1, 3), 1, model),
        write_experiment(tmp_path / "b", songs(2, 3), 2, {**model, "depth": 11}),
        write_experiment(tmp_path / "c", songs(3, 3, start=50), 3, model),
        write_experiment(tmp_path / "x_seed1", songs(1, 3), 1, {"depth": 1}),
        write_experiment(tmp_path / "x_seed2", songs(2, 3), 2, {"depth": 2}),
    ]
    assert list(collect(folders)["seeds"]) == [1] * 5


def test_a_row_of_seeds_is_mean_and_deviation(tmp_path):
    values = [songs(k, 7) for k in range(2)]
    folders = [
        write_experiment(
            tmp_path / f"run{k}", values[k], k, seconds_per_epoch=k + 1, commit=f"c{k}"
        )
        for k in range(2)
    ]
    single = [collect([folder]).iloc[0] for folder in folders]
    row = collect(folders).loc["run0"]
    for column in ("SDR_vocals", "SAR_mean", "SDR_mean_mean_of_medians"):
        scores = [each[column] for each in single]
        assert row[column] == pytest.approx(np.mean(scores))
        assert row[f"{column}_std"] == pytest.approx(np.std(scores, ddof=1))
    assert (row["seeds"], row["seed"], row["parameters"]) == (2, "0 / 1", 1234567)
    assert row["seconds_per_epoch"] == pytest.approx(1.5)

    other = write_scores(tmp_path / "other", songs(9, 7))
    mean = np.mean([[values[k][s] for s in values[0]] for k in range(2)], axis=0)
    differences = (mean - np.array(list(songs(9, 7).values()))).mean(1)
    assert mean_row(pairs_of(*folders, other))["p"] == stats.wilcoxon(differences).pvalue
    markdown = write_report([*folders, other], tmp_path / "r")["md"].read_text()
    assert f"| {row['SDR_mean']:.2f} ± {row['SDR_mean_std']:.2f} |" in markdown
    assert "standard deviation over the seeds" in markdown
    assert "commit c0 / c1" in markdown


def test_score_files_that_cannot_be_used_are_left_out_and_named(tmp_path, caplog):
    folder = write_scores(tmp_path / "a", songs(1, 5))
    write_scores(folder, songs(5, 1), compress=True)
    no_bass = song_content({stem: 1.0 for stem in SOURCES if stem != "bass"})
    (folder / "song 1.json").write_text(json.dumps(no_bass))
    (folder / "song 2.json").write_text('{"sdr": 5.0}')
    (folder / "song 3.json").write_text((folder / "song 4.json").read_text()[:100])
    written = write_report([folder], tmp_path / "report")
    words = [
        r"song 0\.json\.gz: the second file of this song",
        r"song 1\.json: no scores of bass",
        r"song 2\.json is no museval JSON",
        r"song 3\.json is no museval JSON",
    ]
    left_out = json.loads(written["json"].read_text())["left_out"]
    assert caplog.messages == [f"left out: {line}" for line in left_out]
    for pattern, line in zip(words, sorted(left_out), strict=True):
        assert re.search(pattern, line) and "\n" not in line and line in written["md"].read_text()
    assert pd.read_csv(written["csv"], index_col="model").loc["a", "songs"] == 2


def test_models_of_other_stems(tmp_path, caplog):
    """They are compared by what most files have; beside the four of MUSDB18 they are left out."""
    for name, sdr in (("a", {"vocals": 3.0, "rest": 5.0}), ("b", {"vocals": 1.0, "rest": 2.0})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "song.json").write_text(json.dumps(song_content(sdr)))
    written = write_report([tmp_path / "a", tmp_path / "b"], tmp_path / "r")
    assert "| a | 3.00 | 5.00 | 4.00 |" in written["md"].read_text()
    assert mean_row(pairs_of(tmp_path / "a", tmp_path / "b"))["difference"] == 2.5
    assert not caplog.messages
    four = write_scores(tmp_path / "four", songs(1, 1))
    assert list(collect([tmp_path / "a", four]).index) == ["four"]
    assert "no scores of drums, bass, other" in caplog.text


def test_folders_that_cannot_be_used_are_left_out_and_named(tmp_path, caplog):
    good = write_experiment(tmp_path / "good", songs(1, 1))
    (tmp_path / "empty").mkdir()
    expected = {
        tmp_path / "empty": r"no experiment here \(no conf.yml\), and no museval scores",
        tmp_path / "nowhere": "no such folder",
        write_experiment(tmp_path / "no scores", {}): "no museval scores",
    }
    for name, spoilt, content, words in (
        ("no conf", "conf.yml", None, r"no experiment here \(no conf.yml\)"),
        ("broken conf", "conf.yml", "a: [", "must be a YAML mapping"),
        ("no summary", "training.json", None, "training.json: missing or damaged"),
        ("artifacts", "artifacts.json", '{"trained": {}}', "artifacts.json: damaged"),
        ("empty artifacts", "artifacts.json", "", "artifacts.json: damaged"),
    ):
        folder = write_experiment(tmp_path / name, songs(1, 1))
        (folder / spoilt).write_text(content) if content is not None else (folder / spoilt).unlink()
        expected[folder] = words
    assert list(collect([*expected, good]).index) == ["good"]
    for message, (folder, words) in zip(caplog.messages, expected.items(), strict=True):
        assert re.search(words, message) and str(folder) in message
    with pytest.raises(UsageError, match="none of the 2 folders"):
        collect([tmp_path / "empty", tmp_path / "nowhere"])
    write_scores(tmp_path / "mixture" / "scores", songs(2, 1))  # alone it is no comparison
    with pytest.raises(UsageError, match="training.json: missing or damaged"):
        collect([tmp_path / "no summary"])
    with pytest.raises(UsageError, match="no experiment folders"):
        collect([])
