"""How two reports of a network differ: which levels rose, fell, came and went."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..artifacts.result import Result
from .results import AUDIBLE_DB, LEAST_PROMINENCE_DB
from .text import hertz, level

SHOWN = 20
"""Lines of each kind in a text; JSON has all."""


class Tone(NamedTuple):
    """What is compared: its place, and its frequency in Hz; ``None`` for all frequencies."""

    place: str
    frequency_hz: float | None = None


@dataclass(frozen=True)
class Difference(Result):
    """A level that is not as it was.

    Args:
        place: ``"silence"``, ``"noise"`` or ``"layer NAME"``.
        frequency_hz: Of the tone; ``None`` for the place as a whole.
        source: Name of the layer that makes it; ``None`` if that is unknown.
        before_db: In the baseline; ``None`` if it was not there, or unknown.
        now_db: Now; ``None`` if it is gone, or unknown.
        remark: What changed, if no level did.
    """

    place: str
    frequency_hz: float | None
    source: str | None
    before_db: float | None
    now_db: float | None
    remark: str = ""

    def __str__(self) -> str:
        if self.remark:
            return f"{self.place}: {self.remark}"
        tone = "all of it" if self.frequency_hz is None else f"tone at {hertz(self.frequency_hz)}"
        known = self.source is not None and self.place in ("silence", "noise")
        made = f" (layer {self.source})" if known else ""
        now = level(self.now_db)
        before = "not there" if self.before_db is None else level(self.before_db)
        return f"{self.place}: {tone}{made}: {now}, was {before}"


@dataclass(frozen=True)
class Comparison(Result):
    """A report against a baseline: what is worse and what is better, the largest change first.

    Layers that are called otherwise, but are of the same kinds, strides and rates in the same
    order, are ``renamed``.
    """

    regressions: list[Difference]
    improvements: list[Difference]
    renamed: dict[str, str] = field(default_factory=dict)

    def text(self, against: str) -> str:
        """A line for each, and one in the end."""
        lines = [f"renamed: layer {old} is now {new}" for old, new in self.renamed.items()]
        for kind, found in (("regression", self.regressions), ("improvement", self.improvements)):
            lines += [f"{kind}: {difference}" for difference in found[:SHOWN]]
            if len(found) > SHOWN:
                lines.append(f"{kind}: and {len(found) - SHOWN} more (--json has all)")
        if not self.regressions:
            lines.append(f"no regressions against {against}")
        return "\n".join(lines) + "\n"


def compare(before: dict[str, Any], now: dict[str, Any], tolerance: float) -> Comparison:
    """Two reports as dictionaries.

    A level has to exceed the one before, and what can be heard at all (-100 dB in silence and
    against a constant; in noise the threshold), by more than the tolerance.
    """
    renamed = _renamed(before["layers"], now["layers"])
    before = {**before, "layers": [_called(layer, renamed) for layer in before["layers"]]}
    old, new = levels_of(before), levels_of(now)
    floors = {
        place: max(floor_of(place, before), floor_of(place, now)) for place, _ in {**old, **new}
    }
    worse, better = _layers_that_changed(before, now)
    skipped = {difference.place for difference in (*worse, *better)}
    skipped |= {"noise"} if before["noise"] is None else set()
    for tone, value in new.items():
        floor = floors[tone.place]
        was = old.get(tone)
        if tone.place in skipped or (tone in old and was is None):
            continue
        if value is None:
            if was is not None:
                worse.append(_difference(tone, was, None, now, "its tones are unknown now"))
        elif value > max(floor, -400 if was is None else was) + tolerance:
            worse.append(_difference(tone, was, value, now))
        elif was is not None and was > max(floor, value) + tolerance:
            better.append(_difference(tone, was, value, before))
    if known(before["unseen_factor"]) < known(now["unseen_factor"]):
        worse.append(Difference("network", None, None, None, None, "more upsampling is not seen"))
    if before["noise"] is not None and now["noise"] is None:
        worse.append(Difference("noise", None, None, None, None, "its tones are unknown now"))
    worse, better = (sorted(found, key=_size, reverse=True) for found in (worse, better))
    return Comparison(worse, better, renamed)


def _renamed(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> dict[str, str]:
    """From old names to new ones."""
    old, new = ({layer["name"] for layer in layers} for layers in (before, now))
    gone = [layer for layer in before if layer["name"] not in new]
    came = [layer for layer in now if layer["name"] not in old]
    alike = [[(x["kind"], x["stride"], x["output_rate_hz"]) for x in some] for some in (gone, came)]
    if alike[0] != alike[1]:
        return {}
    return {was["name"]: one["name"] for was, one in zip(gone, came, strict=True)}


def _called(layer: dict[str, Any], renamed: dict[str, str]) -> dict[str, Any]:
    return {**layer, "name": renamed.get(layer["name"], layer["name"])}


def source_of(report: dict[str, Any], frequency_hz: float) -> str | None:
    """The layer that a tone comes from: of those that can make it, the one attributed most."""
    makers = []
    for layer in report["layers"]:
        spacing = layer["output_rate_hz"] / layer["stride"]
        own, image = frequency_hz / spacing, frequency_hz / layer["output_rate_hz"]
        if abs(own - round(own)) < 1e-6 < abs(image - round(image)):
            makers.append((layer["attribution_db"] or 0.0, layer["name"]))
    return max(makers)[1] if makers else None


def _layer_names(report: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """As the place of a tone; a layer that runs several times has several."""
    seen: Counter[str] = Counter()
    for layer in report["layers"]:
        seen[layer["name"]] += 1
        count = seen[layer["name"]]
        yield f"layer {layer['name']}" + (f" (call {count})" if count > 1 else ""), layer


def levels_of(report: dict[str, Any]) -> dict[Tone, float | None]:
    """In dB; raises one of :data:`NO_REPORT` if it is none."""
    found: dict[Tone, float | None] = {Tone("silence"): _number(report["silence"]["rms_db"])}
    lists = [("silence", "level_db", report["silence"]["tones"])]
    if report["noise"] is not None:
        lists.append(("noise", "prominence_db", report["noise"]["tones"]))
    for place, layer in _layer_names(report):
        lists.append((place, "level_db", layer["tones"]))
        _number(layer["output_rate_hz"]) / _number(layer["stride"]), layer["kind"]
        _number(layer["attribution_db"] or 0)
    for place, quantity, tones in lists:
        for tone in tones:
            value = None if tone[quantity] is None else _number(tone[quantity])
            if value is not None and not tone.get("present", True):
                value = min(value, 0.0)  # a hill of the spectrum
            found[Tone(place, round(_number(tone["frequency_hz"]), 3))] = value
    return found


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def floor_of(place: str, report: dict[str, Any]) -> float:
    """What can be heard at a place at all."""
    if place != "noise":
        return AUDIBLE_DB
    noise = report["noise"]
    return max(LEAST_PROMINENCE_DB, _number(noise["threshold_db"]) if noise else 0.0)


def _layers_that_changed(
    before: dict[str, Any], now: dict[str, Any]
) -> tuple[list[Difference], list[Difference]]:
    old, new = dict(_layer_names(before)), dict(_layer_names(now))
    worse = [
        Difference(place, None, None, None, None, f"is new ({layer['kind']} x{layer['stride']:g})")
        for place, layer in new.items()
        if place not in old
    ]
    gone = [Difference(p, None, None, None, None, "is gone") for p in old if p not in new]
    return worse, gone


def _difference(
    tone: Tone, before: float | None, now: float | None, report: dict[str, Any], remark: str = ""
) -> Difference:
    source = None if tone.frequency_hz is None else source_of(report, tone.frequency_hz)
    return Difference(tone.place, tone.frequency_hz, source, before, now, remark)


def _size(difference: Difference) -> float:
    if difference.remark:
        return math.inf
    lowest = AUDIBLE_DB
    before, now = (lowest if v is None else v for v in (difference.before_db, difference.now_db))
    return abs(max(now, lowest) - max(before, lowest))


def known(factor: float | None) -> float:
    """Unknown is more than any factor."""
    return math.inf if factor is None else _number(factor)
