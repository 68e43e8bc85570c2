"""Losses that look through networks, and the remedies against what their strides do.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021, Sec. 2.
[4] Kumar et al., "MelGAN", NeurIPS 2019: the multi-scale discriminator.
[9] Donahue et al., "Adversarial audio synthesis", ICLR 2019: phase shuffle.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PhaseShuffle(nn.Module):
    """Shift feature maps in time at random, so that no phase is always the favoured one ([9]).

    Args:
        shift: Every example is shifted by a whole number of samples from ``-shift`` to ``shift``;
            what is missing at the ends is reflected. Nothing is shifted in evaluation.

    Shape:
        ``(batch, channels, time)`` -> the same, ``time > shift``.
    """

    def __init__(self, shift: int = 2):
        super().__init__()
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        """Shift each example."""
        if not (self.training and self.shift):
            return x
        starts = torch.randint(0, 2 * self.shift + 1, (len(x),)).tolist()
        around = F.pad(x, (self.shift, self.shift), mode="reflect")
        time = x.shape[-1]
        return torch.stack([row[:, k : k + time] for row, k in zip(around, starts, strict=True)])


class StridedFeatures(nn.Module):
    """Strided convolutions with LeakyReLUs between them: the features of a deep feature loss.

    Args:
        channels: Of each layer.
        kernel_size: Of each layer.
        stride: Of each layer; 1 is the stride-free remedy, with dilations ``4 ** level`` that see
            as far.
        depth: Number of layers.
        phase_shuffle: Largest shift of the feature maps between the layers, and of the input; 0 for
            none.

    Shape:
        ``(batch, 1, time)`` -> a list of ``depth`` feature maps ``(batch, channels, frames)``.
    """

    def __init__(
        self,
        channels: int = 16,
        kernel_size: int = 15,
        stride: int = 4,
        depth: int = 3,
        phase_shuffle: int = 0,
    ):
        super().__init__()
        sizes = [1, *[channels] * depth]
        self.shuffle = PhaseShuffle(phase_shuffle)
        self.layers = nn.ModuleList(
            nn.Conv1d(
                sizes[level],
                sizes[level + 1],
                kernel_size,
                stride,
                dilation=4**level if stride == 1 else 1,
            )
            for level in range(depth)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """The feature maps of all layers."""
        return list(self._features(x))

    def _features(self, x: Tensor) -> Iterator[Tensor]:
        for layer in self.layers:
            x = F.leaky_relu(layer(self.shuffle(x)), 0.2)
            yield x


class MelGANDiscriminator(nn.Module):
    """One scale of MelGAN's discriminator ([4] Sec. 2.3, its reference implementation's layers).

    Reflection padding and a convolution of length 15 to 16 channels; four grouped ones of length 41
    and stride 4, to at most 1024 channels, ``width`` 64 times that of the first here; then lengths
    5 and 3. Weights are normalised.

    Args:
        width: Channels of the first layer (16 in the paper).
        phase_shuffle: As in :class:`StridedFeatures`.

    Shape:
        ``(batch, 1, time)`` -> a list of seven feature maps, the last the scores.
    """

    def __init__(self, width: int = 16, phase_shuffle: int = 0):
        super().__init__()
        normalized = nn.utils.parametrizations.weight_norm
        self.shuffle = PhaseShuffle(phase_shuffle)
        layers: list[nn.Module] = [
            nn.Sequential(nn.ReflectionPad1d(7), normalized(nn.Conv1d(1, width, 15)))
        ]
        channels = width
        for _ in range(4):
            wider = min(4 * channels, 64 * width)
            layers.append(
                normalized(nn.Conv1d(channels, wider, 41, 4, padding=20, groups=channels // 4))
            )
            channels = wider
        layers.append(normalized(nn.Conv1d(channels, channels, 5, padding=2)))
        self.layers = nn.ModuleList(layers)
        self.score = normalized(nn.Conv1d(channels, 1, 3, padding=1))

    def forward(self, x: Tensor) -> list[Tensor]:
        """The feature maps of all layers, the scores last."""
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(self.shuffle(x)), 0.2)
            features.append(x)
        return [*features, self.score(x)]


class MultiScaleDiscriminator(nn.Module):
    """MelGAN's three discriminators, at the full, half and quarter rate ([4] Sec. 2.3).

    Args:
        width: As in :class:`MelGANDiscriminator`.
        phase_shuffle: As there.

    Shape:
        ``(batch, 1, time)`` -> a list of 21 feature maps.
    """

    def __init__(self, width: int = 16, phase_shuffle: int = 0):
        super().__init__()
        self.scales = nn.ModuleList(MelGANDiscriminator(width, phase_shuffle) for _ in range(3))

    def forward(self, x: Tensor) -> list[Tensor]:
        """The feature maps of all scales."""
        features = []
        for scale in self.scales:
            features += scale(x)
            x = F.avg_pool1d(x, 4, 2, padding=1, count_include_pad=False)
        return features


class FeatureLoss(nn.Module):
    """Mean absolute difference of two signals' features, summed over the feature maps.

    Args:
        features: From ``(batch, 1, time)`` to a list of feature maps.
    """

    def __init__(self, features: nn.Module):
        super().__init__()
        self.features = features

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Two signals ``(batch, 1, time)`` -> a scalar."""
        pairs = zip(self.features(estimate), self.features(target), strict=True)
        return torch.stack([F.l1_loss(mine, other) for mine, other in pairs]).sum()
