"""Models compared song by song: statistics against scipy, called directly."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from asteroid_upsamplers.data import SOURCES
from asteroid_upsamplers.report.song_by_song import compare_songs, holm

from .score_files import mean_row, pairs_of, songs, write_scores


@pytest.mark.parametrize(
    ("offset", "verdict"), [(-2.0, "b is better by 2."), (0.0, "within noise")]
)
def test_a_pair_is_what_scipy_says(tmp_path, offset, verdict):
    first, second = songs(1, 20, offset, 0.5), songs(2, 20, 0.0, 0.5)
    a = write_scores(tmp_path / "a", first)
    b = write_scores(tmp_path / "b", second, compress=True)
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
    assert pairs_of(a, b).equals(pairs)  # the bootstrap has a seed


def test_the_bootstrap_covers_as_often_as_it_says():
    """95 % of the intervals contain the true mean; 200 trials, four standard errors."""
    rng = np.random.default_rng(0)
    found = [compare_songs(rng.normal(0.3, 1.0, 50)) for _ in range(200)]
    hits = sum(low <= 0.3 <= high for low, high, _ in found)
    assert hits > 0.95 * 200 - 4 * np.sqrt(200 * 0.95 * 0.05)


def test_songs_without_spread_and_too_few():
    assert compare_songs(np.zeros(8)) == (0.0, 0.0, 1.0)
    assert compare_songs(np.full(8, 0.5)) == (0.5, 0.5, 2 / 2**8)
    assert np.isnan(compare_songs(np.ones(5))).all()


def test_holm():
    found = holm(pd.Series([0.01, 0.04, np.nan, 0.03, 0.005])).tolist()
    assert found == pytest.approx([0.03, 0.06, np.nan, 0.06, 0.02], nan_ok=True)
    assert holm(pd.Series([0.9, 0.8])).tolist() == [1.0, 1.0]


def test_holm_counts_pairs_and_stems_apart(tmp_path):
    pairs = pairs_of(*(write_scores(tmp_path / n, songs(k, 10)) for k, n in enumerate("abc")))
    for of_means, count in ((True, 3), (False, 12)):
        family = pairs[(pairs["stem"] == "mean") == of_means]
        least = family.loc[family["p"].idxmin()]
        assert least["p_holm"] == pytest.approx(min(1, count * least["p"]))


@pytest.mark.parametrize(("models", "pairs"), [(1, 0), (6, 15), (7, 6)])
def test_which_pairs(tmp_path, models, pairs):
    folders = [write_scores(tmp_path / f"s{k}", songs(k, 2)) for k in range(models)]
    write_scores(tmp_path / "mixture", songs(50, 2))
    table = pairs_of(*folders, tmp_path / "mixture")
    assert (table["stem"] == "mean").sum() == pairs
    assert "mixture" not in {*table["first"], *table["second"]}
    if models == 7:
        assert set(table["first"]) == {"s0"}


def test_only_common_songs_are_compared(tmp_path):
    """A song that one model lacks, and a stem of a song without a finite score, are left out."""
    first, second = songs(1, 10), songs(2, 10, start=3)
    first["song 3"][SOURCES.index("vocals")] = float("nan")
    a, b = write_scores(tmp_path / "a", first), write_scores(tmp_path / "b", second)
    pairs = pairs_of(a, b)
    counts = dict(zip(pairs["stem"], pairs["songs"], strict=True))
    assert counts == {"mean": 6, "drums": 7, "bass": 7, "other": 7, "vocals": 6}
    assert set(pairs["songs_either"]) == {13}
    common = [f"song {k}" for k in range(4, 10)]
    differences = [np.subtract(first[s], second[s]).mean() for s in common]
    assert mean_row(pairs)["difference"] == pytest.approx(np.mean(differences))
