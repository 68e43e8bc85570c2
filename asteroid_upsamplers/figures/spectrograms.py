"""Spectrograms as [1] draws them, and the levels that its sentences are about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import librosa
import numpy as np
from matplotlib.axes import Axes

N_FFT, HOP = 2048, 512
"""[1] Sec. 8, for all signals, whatever their sample rate."""

FLOOR_DB = -100.0


def spectrogram(signal: np.ndarray, center: bool = False, floor_db: float = FLOOR_DB) -> np.ndarray:
    """Levels in dB against the loudest, at least ``floor_db``.

    Args:
        signal: ``(time,)``, at least 2048 samples.
        center: Whether the signal is padded by half a window at both ends, as librosa does by
            default; [1] does not (Sec. 8).
        floor_db: Below 0.

    Returns:
        ``(1025, frames)``.
    """
    magnitudes = np.abs(librosa.stft(signal, n_fft=N_FFT, hop_length=HOP, center=center))
    loudest = max(magnitudes.max(), 1e-12)
    return librosa.amplitude_to_db(magnitudes / loudest, amin=1e-12, top_db=-floor_db)


def draw_spectrogram(
    axes: Axes,
    levels: np.ndarray,
    sample_rate: float,
    tones: Sequence[float] = (),
    title: str = "",
    center: bool = False,
) -> None:
    """Draw what :func:`spectrogram` gave.

    Args:
        axes: Where to draw.
        levels: In dB.
        sample_rate: In Hz.
        tones: Frequencies in Hz to mark at the right border.
        title: Above the axes.
        center: As in :func:`spectrogram`.
    """
    seconds = ((levels.shape[1] - 1) * HOP + (0 if center else N_FFT)) / sample_rate
    lowest = min(FLOOR_DB, float(levels.min()))
    extent = (0.0, seconds, 0.0, sample_rate / 2)
    axes.imshow(
        levels, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=lowest, vmax=0
    )
    for tone in tones:
        axes.plot(
            [1.0, 1.03],
            [tone, tone],
            color="tab:red",
            clip_on=False,
            lw=1.5,
            transform=axes.get_yaxis_transform(),
        )
    axes.set_title(title, fontsize="medium")
    axes.set_xlabel("time (s)")
    axes.set_ylabel("frequency (Hz)")


def line_levels(signal: np.ndarray, sample_rate: float, spacing: float) -> dict[str, float]:
    """Levels of the multiples of ``spacing`` in the steady middle of a signal.

    Args:
        signal: ``(time,)``, of a whole number of samples to each period of ``spacing``.
        sample_rate: In Hz.
        spacing: In Hz.

    Returns:
        By frequency in Hz (as a string, for JSON): dB against the rms of the middle.
    """
    period = round(sample_rate / spacing)
    length = len(signal) // 2 // period * period
    start = (len(signal) - length) // 2
    middle = signal[start : start + length].astype(np.float64)
    means = middle.reshape(-1, period).mean(0)
    amplitudes = np.abs(np.fft.rfft(means)) / period
    rms = np.sqrt(np.mean(middle**2))
    levels = 20 * np.log10(np.maximum(amplitudes / max(rms, 1e-300), 1e-20))
    return {f"{k * spacing:g}": float(levels[k]) for k in range(1, period // 2 + 1)}


def finite(value: Any) -> Any:
    """Plain numbers for JSON."""
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
