"""Scores to table: against plain Python on hand-made files, and against published figures."""

import gzip
import json
import math
import os
import statistics
from pathlib import Path

import museval
import numpy as np
import pandas as pd
import pytest

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.evaluation.aggregation import (
    METRICS,
    aggregate,
    is_scored,
    load_scores,
    read_scores,
    write_scores,
)

NAN, INF = math.nan, math.inf

# Song, stem: SDR per frame in dB. Each other metric is the SDR plus an offset.
SONGS = {
    "A - Dr. X": {"vocals": [1.0, NAN, 3.0, 8.0], "drums": [2.0, 4.0, NAN, NAN]},
    "B": {"vocals": [5.0, INF, -INF], "drums": [NAN, NAN, NAN]},
    "C": {"vocals": [-1.5, 0.25], "drums": [7.0, 7.5]},
    "D": {"vocals": [6.0], "drums": [-4.0]},
}
OFFSETS = dict(zip(METRICS, (0.0, 5.0, -2.0, 1.5), strict=True))


def museval_json(stems):
    def frame(i, sdr):
        metrics = {metric: sdr + offset for metric, offset in OFFSETS.items()}
        return {"time": float(i), "duration": 1.0, "metrics": metrics}

    targets = [
        {"name": stem, "frames": [frame(i, sdr) for i, sdr in enumerate(frames)]}
        for stem, frames in stems.items()
    ]
    return json.dumps({"targets": targets, "museval_version": "0.4.1"})


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.fixture
def folder(tmp_path):
    """Files as they may lie: in subfolders, plain and gzipped."""
    for i, (song, stems) in enumerate(SONGS.items()):
        put(tmp_path / f"sub{i % 2}" / f"{song}.json{'.gz' if i > 1 else ''}", museval_json(stems))
    return tmp_path


def by_hand(stem):
    """The row of one stem, with ``statistics`` only."""
    row = {}
    for metric, offset in OFFSETS.items():
        frames = [[x + offset for x in song[stem] if math.isfinite(x)] for song in SONGS.values()]
        medians = [statistics.median(finite) for finite in frames if finite]
        row[metric] = statistics.median(medians)
        row[f"{metric}_mean"] = statistics.mean(medians)
    every = [x for song in SONGS.values() for x in song[stem]]
    row |= {"songs": len(medians), "songs_total": len(SONGS), "frames": len(every)}
    return row | {"nan_frames": sum(not math.isfinite(x) for x in every), "unreliable": 0}


def test_aggregate_is_median_over_frames_then_median_and_mean_over_songs(folder):
    table = aggregate(load_scores(folder))
    expected = {stem: by_hand(stem) for stem in ("vocals", "drums")}
    expected["mean"] = {
        column: statistics.mean([row[column] for row in expected.values()])
        for column in expected["drums"]
    }
    assert list(table.index) == ["vocals", "drums", "mean"]
    for row, columns in expected.items():
        assert table.loc[row].to_dict() == pytest.approx(columns)
    # The two ways must differ here, or the test could not tell them apart.
    assert (table["SDR"] != table["SDR_mean"]).all()


def test_aggregate_agrees_with_museval_where_no_score_is_infinite(tmp_path):
    generator = np.random.default_rng(0)
    store = museval.EvalStore(frames_agg="median", tracks_agg="median")
    for song in "abcde":
        stems = {stem: generator.normal(5, 3, 7).tolist() for stem in ("bass", "other")}
        stems["bass"][2] = NAN
        store.add_track(read_scores(put(tmp_path / f"{song}.json", museval_json(stems))))
    table = aggregate(load_scores(tmp_path))
    for (stem, metric), value in store.agg_frames_tracks_scores().items():
        assert table.loc[stem, metric] == pytest.approx(value, abs=1e-9)


def test_a_stem_without_any_score_is_nan_and_so_is_the_mean(tmp_path):
    put(tmp_path / "a.json", museval_json({"vocals": [1.0, 2.0], "drums": [NAN, INF]}))
    table = aggregate(load_scores(tmp_path))
    assert table["SDR"].to_list() == pytest.approx([1.5, NAN, NAN], nan_ok=True)
    counts = table.loc["drums", ["songs", "songs_total", "nan_frames", "frames"]]
    assert counts.to_list() == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("sdr", "mean"),
    [
        ({"vocals": 1.0, "drums": 2.0, "bass": 3.0, "other": 4.0, "accompaniment": 99.0}, 2.5),
        ({"vocals": 1.0, "accompaniment": 9.0}, 5.0),
        ({"accompaniment": 9.0, "Mixture": 0.0, "vocals": 1.0}, 5.0),
        ({"bass": 1.0, "no_bass": 9.0}, 5.0),
        ({"bass": 1.0, "drums": 3.0, "no_bass": 9.0, "instrumental": 9.0}, 2.0),
        (
            {"guitar": 1.0, "piano": 2.0, "vocals": 3.0, "drums": 4.0, "bass": 5.0, "other": 6.0},
            3.5,
        ),
        ({"mixture": 1.0}, 1.0),
    ],
)
def test_no_part_of_a_song_counts_twice_in_a_mean(tmp_path, sdr, mean):
    put(tmp_path / "a.json", museval_json({stem: [value] for stem, value in sdr.items()}))
    table = aggregate(load_scores(tmp_path))
    assert table.loc["mean", "SDR"] == pytest.approx(mean)
    assert list(table.index) == [*sdr, "mean"]


GOOD = museval_json({"vocals": [1.0], "drums": [2.0]})
REFUSED = {
    "no files": ({"notes.txt": "x", "a.json.partial": GOOD}, "no museval scores"),
    "cut short": ({"a.json": GOOD, "b.json": GOOD[:-20]}, "b.json is no museval JSON"),
    "a list": ({"a.json": "[1, 2]"}, "a.json is no museval JSON"),
    "no targets": ({"conf.json": '{"lr": 1}'}, "conf.json is no museval JSON"),
    "no SAR": ({"a.json": GOOD.replace("SAR", "SARS")}, "a.json is no museval JSON"),
    "text": ({"a.json": GOOD.replace('SDR": 1.0', 'SDR": "x"')}, "a.json is no museval JSON"),
    "a stem without a name": (
        {"a.json": GOOD.replace('"drums"', "5")},
        "a.json is no museval JSON",
    ),
    "a number too large": ({"a.json": GOOD.replace("1.0", "9" * 400)}, "a.json is no museval JSON"),
    "too deep": ({"a.json": "[" * 200000}, "a.json is no museval JSON"),
    "a stem called mean": ({"a.json": GOOD.replace("drums", "mean")}, "no stem can be named mean"),
    "no frames": ({"a.json": museval_json({"vocals": [1.0], "drums": []})}, "without frames"),
    "stem twice": ({"a.json": GOOD.replace("drums", "vocals")}, "named twice"),
    "stem missing": (
        {"a.json": museval_json({"vocals": [1.0]}), "b.json": GOOD},
        "a.json has no scores of drums",
    ),
    "song twice": ({"a.json": GOOD, "a.json.gz": GOOD}, "a.json.gz are scores of the same song"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_folders_are_named_in_one_line(tmp_path, case):
    files, words = REFUSED[case]
    for name, text in files.items():
        put(tmp_path / name, text)
    with pytest.raises(UsageError, match=words) as caught:
        load_scores(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".json", ".json.gz"])
def test_written_scores_are_museval_json_and_the_same_bytes_again(tmp_path, suffix):
    store = museval.TrackStore("song", win=1.0, hop=1.0)
    for stem in ("vocals", "drums"):
        store.add_target(stem, {metric: [1.25, NAN] for metric in METRICS})
    first, second = tmp_path / f"a{suffix}", tmp_path / "more" / f"b{suffix}"
    write_scores(store, first)
    write_scores(store, second)
    data = first.read_bytes()
    assert second.read_bytes() == data
    text = (gzip.decompress(data) if suffix.endswith("gz") else data).decode()
    content = json.loads(text, parse_constant=pytest.fail)  # NaN is no JSON
    pd.testing.assert_frame_equal(museval.aggregate.json2df(content, "song"), store.df)
    if suffix.endswith("gz"):
        assert data[4:8] == b"\0\0\0\0"  # gzip's time of writing
    assert is_scored(first, {"vocals", "drums"}) and not is_scored(first, ["vocals"])
    first.write_bytes(data[:-12])
    assert not is_scored(first, {"vocals", "drums"})
    with pytest.raises(UsageError, match="is no museval JSON"):
        load_scores(tmp_path)


# Median of medians of SDR in dB, as the systems' authors published it.
PUBLISHED = {
    "OpenUnmix": {"vocals": 6.319, "drums": 5.731, "bass": 5.234, "other": 4.020, "mean": 5.326},
    "Demucs": {"vocals": 6.082, "drums": 6.245, "bass": 5.827, "other": 3.997, "mean": 5.538},
}


@pytest.mark.skipif("MUSEVAL_SCORES" not in os.environ, reason="MUSEVAL_SCORES is not set")
@pytest.mark.parametrize("system", PUBLISHED)
def test_published_scores(system):
    """Against the published figures, and against pandas on the files themselves."""
    folder = Path(os.environ["MUSEVAL_SCORES"]) / system
    table = aggregate(load_scores(folder))
    for row, value in PUBLISHED[system].items():
        assert table.loc[row, "SDR"] == pytest.approx(value, abs=1e-3)
        assert table.loc[row, "songs_total"] == 50
    rows = []
    for path in sorted(folder.rglob("*.json*")):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for target in json.loads(data)["targets"]:
            rows += [(path.name, target["name"], frame["metrics"]) for frame in target["frames"]]
    songs, stems, metrics = zip(*rows, strict=True)
    frames = pd.DataFrame(metrics).replace([INF, -INF], NAN).astype(float)
    medians = frames.groupby([pd.Series(stems), pd.Series(songs)]).median()
    expected = medians.groupby(level=0).median()
    for metric in METRICS:
        pd.testing.assert_series_equal(
            table[metric].drop("mean").sort_index(), expected[metric], check_names=False
        )
