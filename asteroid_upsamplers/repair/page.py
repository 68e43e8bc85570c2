"""A repair and its verdict in words and tables, for the terminal and for a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..probe.pictures import heard as picture
from ..probe.style import Page, Section
from ..probe.text import level, percent
from .judge import Heard, Judge
from .report import RepairReport
from .search import Trial
from .songs import Paired
from .verdict import COSTS, SAFE, ToneChange, Verdict

SHOWN_SECONDS = 12
WHERE = {
    "silence": "silence as input",
    "near-silence": "silence and noise of -80 dB as input",
    "audio": "audio, where the output is quietest",
    "songs": "songs, where a source is silent",
    "noise": "white noise as input: above the noise around it",
}
TONES = (
    "Power of all tones that the layers predict, against 1; for white noise, how far the most "
    "prominent one stands out."
)
LAYERS = (
    "Tone: the loudest that the layer alone adds to a constant, against the rms of its output. "
    "Attribution: by how much the tones of the original network fall without those of this layer."
)
ADVICE = {
    SAFE: "",
    COSTS: "Repair fewer layers (--search finds which), or let the least change of the output "
    "decide (--method calibrated --audio FILES), or have the network learn its old output again "
    "(--method distil --audio FILES).",
}
LEARN = (
    "Have the repaired network learn its old output again: --method distil --audio FILES, on any "
    "unlabelled audio; or fine-tune it (train.py --init_from FILE, for models of the recipe)."
)


def describe(
    name: str, report: RepairReport, verdict: Verdict, trials: Sequence[Trial], audio: str
) -> Page:
    """The repair of a network called ``name``; ``audio`` is what was judged, in words."""
    sections = [
        Section("Layers", LAYERS, _layer_rows(report, verdict)),
        Section("Tones", TONES, [_tone_row(change) for change in verdict.tones]),
        Section("Change of the output", _changes(verdict)),
        Section("Songs", _songs_text(verdict), [_song_row(song) for song in verdict.songs]),
        Section("Tried", "", [_trial_row(trial) for trial in trials]),
    ]
    return Page(
        f"Repair of {name}",
        [section for section in sections if section.rows or section.text],
        summary(verdict),
        f"Method {report.method}, order {report.order}. Audio: {audio}.",
        [*report.warnings, *verdict.remarks],
        ADVICE.get(verdict.verdict, LEARN),
    )


def summary(verdict: Verdict) -> str:
    """The verdict in a sentence or two."""
    cost = f"costs about {verdict.cost_db:.2f} dB of SDR (estimated)"
    if verdict.judged_on == "songs":
        cost = f"changes the SDR by {-verdict.cost_db:+.3f} dB (measured)"
    if any(change.is_louder for change in verdict.tones):
        cost = "tones get louder"
    words = f"{verdict.verdict.capitalize()}: {cost}."
    shown = next((t for t in verdict.tones if t.before_db > t.least_db), None)
    if shown is None:
        return f"{words} There were no tones to take out."
    return (
        f"{words} Tones ({WHERE[shown.where]}): {level(shown.before_db)} before, "
        f"{level(shown.after_db)} after."
    )


def write_page(path: Path, page: Page, judge: Judge, after: Heard) -> None:
    """The page, with what both networks give for silence, audio and noise to see and to hear."""
    rate, sections = judge.sample_rate, []
    pairs: list[tuple[str, Tensor, Tensor]] = []
    if judge.before.outputs:
        time = round(SHOWN_SECONDS * rate)
        first, second = (torch.cat(ys, -1) for ys in (judge.before.outputs, after.outputs))
        pairs.append(("Audio", first[:, :time], second[:, :time]))
    if judge.before.report.silence.rms:
        pairs.append(("Silence", judge.before.signals.silence, after.signals.silence))
    pairs.append(("White noise", judge.before.signals.noise, after.signals.noise))
    marked = judge.frequencies
    for title, first, second in pairs:
        for when, signal in (("before", first), ("after", second)):
            sections.append(picture(f"{title}, {when} the repair", signal, rate, marked, first))
    page.write(path, sections)


def _layer_rows(report: RepairReport, verdict: Verdict) -> list[dict[str, object]]:
    attributed = {layer.name: layer.attribution_db for layer in verdict.layers}
    rows: list[dict[str, object]] = []
    for layer in report.layers:
        attribution = attributed.get(layer.name)
        rows.append(
            {
                "layer": layer.name,
                "kind": layer.kind or "-",
                "stride": layer.stride or "-",
                "change of weights": percent(layer.change),
                "tone before": "-" if layer.tone_db_before is None else level(layer.tone_db_before),
                "tone after": "-" if layer.tone_db_after is None else level(layer.tone_db_after),
                "attribution": "-" if attribution is None else level(attribution),
                "repair": layer.status + (f": {layer.remark}" if layer.remark else ""),
            }
        )
    return rows


def _tone_row(change: ToneChange) -> dict[str, object]:
    difference = f"{change.after_db - change.before_db:+.1f} dB"
    inaudible = max(change.before_db, change.after_db) < change.least_db
    return {
        "tones in": WHERE[change.where],
        "before": level(change.before_db),
        "after": level(change.after_db),
        "difference": "-" if inaudible else difference,
    }


def _changes(verdict: Verdict) -> str:
    on = "white noise" if verdict.judged_on == "noise" else "the audio"
    if verdict.snr_db >= 400:
        return f"For {on}, the output is the same."
    return (
        f"For {on}, steady tones left out: {verdict.snr_db:.1f} dB of the output against its "
        f"change (SNR); log-spectral distance {verdict.log_spectral_distance_db:.2f} dB."
    )


def _songs_text(verdict: Verdict) -> str:
    if verdict.sdr is None:
        return ""
    words = f"Mean change of SDR: {_paired(verdict.sdr, 3)}"
    if verdict.song_tones is not None:
        words += f"; of the tones where a source is silent: {_paired(verdict.song_tones, 1)}"
    return f"{words}. First 30 s of each song; SDR by BSS Eval v4."


def _paired(change: Paired, digits: int) -> str:
    words = f"{change.mean_db:+.{digits}f} dB over {change.songs} song(s)"
    if change.low_db is None:
        return f"{words} (an interval needs six)"
    return f"{words}, 95 % interval {change.low_db:+.{digits}f} to {change.high_db:+.{digits}f} dB"


def _song_row(song: dict) -> dict[str, object]:
    sdr = [song[f"sdr_{when}_db"] for when in ("before", "after")]
    known = None not in sdr
    return {
        "song": song["song"],
        "SDR before": f"{sdr[0]:.2f} dB" if sdr[0] is not None else "unknown",
        "SDR after": f"{sdr[1]:.2f} dB" if sdr[1] is not None else "unknown",
        "change": f"{sdr[1] - sdr[0]:+.3f} dB" if known else "unknown",
        "tones before": level(song["tones_before_db"]),
        "tones after": level(song["tones_after_db"]),
    }


def _trial_row(trial: Trial) -> dict[str, object]:
    verdict = trial.verdict
    return {
        "layers": ", ".join(trial.layers),
        "order": trial.order,
        "verdict": verdict.verdict,
        "cost": f"{max(0.0, verdict.cost_db):.2f} dB",
        "tones left": level(verdict.loudest_db),
    }
