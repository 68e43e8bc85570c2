"""Attention within slices of a feature map, as Sams-Net has it.

[31] Li et al., "Sams-Net: a sliced attention-based neural network for music source separation",
arXiv 1909.05746, ISCSLP 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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


class SlicedBlock(nn.Module):
    """:class:`SlicedAttention`, then two convolutions, each with a skip connection around it.

    ``(batch, channels, rows, frames)`` -> the same.
    """

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
