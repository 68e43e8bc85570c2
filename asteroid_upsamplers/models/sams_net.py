"""Sams-Net, a spectrogram separator with sliced attention, with the upsampler by name.

[31] Li et al., "Sams-Net: a sliced attention-based neural network for music source separation",
arXiv 1909.05746, ISCSLP 2021.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from asteroid.models import register_model
from torch import Tensor, nn
from torch.nn import functional as F

from .. import layers
from ..errors import UsageError
from .base import MusicSeparator

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
        super().__init__(tuple(sources), audio_channels, sample_rate, normalize)
        family = layers.get(upsampler)
        self._model_args: dict[str, Any] = {
            "sources": list(sources),
            "upsampler": family.name,
            "audio_channels": audio_channels,
            "n_fft": n_fft,
            "hop_length": hop_length,
            "channels": channels,
            "n_heads": n_heads,
            "n_blocks": n_blocks,
            "slice_frames": slice_frames,
            "upsampler_kwargs": dict(upsampler_kwargs or {}),
            "sample_rate": sample_rate,
            "normalize": normalize,
        }
        _check_settings(self._model_args)
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
            _Block(widths[-1], n_heads, slice_frames) for _ in range(n_blocks)
        )
        outer[0] = len(self.sources) * audio_channels
        self.mask_layers = nn.ModuleList(
            _MaskLayer(
                widths[level],
                _upsampler(family, widths[level], outer[level], dict(upsampler_kwargs or {})),
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

    def get_model_args(self) -> dict[str, Any]:
        """Plain values; ``SamsNet(**args)`` builds the same network."""
        return copy.deepcopy(self._model_args)


class SlicedAttention(nn.Module):
    """Multi-head attention among the points of each slice of a feature map along time.

    The last slice is filled up with zeros, which no point attends to.

    Args:
        channels: Of the map.
        n_heads: Number of heads, a divisor of ``channels``.
        slice_frames: Frames of a slice.

    Shape:
        ``(batch, channels, rows, frames)`` -> the same.

    Example:
        >>> SlicedAttention(4, n_heads=2, slice_frames=8)(torch.zeros(1, 4, 3, 20)).shape
        torch.Size([1, 4, 3, 20])
    """

    def __init__(self, channels: int, n_heads: int, slice_frames: int):
        super().__init__()
        self.n_heads, self.slice_frames = n_heads, slice_frames
        # No biases: that of the keys would shift all scores alike, and never learn.
        self.queries_keys_values = nn.Linear(channels, 3 * channels, bias=False)
        self.output = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.shape[-1]
        missing = -frames % self.slice_frames
        slices = F.pad(x, (0, missing)).unflatten(-1, (-1, self.slice_frames))
        batch, channels, rows, n_slices, _ = slices.shape
        points = slices.permute(0, 3, 4, 2, 1).reshape(batch * n_slices, -1, channels)
        heads = self.queries_keys_values(points).unflatten(-1, (3, self.n_heads, -1))
        queries, keys, values = heads.permute(2, 0, 3, 1, 4)
        there = None
        if missing:
            there = torch.arange(frames + missing, device=x.device) < frames
            there = there.reshape(n_slices, 1, 1, -1).repeat_interleave(rows, -1)
            there = there.repeat(batch, 1, 1, 1)
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=there)
        points = self.output(mixed.transpose(1, 2).flatten(2))
        slices = points.reshape(batch, n_slices, self.slice_frames, rows, channels)
        return slices.permute(0, 4, 3, 1, 2).flatten(3)[..., :frames]


class _Block(nn.Module):
    def __init__(self, channels: int, n_heads: int, slice_frames: int):
        super().__init__()
        self.attention_norm = _ChannelNorm(channels)
        self.attention = SlicedAttention(channels, n_heads, slice_frames)
        self.convolutions = nn.Sequential(
            _ChannelNorm(channels),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.convolutions(x)


class _ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each point of a map.

    Nothing is averaged over time: a piece of a song is normalised as it is within the song.
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class _MaskLayer(nn.Module):
    def __init__(self, channels: int, upsampler: layers.Upsampler, relu: bool):
        super().__init__()
        self.rewrite = nn.Conv2d(channels, channels, 3, padding=1)
        self.upsampler = upsampler
        self.relu = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.rewrite(x)).permute(0, 3, 1, 2)  # an upsampler's signal: bins of a frame
        y = self.upsampler(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return self.relu(y.permute(0, 2, 3, 1))


def _upsampler(
    family: type[layers.Upsampler], in_channels: int, out_channels: int, settings: dict[str, Any]
) -> layers.Upsampler:
    try:
        layer = family(in_channels, out_channels, STRIDE, **settings)
    except TypeError as error:
        raise UsageError(f"upsampler_kwargs {settings} of {family.name}: {error}") from None
    if layer.output_length(1) != STRIDE:
        raise UsageError(
            f"SamsNet: upsampler_kwargs is {settings}, allowed is what gives {STRIDE} bins for "
            "every one"
        )
    return layer


def _check_settings(args: dict[str, Any]) -> None:
    for setting in ("audio_channels", "channels", "n_heads", "n_blocks", "slice_frames"):
        if args[setting] < 1:
            raise UsageError(f"SamsNet: {setting} is {args[setting]}, allowed is 1 and up")
    if args["n_fft"] < 4 or args["n_fft"] % 2:
        raise UsageError(
            f"SamsNet: n_fft is {args['n_fft']}, allowed is an even number from 4 and up"
        )
    if not 1 <= args["hop_length"] <= args["n_fft"] // 2:
        raise UsageError(
            f"SamsNet: hop_length is {args['hop_length']}, allowed is 1 to half of n_fft "
            f"({args['n_fft'] // 2}): longer ones leave samples out"
        )
    width = args["channels"] * 2 ** (LEVELS - 1)
    if width % args["n_heads"]:
        raise UsageError(
            f"SamsNet: n_heads is {args['n_heads']}, allowed is a divisor of "
            f"{2 ** (LEVELS - 1)} * channels ({width})"
        )
    if not args["sources"]:
        raise UsageError("SamsNet: sources is empty, at least one name is needed")


register_model(SamsNet)
