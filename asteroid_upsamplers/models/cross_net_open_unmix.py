"""X-UMX, Asteroid's own baseline for MUSDB18, usable with today's torch.

[7] Sawata et al., "All for one and one for all: improving music separation by bridging networks",
ICASSP 2021.

Asteroid 0.7.0 ships the network but refuses to build it (``XUMX``): its transforms ask torch for
complex numbers as pairs of real ones, which torch no longer takes. :class:`CrossNetOpenUnmix` holds
Asteroid's network and calls its spectrogram, masks and their product; only the two transforms are
its own, with complex numbers.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from asteroid.models import register_model
from asteroid.models.x_umx import BrokenXUMX
from torch import Tensor
from torch.nn import functional as F

from .base import MusicSeparator
from .open_unmix import check_settings, weights_below


class CrossNetOpenUnmix(MusicSeparator):
    """X-UMX ([7]): Open-Unmix's networks, which share the means of what they see.

    It has no upsampling layer and serves as a baseline. The sources have the mixture's phase. State
    dicts of Asteroid's ``XUMX`` with the same settings load as they are.

    Args:
        sources: Names of the sources, in the order of the output.
        audio_channels: Channels of the mixture and of each source, 1 or 2.
        hidden_size: Of the LSTMs, even.
        n_layers: Of each LSTM.
        max_bin: Frequency bins that the network looks at, from 0 Hz: 1487 is 16 kHz at 44.1 kHz.
        n_fft: Length of the window and of the transform.
        hop_length: Samples from frame to frame.
        sample_rate: In Hz.
        normalize: Whether ``separate`` brings a track to level 1 and its estimates back.

    Raises:
        UsageError: (a ``ValueError``) for an impossible setting.

    Shape:
        ``(batch, audio_channels, time)`` -> ``(batch, len(sources), audio_channels, time)``.

    Example:
        >>> settings = {"hidden_size": 8, "n_layers": 1, "n_fft": 512, "hop_length": 128}
        >>> CrossNetOpenUnmix(max_bin=200, **settings)(torch.zeros(1, 2, 1000)).shape
        torch.Size([1, 4, 2, 1000])
    """

    def __init__(
        self,
        sources: Sequence[str] = ("drums", "bass", "other", "vocals"),
        audio_channels: int = 2,
        hidden_size: int = 512,
        n_layers: int = 3,
        max_bin: int = 1487,
        n_fft: int = 4096,
        hop_length: int = 1024,
        sample_rate: float = 44100,
        normalize: bool = False,
    ):
        super().__init__(sources, audio_channels, sample_rate, normalize)
        check_settings(self, hidden_size, n_layers, max_bin, n_fft, hop_length)
        self.n_fft, self.hop_length = n_fft, hop_length
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "dropout option")  # of one layer there is none
            self.network = BrokenXUMX(
                list(sources),
                window_length=n_fft,
                in_chan=n_fft,
                n_hop=hop_length,
                hidden_size=hidden_size,
                nb_channels=audio_channels,
                sample_rate=sample_rate,
                nb_layers=n_layers,
                max_bin=max_bin,
            )
        self.register_load_state_dict_pre_hook(weights_below("network", "layer_enc."))

    def forward(self, mixture: Tensor) -> Tensor:
        """``(batch, audio_channels, time)`` -> ``(batch, n_src, audio_channels, time)``."""
        self.check_shape(mixture)
        batch, channels, time = mixture.shape
        padded = F.pad(mixture, (0, max(0, self.n_fft - time)))  # it is reflected at the ends
        transform, spectrogram = self.network.encoder
        settings = {"n_fft": self.n_fft, "hop_length": self.hop_length, "window": transform.window}
        stft = torch.stft(padded.flatten(0, 1), **settings, return_complex=True)
        pairs = torch.view_as_real(stft).unflatten(0, (batch, channels))
        magnitude, phase = spectrogram(pairs)
        masks = self.network.forward_masker(magnitude.clone())
        masked = self.network.apply_masks(magnitude, masks).permute(0, 2, 3, 4, 1)
        estimates = torch.polar(masked, phase.expand_as(masked)).flatten(0, 2)
        wav = torch.istft(estimates, **settings, length=padded.shape[-1])[..., :time]
        return wav.unflatten(0, (-1, batch, channels)).transpose(0, 1)


register_model(CrossNetOpenUnmix)
