"""The smallest set of layers, and the order, with which a repair takes most tones out safely."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tqdm import tqdm

from ..errors import UsageError
from .judge import Heard, Judge
from .report import RepairReport
from .verdict import SAFE, Verdict

MOST_SETS = 8
"""So many sets of layers are tried with each order, about."""


class Trial(NamedTuple):
    """What was tried: names of layers, and the order."""

    layers: list[str]
    order: int
    verdict: Verdict


class Best(NamedTuple):
    """The repair that was chosen, and how it sounds."""

    report: RepairReport
    verdict: Verdict
    heard: Heard


def search(
    judge: Judge,
    names: Sequence[str],
    repair: Callable[..., RepairReport],
    orders: Sequence[int] = (0, 1),
) -> tuple[Best, list[Trial]]:
    """Try growing sets of layers, those first that the tones come from.

    Of the repairs that are safe that one is best which leaves the least tones, to 1 dB; of several
    the one of fewest layers and lowest order. If none is safe, the one that costs least among those
    that lower the tones is.

    Args:
        judge: Has measured the original.
        names: Of the layers that can be repaired.
        repair: Repairs a copy of it, given ``layers`` and ``order``.
        orders: To be tried.

    Raises:
        UsageError: If no set of layers can be repaired.
    """
    ranked = _by_attribution(judge, names)
    counts = sorted({round(1 + k * (len(ranked) - 1) / MOST_SETS) for k in range(MOST_SETS + 1)})
    todo = [(ranked[:count], order) for order in orders for count in counts]
    trials: list[Trial] = []
    best: Best | None = None
    least: tuple[float, ...] = ()
    refused: UsageError | None = None
    show, judge.progress = judge.progress, False  # one bar, not one in another
    for layers, order in tqdm(todo, "search", disable=not show, delay=1):
        try:
            report = repair(layers=layers, order=order)
        except UsageError as error:  # such as of an order that a layer is too short for
            refused = error
            continue
        heard = judge.hear(report.network)
        trials.append(Trial(layers, order, judge.compare(heard)))
        badness = _badness(trials[-1])
        if best is None or badness < least:  # one network is kept, not all
            best, least = Best(report, trials[-1].verdict, heard), badness
    if best is None:
        raise refused or UsageError("nothing to repair")
    return best, trials


def _by_attribution(judge: Judge, names: Sequence[str]) -> list[str]:
    """Layers, those first without which the tones of the original fall most."""
    levels = {layer.name: layer.attribution_db or 0.0 for layer in judge.before.report.layers}
    return sorted(names, key=lambda name: -levels.get(name, 0.0))


def _badness(trial: Trial) -> tuple[float, ...]:
    verdict, size = trial.verdict, (len(trial.layers), trial.order)
    if verdict.verdict == SAFE:
        return 0, round(verdict.loudest_db), *size
    lower = any(change.is_lower for change in verdict.tones)
    return 1, float(not lower), verdict.cost_db, *size
