"""What a probe found, in words and tables, for the terminal and for a page."""

from __future__ import annotations

from ..artifacts.detection import Detection
from .recording import RecordingReport
from .results import ProbeReport
from .style import Page, Section

LOUDEST = 8
"""So many tones of each list are shown."""

NOTHING_DB = 300.0
"""What is so far below 1 is nothing."""

LAYERS = (
    "What each layer makes of a constant, computed from its weights: the share of the output's "
    "power that is tones, and the level of each against the rms. Attribution: by how much the "
    "tones in silence (or noise) fall if the layer's own are taken out of its output."
)


def describe_network(report: ProbeReport, name: str) -> Page:
    """The report of a network called ``name``."""
    silence, near, noise = report.silence, report.near_silence, report.noise
    given = f"Input: {silence.input}. "
    quiet = "Output: exact silence."
    if silence.rms:
        quiet = (
            f"Output: {silence.rms_db:.1f} dB (rms against 1, without the mean), of which "
            f"{percent(silence.share_at_predicted_tones)} is at frequencies of the layers' tones."
        )
    quiet = (
        given
        + quiet
        + (
            f" With white noise of -80 dB: {near.rms_db:.1f} dB, "
            f"{percent(near.share_at_predicted_tones)} at these frequencies."
        )
    )
    loud = "Unknown: the output is too short."
    if noise is not None:
        loud = (
            f"Output: {noise.rms_db:.1f} dB. Prominence: the level above the noise around it, in "
            f"windows of {noise.n_fft} samples. Without tones, one in a thousand outputs has a "
            f"value above {noise.threshold_db:.1f} dB."
        )
    audible = [tone for tone in silence.tones if tone["level_db"] > -400]
    return Page(
        f"Upsampling artifacts of {name}",
        [
            Section("Upsampling layers", LAYERS, _layer_rows(report)),
            Section("Silence as input", quiet, _tone_rows(audible, "level")),
            Section(
                "White noise as input", loud, _tone_rows(noise.tones if noise else [], "prominence")
            ),
        ],
        conclusion(report),
        f"Output at {report.sample_rate:g} Hz, input {' x '.join(map(str, report.input_shape))}.",
        report.remarks,
    )


def conclusion(report: ProbeReport) -> str:
    """Which layers the tones come from, in a sentence."""
    unseen = report.unseen_factor != 1
    unknown = report.noise is None or report.silence.unexplained
    if report.attributed_to:
        before = (
            "Partly unknown, see the notes. " if unknown or unseen or report.unattributed else ""
        )
        names = ", ".join(report.attributed_to)
        return f"{before}Tones in {report.attributed_tones} come from: {names}"
    if report.attributed_tones == "silence" or (report.noise and report.noise.standing()):
        notes = ", see the notes" if report.remarks else ""
        return f"Tones in {report.attributed_tones}; which layer they come from is unknown{notes}."
    if unknown:
        return "Unknown whether there are tones, see the notes."
    if unseen:
        return "No tones found, but part of the upsampling was not seen, see the notes."
    return "No tones found."


def describe_recording(report: RecordingReport, name: str) -> Page:
    """The report of a recording called ``name``."""
    sections = []
    found, quiet = report.tones, report.quiet
    if found is None:
        summary = report.remarks[-1]
    else:
        rows = _recording_rows(report, found)
        summary = recording_summary(report, found)
        text = (
            "At multiples of the sample rate / stride; without tones, "
            f"{found.false_alarm * len(rows):g} of all recordings show one."
        )
        sections.append(Section("Steady tones", text, rows))
    near = report.neighbours
    if near is not None:
        text = f"Of {near.frequencies} frequencies {near.shift_hz:.1f} Hz beside these, "
        loudest = f" (the loudest: {level(near.loudest_db)})" if near.present else ""
        text += (
            f"{near.present} have a steady tone{loudest}; the most that one is over 1 Hz of floor "
            f"there is {level(near.over_floor_db)}."
        )
        sections.append(Section("Control: beside these frequencies", text))
    if quiet is not None:
        which = "silent" if quiet.silent else "quietest"
        text = (
            f"In the {which} windows of a second ({quiet.windows}): {quiet.rms_db:.1f} dB, "
            f"of which tones {level(quiet.tones_db)} ({percent(quiet.share_at_tones)})."
        )
        sections.append(Section("Where it is quiet", text))
    title = f"Upsampling artifacts in {name}"
    text = f"{report.seconds:.2f} s at {report.sample_rate} Hz, {report.rms_db:.1f} dB."
    return Page(title, sections, summary, text, report.remarks)


def recording_summary(report: RecordingReport, found: Detection) -> str:
    """How many tones there are, and the loudest of those that count."""
    counted, more = found.present, ""
    words = f"Steady tones at {sum(counted)} of {len(counted)} frequencies"
    if report.reference is not None:
        counted = report.reference.stands_out
        words += f", {sum(counted)} of them stand out of the reference"
    places = [k for k, counts in enumerate(counted) if counts]
    if places:
        best = max(places, key=lambda k: found.levels_db[k])
        if report.reference is not None:
            more = f", {_excess(report.reference.excess_db[best])} above the reference"
        tone = f"{hertz(found.frequencies_hz[best])} at {level(found.levels_db[best])}{more}"
        words += f". The loudest{' of these' if report.reference else ''}: {tone}"
    return f"{words}."


def _excess(decibels: float) -> str:
    return "all of it" if decibels > NOTHING_DB else level(decibels)


def _recording_rows(report: RecordingReport, found: Detection) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for index, frequency in enumerate(found.frequencies_hz):
        row: dict[str, object] = {
            "frequency": hertz(frequency),
            "level": level(found.levels_db[index]),
            "over 1 Hz of floor": level(found.over_floor_db[index]),
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


def hertz(frequency: float) -> str:
    """With thousands apart from the rest."""
    return f"{frequency:,.1f} Hz".replace(".0 Hz", " Hz")


def level(decibels: float | None) -> str:
    """In dB; none below -300."""
    if decibels is None:
        return "unknown"
    return "none" if decibels < -NOTHING_DB else f"{decibels:.1f} dB".replace("-0.0 ", "0.0 ")


def percent(share: float | None) -> str:
    """A share from 0 to 1."""
    return "unknown" if share is None else f"{100 * share:.1f} %"


def _layer_rows(report: ProbeReport) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for layer in report.layers:
        tones = [f"{hertz(t['frequency_hz'])} ({level(t['level_db'])})" for t in layer.tones[:4]]
        attribution = "-" if layer.attribution_db is None else level(layer.attribution_db)
        rows.append(
            {
                "layer": layer.name,
                "kind": layer.kind,
                "stride": f"{layer.stride:g}",
                "output rate": hertz(layer.output_rate_hz),
                "tonal": percent(layer.tonal_fraction),
                "tones": ", ".join(tones) or "none",
                "attribution": attribution,
            }
        )
    return rows


def _tone_rows(tones: list[dict[str, float]], quantity: str) -> list[dict[str, str]]:
    return [
        {"frequency": hertz(tone["frequency_hz"]), quantity: level(tone[f"{quantity}_db"])}
        for tone in tones[:LOUDEST]
    ]
