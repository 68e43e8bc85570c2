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

from .score_files import (
    mean_row,
    pairs_of,
    song_content,
    songs,
    write_experiment,
    write_scores,
    write_stems,
)


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


FOUR = dict.fromkeys(SOURCES, 1.0)


def test_models_of_other_stems(tmp_path, caplog):
    """They are compared by what most files have; beside the four of MUSDB18 they are left out."""
    a = write_stems(tmp_path / "a", {"vocals": 3.0, "rest": 5.0})
    b = write_stems(tmp_path / "b", {"rest": 2.0, "vocals": 1.0})
    written = write_report([a, b], tmp_path / "r")
    assert "| a | 3.00 | 5.00 | 4.00 |" in written["md"].read_text()
    assert mean_row(pairs_of(a, b))["difference"] == 2.5
    assert not caplog.messages
    four = write_scores(tmp_path / "four", songs(1, 1))
    assert list(collect([a, four]).index) == ["four"]
    assert "no scores of drums, bass, other" in caplog.text


def test_accompaniment_is_in_no_mean_but_beside_vocals_alone(tmp_path, caplog):
    five = write_stems(tmp_path / "five", {**FOUR, "accompaniment": 99.0})
    four = write_stems(tmp_path / "four", FOUR)
    results = collect([five, four])
    assert results["SDR_mean"].tolist() == [1.0, 1.0] and results["stems"].tolist() == [4, 4]
    assert mean_row(pairs_of(five, four))["difference"] == 0
    notes = json.loads(write_report([five], tmp_path / "r")["json"].read_text())["notes"]
    assert "mean over the 4 stems drums, bass, other, vocals" in notes[0]
    assert notes[1].endswith("accompaniment.")
    two = write_stems(tmp_path / "two", {"vocals": 1.0, "accompaniment": 4.0})
    assert collect([two])[["SDR_mean", "stems"]].values.tolist() == [[2.5, 2]]
    # the mixture, scored once for experiments of different stems, decides nothing
    baseline = write_stems(tmp_path / "mixture" / "scores", {**FOUR, "accompaniment": 0.0})
    (two / "conf.yml").write_text("model: {name: WaveUNet}")
    (two / "training.json").write_text("{}")
    (two / "scores").mkdir()
    (two / "song 0.json").rename(two / "scores" / "song 0.json")
    assert collect([two])["SDR_mean"].tolist() == [0.5, 2.5]
    assert not caplog.messages and baseline.exists()


def test_other_means_another_stem_where_guitar_and_piano_are_apart(tmp_path, caplog):
    six = write_stems(tmp_path / "six", *[{**FOUR, "guitar": 4.0, "piano": 7.0}] * 3)
    assert collect([six])[["SDR_mean", "stems"]].values.tolist() == [[2.5, 6]]
    assert not caplog.messages
    assert list(collect([six, write_stems(tmp_path / "four", FOUR)]).index) == ["four"]
    (line,) = caplog.messages
    assert "song 0.json and 2 more: also has guitar, piano" in line


def test_notes_say_how_many_songs_are_in_a_mean(tmp_path):
    nan = {**FOUR, "vocals": float("nan")}
    folders = [
        write_stems(tmp_path / "a", FOUR, FOUR, nan),
        write_stems(tmp_path / "b", FOUR, FOUR),
        write_stems(tmp_path / "c", nan, nan),
    ]
    notes = json.loads(write_report(folders, tmp_path / "r")["json"].read_text())["notes"]
    assert "3 of 3 songs (2 of vocals), 1 of 3 frames NaN (a); 2 of 2 songs, 0 of" in notes[1]
    assert "(0 of vocals), 2 of 2 frames NaN, so that there is no mean (c)" in notes[1]
    assert "not scored on the same songs" in notes[2] and "all models have 2" in notes[2]


def test_the_paper_is_quoted_beside_its_own_four_stems_only(tmp_path):
    exp_dir = write_experiment(tmp_path / "exp", songs(1, 1))
    assert collect([exp_dir]).loc["exp", "paper_sdr"] == 5.17
    conf = (exp_dir / "conf.yml").read_text()
    (exp_dir / "conf.yml").write_text(conf.replace("data:", "data:\n  sources: [vocals, rest]"))
    assert "paper_sdr" not in collect([exp_dir])


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
        ("text", "training.json", '{"parameters": "many"}', "training.json: missing or damaged"),
        ("odd conf", "conf.yml", "model: {upsampler: [1]}\ntraining: [1]", "conf.yml: damaged"),
        ("speed", "evaluation.json", "{", "evaluation.json: damaged; run stage 2"),
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
