"""What a probe of a recording found, in words and tables, for the terminal and for a page."""

from __future__ import annotations

from ..artifacts.detection import Detection
from .recording import RecordingReport
from .reference import Neighbours
from .style import Page, Section
from .text import NOTHING_DB, SCALE, hertz, level, percent


def describe_recording(report: RecordingReport, name: str) -> Page:
    """The report of a recording called ``name``."""
    found, quiet, near = report.tones, report.quiet, report.neighbours
    if found is None:
        summary, notes, sections = report.remarks[-1], report.remarks[:-1], []
    else:
        summary, notes = recording_summary(report, found), report.remarks
        rows = _recording_rows(report, found)
        text = (
            "At multiples of the sample rate over each stride. Level: of the tone, in the channel "
            "where it is loudest. Over the floor: against the power of all else within 1 Hz. p: "
            "how likely so steady a line is without a tone; below "
            f"{found.false_alarm:.1g} it is one, so that 1 in "
            f"{1 / (found.false_alarm * len(rows)):,.0f} recordings without tones shows one."
        )
        sections = [Section("Steady tones", text, rows)]
    if near is not None:
        sections.append(Section("Control: beside these frequencies", _control(near)))
    if quiet is not None:
        which = "silent" if quiet.silent else "quietest"
        text = (
            f"In the {which} windows of a second ({quiet.windows}): {level(quiet.rms_db)}, "
            f"of which tones {level(quiet.tones_db)} ({percent(quiet.share_at_tones)})."
        )
        sections.append(Section("Where it is quiet", text))
    title = f"Upsampling artifacts in {name}"
    text = (
        f"{report.seconds:.2f} s at {report.sample_rate} Hz, rms {level(report.rms_db)}. Levels: "
        f"{SCALE}; but for single tones averaged over the channels."
    )
    return Page(title, sections, summary, text, notes, _advice(report))


def _control(near: Neighbours) -> str:
    loudest = f" (the loudest: {level(near.loudest_db)})" if near.present else ""
    return (
        f"Of {near.frequencies} frequencies {near.shift_hz:.1f} Hz beside these, where no layer of "
        f"these strides makes tones, {near.present} have a steady tone{loudest}; the most that one "
        f"is over the floor there is {level(near.over_floor_db)}."
    )


def recording_summary(report: RecordingReport, found: Detection) -> str:
    """How many tones there are, the loudest of those that count, and whose they may be."""
    counted, more = found.present, ""
    words = f"Steady tones at {sum(counted)} of {len(counted)} frequencies"
    if report.reference is not None:
        counted = report.reference.stands_out
        words += f", {sum(counted)} of them above the reference"
    places = [k for k, counts in enumerate(counted) if counts]
    if places:
        best = max(places, key=lambda k: found.levels_db[k])
        if report.reference is not None:
            excess = report.reference.excess_db[best]
            more = ", by " + level(excess) if excess < NOTHING_DB else ", where that has nothing"
        tone = f"{hertz(found.frequencies_hz[best])} at {level(found.levels_db[best])}{more}"
        words += f". The loudest{' of these' if report.reference else ''}: {tone}"
    if places and report.reference is None:
        near = report.neighbours
        beside = "these lie too close for a control"
        if near is not None:
            beside = f"{near.present} of {near.frequencies} frequencies beside these have one, too"
        words += f". They are a network's, or steady lines of music ({beside})"
    return f"{words}."


def _advice(report: RecordingReport) -> str:
    if report.tones is None:
        return ""
    known = report.reference
    if not any(known.stands_out if known else report.tones.present):
        return ""
    first = "" if known else "Compare with what the network was given (--reference ORIGINAL). "
    return (
        f"{first}Probe the network that made the recording (asteroid-upsamplers probe MODEL): the "
        "report names the layer that makes the tones."
    )


def _excess(decibels: float) -> str:
    return "all of it" if decibels > NOTHING_DB else level(decibels)


def _recording_rows(report: RecordingReport, found: Detection) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for index, frequency in enumerate(found.frequencies_hz):
        row: dict[str, object] = {
            "frequency": hertz(frequency),
            "level": level(found.levels_db[index]),
            "over the floor": level(found.over_floor_db[index]),
            "p": f"{found.p_values[index]:.2g}",
            "tone": "yes" if found.present[index] else "no",
        }
        if report.reference is not None:
            row |= {
                "in the reference": level(report.reference.levels_db[index]),
                "above it": _excess(report.reference.excess_db[index]),
                "stands out": "yes" if report.reference.stands_out[index] else "no",
            }
        rows.append(row)
    return rows
