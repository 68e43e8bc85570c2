"""What a probe found, in words and tables, for the terminal and for a page."""

from __future__ import annotations

from dataclasses import dataclass

from .recording import RecordingReport
from .results import ProbeReport
from .style import Section

LOUDEST = 8
"""So many tones of each list are shown."""

LAYERS = (
    "What each layer makes of a constant, computed from its weights: the share of the output's "
    "power that is tones, and the level of each against the rms. Attribution: by how much the "
    "tones in silence (or noise) fall if the layer's own are taken out of its output."
)


@dataclass(frozen=True)
class Description:
    """A report for people: heading, conclusion, tables, and what to keep in mind."""

    title: str
    summary: str
    text: str
    sections: list[Section]
    notes: list[str]

    def __str__(self) -> str:
        tables = [f"{part.title}\n{part.text}\n{_aligned(part)}" for part in self.sections]
        notes = [f"note: {note}" for note in self.notes]
        parts = [f"{self.title}\n{self.text}", *tables, self.summary, *notes]
        return "\n\n".join(part.strip() for part in parts) + "\n"


def describe_network(report: ProbeReport, name: str) -> Description:
    """The report of a network called ``name``."""
    silence, near, noise = report.silence, report.near_silence, report.noise
    layers = [
        {
            "layer": layer.name,
            "kind": layer.kind,
            "stride": layer.stride,
            "output rate": hertz(layer.output_rate_hz),
            "tonal": percent(layer.tonal_fraction),
            "tones": ", ".join(
                f"{hertz(tone['frequency_hz'])} ({level(tone['level_db'])})"
                for tone in layer.tones[:4]
            )
            or "none",
            "attribution": "-" if layer.attribution_db is None else level(layer.attribution_db),
        }
        for layer in report.layers
    ]
    quiet = (
        "Output: exact silence."
        if not silence.rms
        else f"Output: {silence.rms_db:.1f} dB (rms against 1, without the mean), of which "
        f"{percent(silence.share_at_predicted_tones)} is at frequencies of the layers' tones."
    )
    quiet += (
        f" For white noise of -80 dB: {near.rms_db:.1f} dB, "
        f"{percent(near.share_at_predicted_tones)} at these frequencies."
    )
    loud = (
        "Unknown: the output is too short."
        if noise is None
        else f"Output: {noise.rms_db:.1f} dB. Prominence: the level above the noise around it, in "
        f"windows of {noise.n_fft} samples. Without tones, one in a thousand outputs has a value "
        f"above {noise.threshold_db:.1f} dB."
    )
    tones = [tone for tone in silence.tones[:LOUDEST] if tone["level_db"] > -400]
    standing = noise.tones[:LOUDEST] if noise else []
    return Description(
        f"Upsampling artifacts of {name}",
        conclusion(report),
        f"Output at {report.sample_rate:g} Hz, input {' x '.join(map(str, report.input_shape))}.",
        [
            Section("Upsampling layers", LAYERS, layers),
            Section("Silence as input", quiet, _rows(tones, "level")),
            Section("White noise as input", loud, _rows(standing, "prominence")),
        ],
        report.remarks,
    )


def conclusion(report: ProbeReport) -> str:
    """Which layers the tones come from, in a sentence."""
    unknown = report.noise is None or report.silence.unexplained
    if report.attributed_to:
        before = "Partly unknown, see the notes. " if unknown else ""
        names = ", ".join(report.attributed_to)
        return f"{before}Tones in {report.attributed_tones} come from: {names}"
    if unknown:
        return "Unknown whether there are tones, see the notes."
    if report.attributed_tones == "silence" or (report.noise and report.noise.standing()):
        return f"Tones in {report.attributed_tones}; which layer they come from is unknown."
    return "No tones found."


def describe_recording(report: RecordingReport, name: str) -> Description:
    """The report of a recording called ``name``."""
    sections = []
    if report.tones is None:
        summary = report.remarks[-1]
    else:
        found, count = report.tones, sum(report.tones.present)
        rows = [
            {
                "frequency": hertz(frequency),
                "level": level(found.levels_db[index]),
                "over 1 Hz of floor": level(found.over_floor_db[index]),
                "p": f"{found.p_values[index]:.2g}",
                "tone": "yes" if found.present[index] else "no",
            }
            for index, frequency in enumerate(found.frequencies_hz)
        ]
        summary = f"Steady tones at {count} of {len(rows)} frequencies"
        alarms = found.false_alarm * len(rows)
        text = (
            f"At multiples of the sample rate / stride; without tones, {alarms:g} of all "
            "recordings show one."
        )
        sections.append(Section("Steady tones", text, rows))
    if report.quiet is not None:
        quiet, which = report.quiet, "silent" if report.quiet.silent else "quietest"
        text = (
            f"In the {which} windows of a second ({quiet.windows}): {quiet.rms_db:.1f} dB, "
            f"of which tones {level(quiet.tones_db)} ({percent(quiet.share_at_tones)})."
        )
        sections.append(Section("Where it is quiet", text))
    title = f"Upsampling artifacts in {name}"
    text = f"{report.seconds:.2f} s at {report.sample_rate} Hz, {report.rms_db:.1f} dB."
    return Description(title, summary, text, sections, report.remarks)


def hertz(frequency: float) -> str:
    """With thousands apart from the rest."""
    return f"{frequency:,.1f} Hz".replace(".0 Hz", " Hz")


def level(decibels: float | None) -> str:
    """In dB; none below -300."""
    if decibels is None:
        return "unknown"
    return "none" if decibels < -300 else f"{decibels:.1f} dB".replace("-0.0 ", "0.0 ")


def percent(share: float | None) -> str:
    """A share from 0 to 1."""
    return "unknown" if share is None else f"{100 * share:.1f} %"


def _rows(tones: list[dict[str, float]], quantity: str) -> list[dict[str, str]]:
    key = f"{quantity}_db"
    return [{"frequency": hertz(t["frequency_hz"]), quantity: level(t[key])} for t in tones]


def _aligned(section: Section) -> str:
    """The table of a section in columns of equal width."""
    lines = [[name for name, _ in section.columns]]
    lines += [[str(cell) for cell in row.values()] for row in section.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    cells = [[cell.ljust(n) for cell, n in zip(line, widths, strict=True)] for line in lines]
    return "\n".join("  ".join(line).rstrip() for line in cells)
