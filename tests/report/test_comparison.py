"""Systems compared song by song: statistics against scipy, called directly."""

import numpy as np
import pytest
from scipy import stats

from asteroid_upsamplers.data import SOURCES
from asteroid_upsamplers.report import write_report
from asteroid_upsamplers.report.song_by_song import compare_songs, holm

from .score_files import mean_row, pairs_of, songs, write_system


@pytest.mark.parametrize(
    ("offset", "verdict"),
    [(2.0, "a is better by"), (-2.0, "b is better by"), (0.0, "within noise")],
)
def test_a_pair_is_what_scipy_says(tmp_path, offset, verdict):
    first, second = songs(1, 20, offset, 0.5), songs(2, 20, 0.0, 0.5)
    a = write_system(tmp_path / "a", first)
    b = write_system(tmp_path / "b", second, compress=True)
    pairs = pairs_of(a, b)
    assert list(pairs["stem"]) == ["mean", *SOURCES]
    all_differences = np.array([first[s] for s in first]) - np.array([second[s] for s in first])
    for (_, row), differences in zip(
        pairs.iterrows(), [all_differences.mean(1), *all_differences.T], strict=True
    ):
        assert row["difference"] == pytest.approx(differences.mean())
        assert row["median_difference"] == pytest.approx(np.median(differences))
        assert row["p"] == pytest.approx(stats.wilcoxon(differences).pvalue)
        other = stats.bootstrap((differences,), np.mean, rng=np.random.default_rng(5))
        width = other.confidence_interval.high - other.confidence_interval.low
        assert row["low"] == pytest.approx(other.confidence_interval.low, abs=0.1 * width)
        assert row["high"] == pytest.approx(other.confidence_interval.high, abs=0.1 * width)
    assert mean_row(pairs)["verdict"].startswith(verdict)
    assert pairs_of(a, b).equals(pairs)


def test_the_bootstrap_covers_as_it_says():
    """Nineteen of twenty intervals hold the true mean; 300 trials, four standard errors."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        low, high, _ = compare_songs(rng.normal(0.3, 1.0, 50))
        hits += low <= 0.3 <= high
    assert 0.95 * 300 - 4 * np.sqrt(300 * 0.95 * 0.05) < hits


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        (np.zeros(8), (0.0, 0.0, 1.0)),
        (np.full(8, 0.5), (0.5, 0.5, 2 / 2**8)),
        (np.ones(5), (np.nan,) * 3),
        (np.ones(0), (np.nan,) * 3),
    ],
)
def test_songs_without_spread_and_too_few(differences, expected):
    assert compare_songs(differences) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        ([0.01], [0.01]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.9, 0.8], [1.0, 1.0]),
        ([np.nan, 0.02], [np.nan, 0.02]),
        ([], []),
    ],
)
def test_holm(p_values, corrected):
    assert holm(np.array(p_values)).tolist() == pytest.approx(corrected, nan_ok=True)


def test_holm_counts_pairs_and_stems_apart(tmp_path):
    pairs = pairs_of(*(write_system(tmp_path / n, songs(k, 10)) for k, n in enumerate("abc")))
    of_means = pairs["stem"] == "mean"
    for family, count in ((of_means, 3), (~of_means, 12)):
        least = pairs[family]["p"].argmin()
        expected = min(1, count * pairs[family]["p"].iloc[least])
        assert pairs[family]["p_holm"].iloc[least] == pytest.approx(expected)


@pytest.mark.parametrize(("systems", "pairs"), [(1, 0), (2, 1), (6, 15), (7, 6)])
def test_which_pairs(tmp_path, systems, pairs):
    folders = [write_system(tmp_path / f"s{k}", songs(k, 2)) for k in range(systems)]
    write_system(tmp_path / "mixture", songs(50, 2))
    table = pairs_of(*folders, tmp_path / "mixture")
    assert (table["stem"] == "mean").sum() == pairs
    assert "mixture" not in {*table["first"], *table["second"]}
    if systems == 7:
        assert set(table["first"]) == {"s0"}


def test_only_common_songs_are_compared_and_counted(tmp_path):
    first, second = songs(1, 10), songs(2, 10, start=3)
    a, b = write_system(tmp_path / "a", first), write_system(tmp_path / "b", second)
    row = mean_row(pairs_of(a, b))
    common = [song for song in first if song in second]
    assert (row["songs"], row["songs_either"]) == (len(common), 13) == (7, 13)
    differences = np.array([np.subtract(first[s], second[s]).mean() for s in common])
    assert row["difference"] == pytest.approx(differences.mean())
    written = write_report([a, b], tmp_path / "report")
    assert "| a | b | 7 of 13 |" in written["md"].read_text()


@pytest.mark.parametrize(("count", "verdict"), [(5, "too few songs"), (6, "a is better by 9.0")])
def test_six_songs_are_the_least(tmp_path, count, verdict):
    low = songs(1, count, spread=0.01)
    high = {song: [v + 9 for v in values] for song, values in songs(2, count, 0, 0.01).items()}
    row = mean_row(pairs_of(write_system(tmp_path / "a", high), write_system(tmp_path / "b", low)))
    assert row["verdict"].startswith(verdict)
    assert np.isnan(row["p"]) == (count < 6)


def test_a_stem_without_a_score_leaves_the_song_out(tmp_path):
    first, second = songs(1, 8), songs(2, 8)
    first["song 0"][SOURCES.index("vocals")] = float("nan")
    pairs = pairs_of(write_system(tmp_path / "a", first), write_system(tmp_path / "b", second))
    assert dict(zip(pairs["stem"], pairs["songs"], strict=True)) == {
        **dict.fromkeys(SOURCES, 8),
        "vocals": 7,
        "mean": 7,
    }
