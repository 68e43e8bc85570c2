"""Spectrograms as [1] draws them, with spectral lines that stay visible in the picture.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

N_FFT, HOP = 2048, 512
"""[1] Sec. 8, for all signals, whatever their sample rate; shorter for a shorter signal."""

FLOOR_DB = -120.0


@dataclass(frozen=True, eq=False)
class Panel:
    """A spectrogram in dB as :func:`spectrogram` gives it, its rate, and tones in Hz to mark."""

    levels: np.ndarray
    sample_rate: float
    tones: Sequence[float] = ()
    center: bool = False

    def draw(self, axes: Axes) -> AxesImage:
        """Draw it, with red marks on the right at the tones.

        A spectral line is one bin of 1,025, which is a quarter of a pixel; it is drawn 13 bins
        wide.
        """
        from scipy.ndimage import maximum_filter1d

        bins, frames = self.levels.shape
        margin = bins // 160
        padded = np.pad(self.levels, ((margin, margin), (0, 0)), constant_values=FLOOR_DB)
        thick = maximum_filter1d(padded, 2 * margin + 1, axis=0, mode="nearest")
        n_fft = 2 * (bins - 1)
        seconds = ((frames - 1) * n_fft // 4 + (0 if self.center else n_fft)) / self.sample_rate
        beyond = (margin + 0.5) / (bins - 1) * self.sample_rate / 2
        extent = (0.0, seconds, -beyond, self.sample_rate / 2 + beyond)
        image = axes.imshow(thick, "magma", vmin=FLOOR_DB, vmax=0, origin="lower", extent=extent)
        image.set_interpolation("nearest")
        axes.set_aspect("auto")
        across = axes.get_yaxis_transform()
        axes.hlines(self.tones, 1.0, 1.02, "tab:red", clip_on=False, transform=across)
        axes.set(xlabel="time (s)", ylabel="frequency (Hz)")
        return image


def spectrogram(signal: np.ndarray, center: bool = False) -> np.ndarray:
    """Levels ``(1025, frames)`` of ``(time,)`` samples, in dB relative to the loudest bin.

    ``center`` pads the signal by half a window at both ends, as librosa does by default; [1] does
    not (Sec. 8). Levels below -120 dB are raised to that.
    """
    import librosa

    n_fft = min(N_FFT, 2 ** int(np.log2(len(signal))))
    spectra = librosa.stft(signal, n_fft=n_fft, hop_length=n_fft // 4, center=center)
    magnitudes = np.abs(spectra)
    loudest = max(magnitudes.max(), 1e-12)
    return librosa.amplitude_to_db(magnitudes / loudest, amin=1e-12, top_db=-FLOOR_DB)
