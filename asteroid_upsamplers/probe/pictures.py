"""Pictures and sounds of what was probed, for a page."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ..artifacts import filtering, filtering_of_signal
from .recording import RecordingReport
from .results import ProbeReport, ProbeSignals, audible_in_silence
from .spectrogram import FLOOR_DB, Panel, spectrogram
from .style import Section, name_in_legend, png_of

MARKED = 64
"""So many tones are marked in a picture: the loudest."""

HEARD_PEAK = 0.5
LEAST_FOR_RESPONSE = 4096


def network_pictures(report: ProbeReport, signals: ProbeSignals) -> list[Section]:
    """What a network gives for silence and for noise, and the responses of its layers.

    The first shows the tones that the report's conclusion is about.
    """
    rate, sections = report.sample_rate, []
    if report.silence.rms:
        least = report.silence.rms_db + FLOOR_DB
        tones = [t["frequency_hz"] for t in report.silence.tones if t["level_db"] > least]
        sections.append(heard("Output for silence", signals.silence, rate, tones))
    tones = [tone["frequency_hz"] for tone in report.noise.present] if report.noise else []
    sections.append(heard("Output for white noise", signals.noise, rate, tones))
    if not audible_in_silence(report) and (tones or not report.silence.unexplained):
        sections.reverse()
    return [*sections, _responses(report, signals)]


def recording_pictures(report: RecordingReport, signal: Tensor) -> list[Section]:
    """A recording, ``(channels, time)``; nothing if there is nothing in it."""
    if report.tones is None:
        return []
    found = report.tones
    counted = report.reference.stands_out if report.reference else found.present
    rows = zip(found.levels_db, found.frequencies_hz, counted, strict=True)
    tones = [frequency for _, frequency, present in sorted(rows, reverse=True) if present]
    seconds = signal.shape[1] / report.sample_rate
    part = f" of the first {seconds:.0f} s" if seconds < report.seconds else ""
    return [heard(f"Spectrogram{part}", signal, report.sample_rate, tones)]


def peak_of(signal: Tensor) -> float:
    """Of a signal ``(channels, time)`` without its mean; never 0."""
    signal = signal.double()
    return max(float((signal - signal.mean(1, keepdim=True)).abs().max()), 1e-30)


def heard(
    title: str,
    signal: Tensor,
    rate: float,
    tones: Sequence[float],
    reference: Tensor | None = None,
) -> Section:
    """A spectrogram with marks at the tones, and the sound.

    With ``reference`` signals of its length are compared: colours and loudness are relative to it,
    and the tones are those that are looked for.
    """
    from matplotlib.figure import Figure

    own, compared = peak_of(signal), reference is not None
    true = signal if reference is None else reference
    peak = peak_of(true)
    signal, true = (x.double() - x.double().mean(1, keepdim=True) for x in (signal, true))
    figure = Figure(figsize=(8.5, 3.6), layout="constrained")
    axes = figure.subplots()
    levels = spectrogram((signal / peak).numpy(), reference=(true / peak).numpy())
    Panel(levels, rate, tones[:MARKED]).draw(axes)
    caption = (
        "Every column stands at the start of its window, and the last window ends on the right. "
        f"Red marks on the right: the tones that are {'looked for' if compared else 'present'}. "
        "Without the mean; of several channels the loudest in each bin; "
        f"the peak is {20 * np.log10(own):.1f} dB."
    )
    if peak != own:
        caption += " Relative to the loudest bin of the picture before."
    wav, said = _sound(signal, rate, peak if compared else peak_of(signal[:2]))
    return Section(title, png=png_of(figure), wav=wav, caption=f"{caption} {said}")


def _sound(signal: Tensor, rate: float, peak: float) -> tuple[bytes, str]:
    """16 bit, scaled for the ear."""
    import soundfile

    gain = min(HEARD_PEAK / peak, 1 / peak_of(signal))  # never clipped
    buffer = io.BytesIO()
    soundfile.write(buffer, (gain * signal[:2]).T.numpy(), int(rate), "PCM_16", format="WAV")
    caption = f"Sound: {int(rate)} Hz, amplified by {20 * np.log10(gain):.1f} dB, without the mean"
    if len(signal) > 2:
        caption += f"; the first two of {len(signal)} channels"
    return buffer.getvalue(), f"{caption}."


def _responses(report: ProbeReport, signals: ProbeSignals) -> Section:
    """Of every layer from its weights, and of the whole network from its output for noise."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 3.8), layout="constrained")
    axes = figure.subplots()
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(report.layers)))
    names = []
    for layer, call, colour in zip(report.layers, signals.calls, colours, strict=True):
        system = call.system()
        if system is not None:
            found = filtering(system)
            hertz = np.array(found.frequencies) * layer.output_rate_hz
            axes.plot(hertz, found.response_db, lw=1.2, color=colour, label=".")
            names.append(layer.name)
    if signals.noise.shape[-1] >= LEAST_FOR_RESPONSE:
        whole = filtering_of_signal(
            signals.noise, max([2, *(call.period for call in signals.calls[-1:])])
        )
        hertz = np.array(whole.frequencies) * report.sample_rate
        axes.plot(hertz, whole.response_db, lw=0.7, color="0.6", label=".", zorder=1)
        names.append("whole network")
    axes.set(xlabel="frequency (Hz)", ylabel="power (dB)")
    axes.set_ylim(bottom=max(-90, axes.get_ylim()[0]))
    axes.grid(lw=0.3)
    legend = axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    name_in_legend(legend, names)
    caption = (
        "Mean power response of each layer, computed from its weights, up to half of its own "
        "output rate, against its mean below half of its input rate. Grey: the spectrum of the "
        "network's output for white noise, in the same way. What is below -90 dB is not drawn."
    )
    return Section("Frequency responses", png=png_of(figure), caption=caption)
