"""What a probe found, as one self-contained page with pictures and sound."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from matplotlib.figure import Figure
from torch import Tensor

from ..artifacts import filtering_of_signal
from . import text as words
from .recording import RecordingReport
from .results import ProbeReport, ProbeSignals
from .style import Section, png_of, write_page

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
    marks = "Red marks on the right show the predicted tones that are present."
    sections = [
        Section(
            "Upsampling layers",
            "What each layer makes of a constant, computed from its weights: the share of the "
            "output that is tones, and their levels. Blame: by how much the tones in silence (or "
            "noise) fall if this layer makes none.",
            words.layer_rows(report),
        ),
        Section(
            "Silence in",
            f"{words.silence_words(report)} {words.near_silence_words(report)}",
            words.silence_rows(report),
        ),
        Section("White noise in", words.noise_words(report), words.noise_rows(report)),
    ]
    if report.silence.rms:
        sections.append(_picture("Output for silence", signals.silence, rate, silent, marks))
        sections.append(_sound("Output for silence, to listen to", signals.silence, rate))
    sections += [
        _picture("Output for white noise", signals.noise, rate, standing, marks),
        _sound("Output for white noise, to listen to", signals.noise, rate),
        _responses(report, signals),
    ]
    return write_page(
        path,
        f"Upsampling artifacts of {name}",
        sections,
        words.verdict(report),
        f"Output at {rate:g} Hz; input {' x '.join(map(str, report.input_shape))}.",
        report.remarks,
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
    sections = [Section("Tones", rows=rows)]
    if signal.shape[1] >= 64 and signal.any():
        marks = "Red marks on the right show the tones that were found."
        sections.append(_picture("Spectrogram", signal, report.sample_rate, marked, marks))
        sections.append(_sound("To listen to", signal, report.sample_rate))
    return write_page(
        path,
        f"Upsampling artifacts in {name}",
        sections,
        f"Steady tones at {len(present)} of {len(rows)} frequencies",
        words.recording_text(report, name).splitlines()[0],
        report.remarks,
    )


def _picture(
    title: str, signal: Tensor, rate: float, tones: Sequence[float], caption: str
) -> Section:
    mono = signal[0].double().numpy()
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    axes = figure.subplots()
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
    return Section(title, png=png_of(figure), caption=note)


def _responses(report: ProbeReport, signals: ProbeSignals) -> Section:
    """Of every layer from its weights, and of the whole network from its output for noise."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    axes = figure.subplots()
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
    return Section("Frequency responses", png=png_of(figure), caption=caption)


def _sound(title: str, signal: Tensor, rate: float) -> Section:
    """16 bit, scaled for the ear; the figures beside it are of the signal as it was."""
    samples = signal[:2].double().T.numpy()
    samples = samples - samples.mean(0)
    peak = max(float(np.abs(samples).max()), 1e-30)
    buffer = io.BytesIO()
    scaled = samples * (HEARD_PEAK / peak)
    soundfile.write(buffer, scaled, int(rate), subtype="PCM_16", format="WAV")
    gain = 20 * np.log10(HEARD_PEAK / peak)
    caption = f"{int(rate)} Hz, made {gain:+.1f} dB louder for listening, without its mean"
    return Section(title, wav=buffer.getvalue(), caption=caption)
