"""Spectrograms as [1] draws them, with spectral lines that stay visible in the picture.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

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
        """Draw it with its colour bar, and red marks on the right at the tones.

        A column stands at the start of its window, as in [1]: without padding (``center``) the
        last windows reach to the right edge, and leave it white.
        """
        from .peak_image import PeakImage

        bins, frames = self.levels.shape
        n_fft, nyquist = 2 * (bins - 1), self.sample_rate / 2
        hop = n_fft / 4 / self.sample_rate
        left = -hop / 2 if self.center else 0.0
        right = left + frames * hop
        end = right if self.center else right - hop + n_fft / self.sample_rate
        margin = bins // 160  # the outermost bins are lines, too
        beyond = (margin + 0.5) / (bins - 1) * nyquist
        extent = (left, right, -beyond, nyquist + beyond)
        image = PeakImage(axes, cmap="magma", interpolation="nearest", origin="lower")
        image.set_data(np.pad(self.levels, ((margin, margin), (0, 0)), mode="edge"))
        image.set(extent=extent, clim=(FLOOR_DB, 0))
        axes.add_image(image)
        axes.set(xlim=(left, end), ylim=extent[2:], xlabel="time (s)", ylabel="frequency (Hz)")
        axes.spines[:].set_position(("outward", 1))
        across = axes.get_yaxis_transform()
        axes.hlines(self.tones, 1.0, 1.02, "tab:red", clip_on=False, transform=across)
        bar = axes.figure.colorbar(image, ax=axes, format="{x:.0f} dB", pad=0.03)
        bar.set_label("relative to the loudest bin")
        return image


def spectrogram(
    signal: np.ndarray, center: bool = False, reference: np.ndarray | None = None
) -> np.ndarray:
    """Levels ``(1025, frames)`` of ``(time,)`` samples, in dB relative to the loudest bin.

    With ``reference``, a signal of the same length, the loudest bin is that of its spectrogram.
    Of ``(channels, time)`` each bin shows the loudest channel.

    ``center`` pads the signal by half a window at both ends, as librosa does by default; [1] does
    not (Sec. 8). Levels below -120 dB are raised to that.
    """
    import librosa

    magnitudes = _magnitudes(signal, center)
    true = magnitudes if reference is None else _magnitudes(reference, center)
    relative = magnitudes / max(true.max(), 1e-12)
    return np.maximum(librosa.amplitude_to_db(relative, amin=1e-12, top_db=None), FLOOR_DB)


def _magnitudes(signal: np.ndarray, center: bool) -> np.ndarray:
    import librosa

    n_fft = min(N_FFT, 2 ** int(np.log2(signal.shape[-1])))
    settings: dict[str, Any] = {"n_fft": n_fft, "hop_length": n_fft // 4, "center": center}
    channels = np.atleast_2d(signal)
    return reduce(np.maximum, (np.abs(librosa.stft(x, **settings)) for x in channels))
