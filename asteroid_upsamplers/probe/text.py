"""What a probe found, as text."""

from __future__ import annotations

from .recording import RecordingReport
from .results import ProbeReport

LOUDEST = 8
"""Tones that are shown of each list."""


def network_text(report: ProbeReport, name: str) -> str:
    """Three tables and a verdict."""
    shape = " x ".join(str(size) for size in report.input_shape)
    parts = [
        f"{name}: output at {report.sample_rate:g} Hz, input {shape}",
        "Upsampling layers, for a constant, from the weights:\n" + _aligned(layer_rows(report)),
        f"Silence in: {silence_words(report)}",
        _aligned(silence_rows(report)) if report.silence.rms else "",
        near_silence_words(report),
        noise_words(report),
        _aligned(noise_rows(report)),
        verdict(report),
        *(f"note: {remark}" for remark in report.remarks),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def layer_rows(report: ProbeReport) -> list[dict[str, str]]:
    """One row a layer."""
    rows = []
    for layer in report.layers:
        tones = [
            f"{hertz(tone['frequency_hz'])} ({level(tone['level_db'])})" for tone in layer.tones[:4]
        ]
        fraction = layer.tonal_fraction
        rows.append(
            {
                "layer": layer.name,
                "kind": layer.kind,
                "stride": str(layer.stride),
                "output rate": hertz(layer.output_rate_hz),
                "tonal": "unknown" if fraction is None else f"{100 * fraction:.1f} %",
                "tones (dB against its rms)": ", ".join(tones) or "none",
                "blame": "-" if layer.blame_db is None else f"{abs(layer.blame_db):.1f} dB",
            }
        )
    return rows


def silence_rows(report: ProbeReport) -> list[dict[str, str]]:
    """The loudest tones in silence."""
    return [
        {"frequency": hertz(tone["frequency_hz"]), "level": level(tone["level_db"])}
        for tone in report.silence.tones[:LOUDEST]
        if tone["level_db"] > -400
    ]


def noise_rows(report: ProbeReport) -> list[dict[str, str]]:
    """The most prominent tones in noise."""
    tones = report.noise.tones[:LOUDEST] if report.noise else []
    return [
        {"frequency": hertz(tone["frequency_hz"]), "prominence": level(tone["prominence_db"])}
        for tone in tones
    ]


def silence_words(report: ProbeReport) -> str:
    """Level and share in a sentence."""
    silence = report.silence
    if not silence.rms:
        return "exact silence out."
    return (
        f"{silence.rms_db:.1f} dB out (against 1, without its mean), "
        f"{100 * silence.share_at_predicted_tones:.1f} % of it at predicted tones. The loudest:"
    )


def near_silence_words(report: ProbeReport) -> str:
    """Level and share for very quiet noise."""
    found = report.near_silence
    share = 100 * found.share_at_predicted_tones
    return f"White noise of -80 dB in: {found.rms_db:.1f} dB out, {share:.1f} % at predicted tones."


def noise_words(report: ProbeReport) -> str:
    """What the next table is."""
    if report.noise is None:
        return ""
    return (
        f"White noise in: {report.noise.rms_db:.1f} dB out. Prominence over the floor around "
        f"(windows of {report.noise.n_fft} samples; noise alone exceeds "
        f"{report.noise.threshold_db:.1f} dB anywhere once in a thousand):"
    )


def verdict(report: ProbeReport) -> str:
    """Which layers to blame."""
    if report.blame:
        return f"To blame for tones in {report.blamed_for}: {', '.join(report.blame)}"
    if report.noise and report.noise.standing():
        return "Tones stand out in noise; no single layer is to blame."
    return "No tones to speak of."


def recording_text(report: RecordingReport, name: str) -> str:
    """Tones, the quiet windows, and remarks."""
    parts = [f"{name}: {report.seconds:.2f} s at {report.sample_rate} Hz, {report.rms_db:.1f} dB"]
    rows = recording_rows(report)
    if report.tones is not None:
        certain = [row for row in rows if row["tone"] == "yes"]
        rate = report.tones.false_alarm * len(report.tones.frequencies_hz)
        parts.append(
            f"Steady tones at multiples of the sample rate / stride ({rate:g} false alarms a "
            f"recording): {len(certain)} of {len(rows)}\n" + _aligned(rows)
        )
    if report.quiet is not None:
        quiet = report.quiet
        which = "silent" if quiet.silent else "quietest"
        parts.append(
            f"In its {quiet.windows} {which} windows of a second: {quiet.rms_db:.1f} dB, tones "
            f"{level(quiet.tones_db)} ({100 * quiet.share_at_tones:.1f} %)"
        )
    return "\n\n".join([*parts, *(f"note: {remark}" for remark in report.remarks)]) + "\n"


def recording_rows(report: RecordingReport) -> list[dict[str, str]]:
    """One row a frequency."""
    tones = report.tones
    if tones is None:
        return []
    columns = zip(
        tones.frequencies_hz,
        tones.levels_db,
        tones.over_floor_db,
        tones.p_values,
        tones.present,
        strict=True,
    )
    return [
        {
            "frequency": hertz(frequency),
            "level": level(tone),
            "over 1 Hz of floor": level(over),
            "p": f"{p:.2g}",
            "tone": "yes" if present else "no",
        }
        for frequency, tone, over, p, present in columns
    ]


def hertz(frequency: float) -> str:
    """With thousands apart from the rest."""
    return f"{frequency:,.1f} Hz".replace(".0 Hz", " Hz")


def level(decibels: float | None) -> str:
    """In dB; none below -300."""
    if decibels is None:
        return "unknown"
    return "none" if decibels < -300 else f"{decibels:.1f} dB"


def _aligned(rows: list[dict[str, str]]) -> str:
    """Columns of equal width, to the left."""
    if not rows:
        return ""
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "\n".join(line.rstrip() for line in padded)
