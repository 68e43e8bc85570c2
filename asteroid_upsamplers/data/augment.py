"""Augmentation of batches of sources, which makes new mixtures on the fly ([3] Sec. 6, [26]).

Every module takes ``(batch, source, channel, time)`` and a ``torch.Generator`` on the CPU, so that
a run can be repeated on any device.

[3] Défossez et al., "Music source separation in the waveform domain", arXiv 1911.13254.
[26] Uhlich et al., "Improving music source separation based on deep neural networks through data
augmentation and network blending", ICASSP 2017.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from ..errors import UsageError


class FlipSign(nn.Module):
    """Change the sign of each source, with probability 1/2."""

    def forward(self, sources: Tensor, generator: Generator) -> Tensor:
        signs = torch.randint(2, (*sources.shape[:2], 1, 1), generator=generator) * 2 - 1
        return sources * signs.to(sources)


class FlipChannels(nn.Module):
    """Exchange left and right of each source, with probability 1/2."""

    def forward(self, sources: Tensor, generator: Generator) -> Tensor:
        flip = torch.randint(2, (*sources.shape[:2], 1, 1), generator=generator).bool()
        return torch.where(flip.to(sources.device), sources.flip(2), sources)


class Gain(nn.Module):
    """Multiply each source by a factor drawn uniformly from [low, high]."""

    def __init__(self, low: float = 0.25, high: float = 1.25):
        super().__init__()
        if not 0 <= low <= high:
            raise UsageError(f"gain from {low} to {high}: must be 0 <= low <= high")
        self.low, self.high = low, high

    def forward(self, sources: Tensor, generator: Generator) -> Tensor:
        uniform = torch.rand((*sources.shape[:2], 1, 1), generator=generator)
        return sources * (self.low + (self.high - self.low) * uniform).to(sources)


class Shift(nn.Module):
    """Take ``time - samples`` samples of each source, from its own random offset on."""

    def __init__(self, samples: int):
        super().__init__()
        self.samples = samples

    def forward(self, sources: Tensor, generator: Generator) -> Tensor:
        batch, streams, channels, time = sources.shape
        starts = torch.randint(self.samples + 1, (batch, streams, 1, 1), generator=generator)
        offsets = torch.arange(time - self.samples, device=sources.device)
        index = (starts.to(sources.device) + offsets).expand(-1, -1, channels, -1)
        return sources.gather(-1, index)


class Remix(nn.Module):
    """Exchange sources between the items of each group of ``group`` consecutive ones."""

    def __init__(self, group: int = 4):
        super().__init__()
        if group < 1:
            raise UsageError(f"remix group of {group}: must be at least 1")
        self.group = group

    def forward(self, sources: Tensor, generator: Generator) -> Tensor:
        batch, streams = sources.shape[:2]
        groups = torch.arange(batch)[:, None] // self.group
        order = (groups + torch.rand((batch, streams), generator=generator)).argsort(0)
        return sources[order.to(sources.device), torch.arange(streams, device=sources.device)]


class Augment(nn.Module):
    """The whole schema, in the order of [3]: sign, channels, shift, remix; then the gain of [26].

    Args:
        shift: Samples by which a source may be shifted; the output is shorter by as many.
        flip_sign: Whether to change signs.
        flip_channels: Whether to exchange left and right.
        remix_group: Number of items among which sources are exchanged, at least 1 (none).
        gain_min: Smallest gain, at least 0.
        gain_max: Largest gain.
    """

    def __init__(
        self,
        shift: int,
        flip_sign: bool = True,
        flip_channels: bool = True,
        remix_group: int = 4,
        gain_min: float = 0.25,
        gain_max: float = 1.25,
    ):
        super().__init__()
        steps: list[nn.Module] = []
        if flip_sign:
            steps.append(FlipSign())
        if flip_channels:
            steps.append(FlipChannels())
        steps += [Shift(shift), Remix(remix_group), Gain(gain_min, gain_max)]
        self.steps = nn.ModuleList(steps)

    def forward(self, sources: Tensor, generator: Generator) -> Tensor:
        """``(batch, source, channel, time)`` -> the same, ``shift`` samples shorter."""
        for step in self.steps:
            sources = step(sources, generator)
        return sources
