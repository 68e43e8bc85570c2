"""Spectrograms as [1] draws them, with spectral lines that stay visible in the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import librosa
import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from scipy.ndimage import maximum_filter1d

N_FFT, HOP = 2048, 512
"""[1] Sec. 8, for all signals, whatever their sample rate."""

FLOOR_DB = -120.0

LINE_BINS = 13
"""A spectral line is one bin of 1,025, which is a quarter of a pixel; it is drawn 13 bins wide."""


@dataclass(frozen=True, eq=False)
class Panel:
    """A spectrogram in dB as :func:`spectrogram` gives it, its rate, and tones in Hz to mark."""

    levels: np.ndarray
    sample_rate: float
    tones: Sequence[float] = ()
    center: bool = False


def spectrogram(signal: np.ndarray, center: bool = False) -> np.ndarray:
    """Levels ``(1025, frames)`` of ``(time,)`` samples, in dB relative to the loudest bin.

    ``center`` pads the signal by half a window at both ends, as librosa does by default; [1] does
    not (Sec. 8). Levels below -120 dB are raised to that.
    """
    magnitudes = np.abs(librosa.stft(signal, n_fft=N_FFT, hop_length=HOP, center=center))
    loudest = max(magnitudes.max(), 1e-12)
    return librosa.amplitude_to_db(magnitudes / loudest, amin=1e-12, top_db=-FLOOR_DB)


def draw_panels(axes: np.ndarray, arrays: dict[str, Any]) -> None:
    """Draw ``arrays["panels"]`` (:class:`Panel` by title) row by row, with one colour scale."""
    for place, (title, panel) in zip(axes.flat, arrays["panels"].items(), strict=True):
        image = _draw_panel(place, panel)
        place.set_title(title, fontsize="medium")
    axes.flat[0].figure.colorbar(image, ax=axes, label="dB relative to the loudest bin", aspect=40)


def _draw_panel(axes: Axes, panel: Panel) -> AxesImage:
    margin = LINE_BINS // 2
    padded = np.pad(panel.levels, ((margin, margin), (0, 0)), constant_values=FLOOR_DB)
    thick = maximum_filter1d(padded, LINE_BINS, axis=0, mode="nearest")
    bins, frames = panel.levels.shape
    seconds = ((frames - 1) * HOP + (0 if panel.center else N_FFT)) / panel.sample_rate
    beyond = (margin + 0.5) / (bins - 1) * panel.sample_rate / 2
    extent = (0.0, seconds, -beyond, panel.sample_rate / 2 + beyond)
    image = axes.imshow(thick, "magma", vmin=FLOOR_DB, vmax=0, origin="lower", extent=extent)
    image.set_interpolation("nearest")
    axes.set_aspect("auto")
    across = axes.get_yaxis_transform()
    axes.hlines(panel.tones, 1.0, 1.02, "tab:red", clip_on=False, transform=across)
    axes.set(xlabel="time (s)", ylabel="frequency (Hz)")
    return image
