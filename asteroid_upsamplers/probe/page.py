"""What a probe found, as one self-contained page with pictures and sound."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import matplotlib.pyplot as plt
import numpy as np
import soundfile
from matplotlib.figure import Figure
from torch import Tensor

from ..artifacts import filtering_of_signal
from ..files import whole_or_nothing
from . import text as words
from .recording import RecordingReport
from .results import ProbeReport, ProbeSignals

MARKED = 64
"""Tones that are marked in a picture: the loudest."""

HEARD_PEAK = 0.5
LEAST_FOR_RESPONSE = 4096


def write_network_page(path: Path, report: ProbeReport, signals: ProbeSignals, name: str) -> Path:
    """Write the page of a network.

    Args:
        path: Of the page.
        report: What was found.
        signals: What the network gave.
        name: Of the target, for the heading.
    """
    rate = report.sample_rate
    silent = [t["frequency_hz"] for t in report.silence.tones if t["level_db"] > -300][:MARKED]
    standing = report.noise.standing()[:MARKED] if report.noise else []
    predicted = "Red marks at the right border are the predicted tones that are there."
    figures = []
    if report.silence.rms:
        figures.append(_picture("Silence in", signals.silence, rate, silent, predicted))
    figures.append(_picture("White noise in", signals.noise, rate, standing, predicted))
    figures.append(_responses(report, signals))
    sounds = [_sound("White noise in", signals.noise, rate)]
    if report.silence.rms:
        sounds.insert(0, _sound("Silence in", signals.silence, rate))
    tables = [
        {
            "title": "Upsampling layers",
            "rows": words.layer_rows(report),
            "words": "What each makes of a constant, from its weights: the share of the output "
            "that is tones, and their levels. Blame: by how much the tones in silence (or noise) "
            "fall if this layer makes none.",
        },
        {
            "title": "Silence in",
            "rows": words.silence_rows(report),
            "words": f"{words.silence_words(report)} {words.near_silence_words(report)}",
        },
        {
            "title": "White noise in",
            "rows": words.noise_rows(report),
            "words": words.noise_words(report),
        },
    ]
    return _write(
        path,
        title=f"Upsampling artifacts of {name}",
        verdict=words.verdict(report),
        summary=f"Output at {rate:g} Hz; input {' x '.join(map(str, report.input_shape))}.",
        tables=tables,
        figures=figures,
        sounds=sounds,
        notes=report.remarks,
    )


def write_recording_page(path: Path, report: RecordingReport, signal: Tensor, name: str) -> Path:
    """Write the page of a recording, ``signal`` of shape ``(channels, time)``."""
    rows = words.recording_rows(report)
    present = [row for row in rows if row["tone"] == "yes"]
    tones = report.tones
    marked = []
    if tones is not None:
        pairs = zip(tones.frequencies_hz, tones.present, strict=True)
        marked = [frequency for frequency, there in pairs if there]
    figures, sounds = [], []
    if signal.shape[1] >= 64 and signal.any():
        caption = "Red marks at the right border are the tones that were found."
        figures = [_picture("Spectrogram", signal, report.sample_rate, marked, caption)]
        sounds = [_sound("Recording", signal, report.sample_rate)]
    text = words.recording_text(report, name)
    return _write(
        path,
        title=f"Upsampling artifacts in {name}",
        verdict=f"Steady tones: {len(present)} of {len(rows)} frequencies",
        summary=text.splitlines()[0],
        tables=[{"title": "Tones", "rows": rows, "words": ""}],
        figures=figures,
        sounds=sounds,
        notes=report.remarks,
    )


def _write(path: Path, **content: Any) -> Path:
    template = Path(__file__).with_name("probe_page.html.j2").read_text()
    page = jinja2.Environment(autoescape=True).from_string(template)
    with whole_or_nothing(path) as partial:
        partial.write_text(page.render(**content))
    return path


def _picture(
    title: str, signal: Tensor, rate: float, tones: Sequence[float], caption: str
) -> dict[str, str]:
    mono = signal[0].double().numpy()
    figure, axes = plt.subplots(figsize=(10, 3.6), layout="constrained")
    window = 2048
    while window > len(mono):
        window //= 2
    scale = max(float(np.abs(mono).max()), 1e-30)
    levels, _, _, image = axes.specgram(
        mono / scale + 1e-12,
        NFFT=window,
        Fs=rate,
        noverlap=window * 3 // 4,
        cmap="magma",
        scale="dB",
    )
    top = 10 * np.log10(levels.max())
    image.set_clim(top - 100, top)
    figure.colorbar(image, label="dB")
    for tone in tones:
        axes.plot(
            [1.0, 1.02],
            [tone, tone],
            color="tab:red",
            clip_on=False,
            lw=1.5,
            transform=axes.get_yaxis_transform(),
        )
    axes.set_ylim(0, rate / 2)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("frequency (Hz)")
    peak = 20 * np.log10(scale)
    note = f"{caption} First channel, of a peak of {peak:.1f} dB; the picture's levels are its own."
    return {"title": title, "png": _png(figure), "caption": note}


def _responses(report: ProbeReport, signals: ProbeSignals) -> dict[str, str]:
    """Of every layer from its weights, and of the whole network from its output for noise."""
    figure, axes = plt.subplots(figsize=(10, 3.8), layout="constrained")
    for layer in report.layers:
        found = signals.responses.get(layer.name)
        if found is not None:
            hertz = np.array(found.frequencies) * layer.output_rate_hz
            axes.plot(hertz, found.response_db, lw=0.9, label=layer.name)
    if signals.noise.shape[-1] >= LEAST_FOR_RESPONSE:
        whole = filtering_of_signal(signals.noise, max(2, report.layers[-1].stride))
        hertz = np.array(whole.frequencies) * report.sample_rate
        axes.plot(hertz, whole.response_db, lw=0.7, color="0.6", label="whole network", zorder=1)
    axes.set_xlabel("frequency (Hz)")
    axes.set_ylabel("power (dB)")
    axes.set_ylim(bottom=max(-90, axes.get_ylim()[0]))
    axes.grid(lw=0.3)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    caption = (
        "Mean power response of each layer from its weights, up to half of its own output rate, "
        "against its mean below half of its input rate; grey: spectrum of the network's output for "
        "white noise, in the same way."
    )
    return {"title": "Responses", "png": _png(figure), "caption": caption}


def _sound(title: str, signal: Tensor, rate: float) -> dict[str, str]:
    """16 bit, scaled for the ear; the figures beside it are of the signal as it was."""
    samples = signal[:2].double().T.numpy()
    samples = samples - samples.mean(0)
    peak = max(float(np.abs(samples).max()), 1e-30)
    buffer = io.BytesIO()
    scaled = samples * (HEARD_PEAK / peak)
    soundfile.write(buffer, scaled, int(rate), subtype="PCM_16", format="WAV")
    gain = 20 * np.log10(HEARD_PEAK / peak)
    caption = f"{int(rate)} Hz, made {gain:+.1f} dB louder for listening, without its mean"
    return {
        "title": title,
        "wav": base64.b64encode(buffer.getvalue()).decode(),
        "caption": caption,
    }


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()
