"""What a probe of a network found, in words and tables, for the terminal and for a page."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .kinds import UNKNOWN
from .results import AUDIBLE_DB, LEAST_PROMINENCE_DB, ProbeReport, audible_in_silence
from .style import Page, Section
from .targets import is_onnx

UNSEEN = "a step that was not seen"
NAMED = 4
"""So many layers are named in a sentence."""

LOUDEST = 8
"""So many tones of each list are shown."""

NOTHING_DB = 300.0
"""What is so far below 1 is nothing."""

LAYERS = (
    "What each layer makes of a constant, computed from its weights: the share of the output's "
    "power that is tones, and the level of each against the rms of that output. Attribution: by "
    "how much the tones in silence (or noise) fall if the layer's own are taken out of its output."
)
SCALE = "power in dB against 1, so that a sinusoid of full scale has -3.0 dB"
LEVELS = f"Levels, but those of layers: {SCALE}, averaged over the channels, without the mean."

GROUPED = (
    " Anti-aliased activations, which raise the rate around a nonlinearity and lower it again, "
    "share a row: names with * stand for as many layers as the number after them says; the tones "
    "are those of the worst, the attribution is that of all of them together."
)


def describe_network(report: ProbeReport, name: str) -> Page:
    """The report of a network called ``name``."""
    silence, near, noise = report.silence, report.near_silence, report.noise
    given = f"Input: {silence.input}. "
    quiet = "Output: exact silence."
    if silence.rms:
        quiet = (
            f"Output: {silence.rms_db:.1f} dB, of which "
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
    loud, prominent = "Unknown: the output is too short.", []
    if noise is not None:
        least = max(noise.threshold_db, LEAST_PROMINENCE_DB)
        loud = (
            f"Output: {noise.rms_db:.1f} dB. Prominence: the level above the noise around it, in "
            f"windows of {noise.n_fft} samples. A tone stands out by more than {least:.1f} dB, of "
            "what is right beside it, too."
        )
        prominent = sorted(noise.tones, key=lambda tone: not tone["present"])
    audible = [tone for tone in silence.tones if tone["level_db"] > AUDIBLE_DB]
    if silence.rms and not audible:
        quiet += f" No tone is above {AUDIBLE_DB:g} dB, as loud as could be heard."
    layers = LAYERS + (GROUPED if any("*" in layer.group for layer in report.layers) else "")
    return Page(
        f"Upsampling artifacts of {name}",
        [
            Section("Upsampling layers", layers, _layer_rows(report)),
            Section("Silence as input", quiet, _tone_rows(audible, "level")),
            Section("White noise as input", loud, _tone_rows(prominent, "prominence")),
        ],
        conclusion(report),
        f"Output at {report.sample_rate:g} Hz, input {' x '.join(map(str, report.input_shape))}. "
        + LEVELS,
        report.remarks,
        _advice(report, name),
    )


def conclusion(report: ProbeReport) -> str:
    """Which layers the tones come from, and which is the loudest, in a sentence."""
    unseen = report.unseen_factor != 1
    unknown = report.noise is None or report.silence.unexplained
    if report.attributed_to:
        partly = unknown or unseen or report.unattributed
        after = " Partly unknown, see the notes." if partly else ""
        more = len(report.attributed_to) - NAMED
        named = [UNSEEN if name == UNKNOWN else name for name in report.attributed_to[:NAMED]]
        names = ", ".join(named) + (f" and {more} more" if more > 0 else "")
        tones = f"Tones in {report.attributed_tones} come from: {names}{_loudest(report)}."
        return tones + after
    if report.attributed_tones == "silence" or (report.noise and report.noise.present):
        notes = ", see the notes" if report.remarks else ""
        tones = f"Tones in {report.attributed_tones}{_loudest(report)}"
        return f"{tones}; which layer they come from is unknown{notes}."
    if unknown:
        return "Unknown whether there are tones, see the notes."
    if unseen:
        return "No tones found, but part of the upsampling was not seen, see the notes."
    return "No tones found."


def _loudest(report: ProbeReport) -> str:
    """A clause about the loudest tone of those that are attributed."""
    if report.attributed_tones == "silence" and report.silence.tones:
        tone = report.silence.tones[0]
        unheard = "" if audible_in_silence(report) else ", too soft to be heard"
        at = f"{hertz(tone['frequency_hz'])} at {level(tone['level_db'])}"
        return f"; the loudest is {at}{unheard}"
    if report.noise and report.noise.present:
        tone = report.noise.present[0]
        above = f"{level(tone['prominence_db'])} above the noise around it"
        return f"; the most prominent is {hertz(tone['frequency_hz'])}, {above}"
    return ""


def _advice(report: ProbeReport, name: str) -> str:
    """What to do about the tones of the network called ``name``."""
    if not (audible_in_silence(report) or (report.noise and report.noise.present)):
        return ""
    seen = {layer.name: layer for layer in report.layers if layer.kind != UNKNOWN}
    seen |= {layer.group: layer for layer in report.layers if layer.group}
    worst = next((seen[name] for name in report.attributed_to if name in seen), None)
    if worst is not None and "*" in worst.group:
        return (
            f"Give the activations {worst.group} an upsampling filter whose phases have equal "
            "sums: divide the taps of each phase by their sum."
        )
    if worst is not None:
        return (
            f"Give {worst.group or worst.name} ({worst.kind}, stride {worst.stride:g}) another "
            "upsampler, such as nearest or linear, and fine-tune the network. "
            "swap_decoder(model, 'nearest') does so for a trained encoder/masker/decoder model of "
            "Asteroid, with_upsampler(its class) for a new one; "
            f"layers.make('nearest', in_channels, out_channels, {worst.stride:g}) makes "
            f"a layer for any network. Or {_repair(name)}"
        )
    return (
        "Look for what makes the signal longer without a layer that was seen, such as a loop, "
        "or code outside of torch: that is where these tones come from."
    )


def _repair(name: str) -> str:
    which = "torch network that was exported" if is_onnx(name) else "network"
    target = "NETWORK" if is_onnx(name) else name
    return (
        f"take the tones out of the trained weights of the {which}, and see what that costs: "
        f"asteroid-upsamplers repair {target} -o OUT"
    )


def hertz(frequency: float) -> str:
    """With thousands apart from the rest."""
    return f"{frequency:,.1f} Hz".replace(".0 Hz", " Hz")


def level(decibels: float | None) -> str:
    """In dB; none below -300, infinite above 300."""
    if decibels is None:
        return "unknown"
    if decibels > NOTHING_DB:
        return "infinite"
    return "none" if decibels < -NOTHING_DB else f"{decibels:.1f} dB".replace("-0.0 ", "0.0 ")


def percent(share: float | None) -> str:
    """A share from 0 to 1."""
    return "unknown" if share is None else f"{100 * share:.1f} %"


def _layer_rows(report: ProbeReport) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    groups = Counter(layer.group or layer.name for layer in report.layers)
    for name, count in groups.items():
        alike = [layer for layer in report.layers if (layer.group or layer.name) == name]
        layer = max(alike, key=lambda one: one.tonal_fraction or 0.0)
        rates = sorted({one.output_rate_hz for one in alike})
        tones = [
            f"{hertz(t['frequency_hz'])} ({level(t['level_db'])})"
            for t in layer.tones
            if t["level_db"] is None or t["level_db"] > -NOTHING_DB
        ]
        attribution = "-" if layer.attribution_db is None else level(layer.attribution_db)
        rows.append(
            {
                "layer": name if count == 1 else f"{name} ({count})",
                "kind": layer.kind,
                "stride": f"{layer.stride:g}",
                "output rate": " to ".join(dict.fromkeys((hertz(rates[0]), hertz(rates[-1])))),
                "tonal": percent(layer.tonal_fraction),
                "tones": ", ".join(tones[:NAMED]) + ", ..." * (len(tones) > NAMED) or "none",
                "attribution": attribution,
            }
        )
    return rows


def _tone_rows(tones: list[dict[str, Any]], quantity: str) -> list[dict[str, str]]:
    return [
        {"frequency": hertz(tone["frequency_hz"]), quantity: level(tone[f"{quantity}_db"])}
        | ({"tone": "yes" if tone["present"] else "no"} if "present" in tone else {})
        for tone in tones[:LOUDEST]
    ]
