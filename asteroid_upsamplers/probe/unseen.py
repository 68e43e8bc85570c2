"""What of a network's upsampling was not seen, and what a report says of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .calls import UpsamplingCall
from .feed import DRAWS, Feed
from .grid import ToneGrid
from .growth import spectra
from .kinds import UNKNOWN
from .lengths import Lengths
from .results import ProbeReport

DOUBTFUL = 0.2
"""The growth by lengths and the speed of a change differ by no more than this share."""

TOLERANCE = 1.5
"""Lengths are rounded: strides that multiply to less than so many times the growth are missing."""


def unseen_factor(feed: Feed, calls: Sequence[UpsamplingCall]) -> float | None:
    """By how much the signal grew where no layer was seen; 1 if all was seen.

    It is what is missing between the product of the strides and the growth from the slowest signal
    in the network to its output. Of a network that takes inputs of one length only, just the growth
    from input to output is known, so that 1 would not mean that all was seen: then it is ``None``.
    """
    unknown = math.prod(call.stride for call in calls if call.kind == UNKNOWN)
    seen = math.prod(call.stride for call in calls)
    if feed.shorter is None:
        missing = (feed.factor or 0) / seen
        return float(round(missing)) if missing > TOLERANCE else None
    missing = _growth(feed) / seen
    return float(unknown * (round(missing) if missing > TOLERANCE else 1))


def _growth(feed: Feed) -> float:
    """From the slowest signal on the way to the output."""
    lengths = Lengths(feed.trace, feed.shorter or feed.trace)
    used = lengths.used(feed.made_by) - spectra(lengths)
    changes = [time.change for k in used if (time := lengths.output(k)) is not None]
    return feed.change / (min(changes, default=feed.change) + 1)


def remarks_on(report: ProbeReport, feed: Feed, grid: ToneGrid, coarse: ToneGrid) -> list[str]:
    """What could not be measured, and why."""
    return [
        *getattr(feed.network, "remarks", []),
        *_on_growth(report, feed, grid),
        *_on_lengths(report, grid, coarse, feed),
    ]


def _on_growth(report: ProbeReport, feed: Feed, grid: ToneGrid) -> list[str]:
    remarks = []
    looked = f"tones were looked for at multiples of {grid.spacing:g} Hz"
    if feed.unwatched:
        remarks.append(
            "the network's operations could not be watched, so that no layer is seen: it runs, but "
            f"not step by step ({feed.unwatched})"
        )
    if feed.varies:
        remarks.append(
            "the output's length depends on what the input is, not on its length alone, so it is "
            f"unknown what gets longer in the network; {looked}"
        )
    elif report.unseen_factor is None:
        remarks.append(
            "the network takes inputs of one length only, so it is unknown whether it upsamples in "
            f"other ways, too; {looked}"
        )
    elif report.unseen_factor > 1:
        remarks.append(
            f"part of the upsampling was not seen: the signal gets {report.unseen_factor:g} times "
            f"longer in a way that is unknown; {looked}"
        )
    if feed.speed and feed.factor and abs(feed.speed / feed.factor - 1) > DOUBTFUL:
        remarks.append(
            f"the output gets {feed.factor:g} samples longer for each frame of input, but a change "
            f"in one frame moves by {feed.speed:g} samples a frame: the total factor is uncertain"
        )
    if report.unattributed:
        share = min(report.unattributed_share or 0, 1)
        remarks.append(
            f"{100 * share:.0f} % of the tones' power stays if those "
            "of all layers above are taken out: what makes them is unknown"
        )
    if feed.audio.alike:
        others = ", ".join(feed.audio.alike)
        remarks.append(
            f"of several outputs of the same length {feed.audio.name} is taken, and not {others} "
            "(--output takes another)"
        )
    if feed.random:
        remarks.append(
            f"the network draws random numbers: powers are averaged over {DRAWS} outputs, and the "
            "noise that it makes hides softer tones"
        )
    return remarks


def _on_lengths(report: ProbeReport, grid: ToneGrid, coarse: ToneGrid, feed: Feed) -> list[str]:
    remarks, time = [], feed.output.shape[-1]
    if coarse.period < grid.period:
        remarks.append(
            f"the output has {time} samples, too few for the tones of the first layers: in silence "
            f"only multiples of {coarse.spacing:g} Hz were looked at (pass a longer input_shape)"
        )
    elif report.silence.unexplained and not feed.random:
        remarks.append(
            "most of the output for silence is at other frequencies than multiples of "
            f"{grid.spacing:g} Hz: what makes it is unknown"
        )
    if report.noise is None:
        remarks.append(
            f"the output has {time} samples, too few to see tones in noise (pass a longer "
            "input_shape)"
        )
    return remarks
