"""Two models compared song by song: what a difference in a table is worth.

Songs differ far more than models do, so the scores of a song by two models are taken as a pair:
Wilcoxon's signed-rank test asks whether the differences lie about zero, and a bootstrap over the
songs gives the interval of their mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from .models import ScoredModel

LEAST_SONGS = 6
"""With fewer, no signed-rank test can give p < 0.05: of 5 songs the least is 2 / 2^5."""

MOST_MODELS_IN_ALL_PAIRS = 6
LEVEL = 0.05

TOO_FEW = "too few songs"
NOISE = "within noise"

COLUMNS = ["first", "second", "stem", "songs", "songs_either", "difference", "low", "high"]
COLUMNS += ["median_difference", "p", "p_holm", "verdict"]


def compare_models(models: Sequence[ScoredModel], seed: int = 0) -> pd.DataFrame:
    """Compare the SDR of models pair by pair.

    All pairs of up to six models; of more, each against the first. The mixture as its own estimate
    takes no part; a repaired model is compared with the one that it was made of.

    Args:
        models: Each with its songs' median SDR; of several seeds, the mean of these.
        seed: Of the bootstrap, for every pair anew.

    Returns:
        For each pair a row whose ``stem`` is ``mean``, on the songs' SDR averaged over the stems,
        and one a stem. Columns: ``first``, ``second``; ``songs`` that both have, of
        ``songs_either`` that one of them has; ``difference``, first minus second, mean over the
        songs, in dB; ``low`` and ``high``, its 95 % interval; ``median_difference``, which single
        songs do not move; ``p`` of the signed-rank test; ``p_holm``, corrected for the number of
        pairs (in rows of a stem: of pairs and stems); and ``verdict``. With fewer than six songs
        ``low``, ``high`` and both p are NaN.
    """
    compared = [model for model in models if not (model.is_baseline or model.is_repaired)]
    pairs = list(combinations(compared, 2))
    if len(compared) > MOST_MODELS_IN_ALL_PAIRS:
        pairs = [(compared[0], other) for other in compared[1:]]
    originals = {model.name: model for model in compared}
    repaired = [model for model in models if model.is_repaired]
    names = [model.name.removesuffix(", repaired") for model in repaired]
    found = zip(names, repaired, strict=True)
    pairs += [(originals[name], model) for name, model in found if name in originals]
    rows = [row for first, second in pairs for row in _pair_rows(first, second, seed)]
    table = pd.DataFrame(rows, columns=COLUMNS[:-2])
    of_stems = table["stem"] != "mean"
    table["p_holm"] = table.groupby(of_stems)["p"].transform(holm)
    table["verdict"] = [_verdict(row) for _, row in table.iterrows()]
    return table


def holm(p_values: pd.Series) -> pd.Series:
    """Holm's correction: the chance of any false alarm among all tests stays below the level.

    The k-th smallest of n is multiplied by n - k + 1, and is no smaller than those before it. NaN
    are no tests, and stay NaN.

    Example:
        >>> holm(pd.Series([0.04, 0.01, float("nan"), 0.03])).tolist()
        [0.06, 0.03, nan, 0.06]
    """
    rising = p_values.dropna().sort_values()
    corrected = rising * np.arange(len(rising), 0, -1)
    return corrected.cummax().clip(upper=1).reindex(p_values.index)


def compare_songs(differences: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Bootstrap and signed-rank test of paired differences, one a song, in dB.

    Returns:
        Ends of the 95 % interval of their mean, and p; NaN with fewer than six songs.
    """
    if len(differences) < LEAST_SONGS:
        return (float("nan"),) * 3
    if np.allclose(differences, differences[0]):  # no spread to resample
        low = high = float(differences[0])
    else:
        rng = np.random.default_rng(seed)
        found = stats.bootstrap((differences,), np.mean, confidence_level=0.95, random_state=rng)
        low, high = map(float, found.confidence_interval)
    p = stats.wilcoxon(differences).pvalue if differences.any() else 1.0
    return low, high, float(p)


def _pair_rows(first: ScoredModel, second: ScoredModel, seed: int) -> list[tuple[Any, ...]]:
    sdr = [model.songs.loc["SDR"].unstack("target") for model in (first, second)]
    both = sdr[0].sub(sdr[1])  # NaN where one has no such song, or no finite score of it
    either = len(both)
    both["mean"] = both[list(first.stems)].mean(axis=1, skipna=False)
    rows = []
    for stem in ("mean", *first.stems):
        found = both[stem].dropna()
        low, high, p = compare_songs(found.to_numpy(float), seed)
        row = (first.name, second.name, stem, len(found), either, found.mean(), low, high)
        rows.append((*row, found.median(), p))
    return rows


def _verdict(row: pd.Series) -> str:
    if row["songs"] < LEAST_SONGS:
        return TOO_FEW
    if row["p_holm"] >= LEVEL or row["low"] <= 0 <= row["high"]:
        return NOISE
    better = row["first"] if row["difference"] > 0 else row["second"]
    return f"{better} is better by {abs(row['difference']):.2f} dB"
