"""Sams-Net, a spectrogram separator with sliced attention and any upsampler.

[31] Li et al., "Sams-Net: a sliced attention-based neural network for music source separation",
arXiv 1909.05746, ISCSLP 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from asteroid.models import register_model
from torch import Tensor, nn
from torch.nn import functional as F

from .. import layers
from ..blocks.arguments import at_least
from ..errors import UsageError
from .base import MusicSeparator
from .sliced_attention import SlicedBlock

STRIDE = 4
LEVELS = 3


class SamsNet(MusicSeparator):
    """Sams-Net: magnitudes in, a mask on the mixture's magnitudes out for every source ([31]).

    Convolutions turn the magnitude spectrogram into a feature map; the map is cut along time into
    slices, and multi-head attention runs within each of them, so that time and memory grow with the
    length of the music and not with its square. The masked magnitudes keep the mixture's phase.

    The abstracts of [31] and 3.7 M parameters (Table 1 of the paper of this package) are all that
    was at hand of it: no layer table, and no public code is known. Its scores are not to be
    expected from this network.

    Open in the paper, as far as it was at hand, chosen here:

    - One network for all sources, 3,772,472 parameters. Whether [31] counts one source or all four
      is not known; only the last layer depends on it: for one source there are 3,770,162.
    - Spectrogram: a Hann window of 4096 samples, one frame every 1024; ``log(1 + magnitude)`` in.
    - Features: three convolutions, 8 bins x 3 frames, each with a stride of 4 bins (none along
      time) and a ReLU; 1, 2 and 4 times ``channels``. A learned constant a channel and bin is added
      to the last map, as convolutions alone do not know the pitch.
    - A slice is ``slice_frames`` frames of the map with all its bins; every point of it attends to
      every other. (The abstract of the first version has attention over "time and frequency scales
      under different channels".) The grid of slices is the same in every block.
    - A block: attention, then a 3 x 3 and a 1 x 1 convolution with a ReLU between, each of the two
      after a layer normalisation over channels and around a skip connection. The convolutions tell
      the order of frames and carry over from slice to slice. No dropout.
    - Masks: the way back, three times a 3 x 3 convolution, a ReLU and an upsampler along frequency;
      a ReLU and the features of that size follow it, or, at the end, a sigmoid. No Wiener filter.
    - Weights start as torch draws them.

    Args:
        sources: Names of the sources, in the order of the output.
        upsampler: Name of a registered upsampler, or its class; it runs along frequency.
        audio_channels: Channels of the mixture and of each source.
        n_fft: Samples of the spectrogram's window, even, at least 4.
        hop_length: Samples from frame to frame, from 1 to ``n_fft / 2``.
        channels: Of the first feature map, at least 1; the slices have 4 times as many.
        n_heads: Of the attention; a divisor of ``4 * channels``.
        n_blocks: Number of blocks of attention, at least 1.
        slice_frames: Frames of a slice, at least 1.
        upsampler_kwargs: Further settings of the upsampler, such as ``kernel_size``.
        sample_rate: In Hz.
        normalize: Whether ``separate`` brings a track to level 1 and its estimates back;
            ``forward`` never does.

    Raises:
        UsageError: (a ``ValueError``) for an impossible setting.

    Shape:
        ``(batch, audio_channels, time)`` -> ``(batch, len(sources), audio_channels, time)``.

    Example:
        >>> model = SamsNet(n_fft=256, hop_length=64, channels=4, n_heads=2, slice_frames=8)
        >>> model(torch.zeros(1, 2, 1000)).shape
        torch.Size([1, 4, 2, 1000])
    """

    window: Tensor

    def __init__(
        self,
        sources: Sequence[str] = ("drums", "bass", "other", "vocals"),
        upsampler: str | type[layers.Upsampler] = "transposed",
        audio_channels: int = 2,
        n_fft: int = 4096,
        hop_length: int = 1024,
        channels: int = 48,
        n_heads: int = 8,
        n_blocks: int = 5,
        slice_frames: int = 32,
        upsampler_kwargs: dict[str, Any] | None = None,
        sample_rate: float = 44100,
        normalize: bool = False,
    ):
        super().__init__(sources, audio_channels, sample_rate, normalize)
        at_least("SamsNet", 1, channels=channels, n_heads=n_heads, n_blocks=n_blocks)
        at_least("SamsNet", 1, slice_frames=slice_frames, hop_length=hop_length)
        at_least("SamsNet", 4, n_fft=n_fft)
        _check_sizes(n_fft, hop_length, channels, n_heads)
        self.n_fft, self.hop_length = n_fft, hop_length
        self.bins = n_fft // 2 + 1
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        rows = -(-self.bins // STRIDE**LEVELS)
        self.padded_bins = rows * STRIDE**LEVELS

        widths = [channels * 2**level for level in range(LEVELS)]
        outer = [audio_channels, *widths[:-1]]
        self.features = nn.ModuleList(
            nn.Conv2d(outer[level], widths[level], (2 * STRIDE, 3), (STRIDE, 1), (STRIDE // 2, 1))
            for level in range(LEVELS)
        )
        self.pitch = nn.Parameter(0.02 * torch.randn(widths[-1], rows, 1))
        self.blocks = nn.ModuleList(
            SlicedBlock(widths[-1], n_heads, slice_frames) for _ in range(n_blocks)
        )
        outer[0], settings = len(self.sources) * audio_channels, upsampler_kwargs or {}
        self.mask_layers = nn.ModuleList(
            _MaskLayer(
                widths[level],
                layers.make(upsampler, widths[level], outer[level], STRIDE, **settings),
                relu=level > 0,
            )
            for level in reversed(range(LEVELS))
        )

    def forward(self, mixture: Tensor) -> Tensor:
        """``(batch, audio_channels, time)`` -> ``(batch, n_src, audio_channels, time)``."""
        self.check_shape(mixture)
        spectrogram = self.spectrogram(mixture)
        return self.apply_masks(self.masks(spectrogram.abs()), spectrogram, mixture.shape[-1])

    def spectrogram(self, mixture: Tensor) -> Tensor:
        """``(batch, audio_channels, time)`` -> complex ``(batch, audio_channels, bins, frames)``.

        Silence after the last sample makes whole hops, so that windows cover it fully: divided by
        the foot of a single window, rounding errors would be heard.
        """
        whole = F.pad(mixture, (0, -mixture.shape[-1] % self.hop_length))
        frames = torch.stft(
            whole.flatten(0, 1),
            self.n_fft,
            self.hop_length,
            window=self.window,
            pad_mode="constant",  # reflections need more samples than the shortest mixtures have
            return_complex=True,
        )
        return frames.unflatten(0, mixture.shape[:2])

    def masks(self, magnitude: Tensor) -> Tensor:
        """Factors from 0 to 1 for the magnitudes of the mixture.

        Args:
            magnitude: ``(batch, audio_channels, bins, frames)``, at least 0.

        Returns:
            ``(batch, n_src, audio_channels, bins, frames)``.
        """
        x = F.pad(magnitude, (0, 0, 0, self.padded_bins - self.bins)).log1p()
        skips = []
        for convolution in self.features:
            x = F.relu(convolution(x))
            skips.append(x)
        x = skips.pop() + self.pitch
        for block in self.blocks:
            x = block(x)
        for layer in self.mask_layers:
            x = layer(x)
            if skips:
                x = x + skips.pop()
        x = x[:, :, : self.bins].sigmoid()
        return x.unflatten(1, (len(self.sources), self.in_channels))

    def apply_masks(self, masks: Tensor, spectrogram: Tensor, time: int) -> Tensor:
        """The masked spectrograms as sound.

        Args:
            masks: ``(batch, n_src, audio_channels, bins, frames)``.
            spectrogram: The mixture's, ``(batch, audio_channels, bins, frames)``.
            time: Samples of the mixture.

        Returns:
            ``(batch, n_src, audio_channels, time)``.
        """
        estimates = masks * spectrogram[:, None]
        sound = torch.istft(
            estimates.flatten(0, 2), self.n_fft, self.hop_length, window=self.window, length=time
        )
        return sound.unflatten(0, estimates.shape[:3])


class _MaskLayer(nn.Module):
    def __init__(self, channels: int, upsampler: layers.Upsampler, relu: bool):
        super().__init__()
        if upsampler.output_length(1) != STRIDE:
            raise UsageError(
                f"SamsNet: this {upsampler.name} makes {upsampler.output_length(1)} bins of one, "
                f"its settings must give {STRIDE}"
            )
        self.rewrite = nn.Conv2d(channels, channels, 3, padding=1)
        self.upsampler = upsampler
        self.relu = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.rewrite(x)).permute(0, 3, 1, 2)  # an upsampler's signal: bins of a frame
        y = self.upsampler(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return self.relu(y.permute(0, 2, 3, 1))


def _check_sizes(n_fft: int, hop_length: int, channels: int, n_heads: int) -> None:
    if n_fft % 2:
        raise UsageError(f"SamsNet: n_fft is {n_fft}, must be even")
    if hop_length > n_fft // 2:
        raise UsageError(
            f"SamsNet: hop_length is {hop_length}, must be at most half of n_fft ({n_fft // 2}), "
            "so that no sample is left out"
        )
    width = channels * 2 ** (LEVELS - 1)
    if width % n_heads:
        raise UsageError(
            f"SamsNet: n_heads is {n_heads}, must divide {2 ** (LEVELS - 1)} * channels ({width})"
        )


register_model(SamsNet)
