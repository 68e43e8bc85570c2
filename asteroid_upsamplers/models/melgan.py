"""MelGAN's generator, with the upsampler by name.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021, Fig. 1 (a).
[4] Kumar et al., "MelGAN: generative adversarial networks for conditional waveform synthesis",
NeurIPS 2019.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

from asteroid.models import register_model
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from .. import layers
from ..errors import UsageError
from .base import PortableModel

DILATIONS = (1, 3, 9)


class MelGANGenerator(PortableModel):
    """From mel spectrograms to waveforms ([4] Sec. 2.2).

    Reflection padding and a convolution of length 7; for every stride a LeakyReLU, an upsampler
    that halves the channels, and three residual blocks of dilations 1, 3 and 9; a LeakyReLU,
    reflection padding, a convolution of length 7 and a tanh. Every weight is normalised. Weights
    start as torch draws them: the deviation of 0.02 that [4]'s implementation writes is overwritten
    by the normalisation at the first call. With the defaults 4,266,050 parameters.

    Args:
        upsampler: Name of a registered upsampler, or its class; [4] has ``"transposed"``.
        n_mels: Mel bands of the input.
        channels: Of the last stage; the first has ``2 ** len(strides)`` times as many.
        strides: Of the upsamplers; their product is the hop of the spectrogram.
        upsampler_kwargs: Further settings of the upsampler.
        sample_rate: In Hz.

    Raises:
        UsageError: (a ``ValueError``) for an impossible setting.

    Shape:
        ``(batch, n_mels, frames)``, at least 4 frames -> ``(batch, 1, frames * product of
        strides)``, in (-1, 1).

    Example:
        >>> import torch
        >>> MelGANGenerator()(torch.zeros(1, 80, 10)).shape
        torch.Size([1, 1, 2560])
    """

    def __init__(
        self,
        upsampler: str | type[layers.Upsampler] = "transposed",
        n_mels: int = 80,
        channels: int = 32,
        strides: Sequence[int] = (8, 8, 2, 2),
        upsampler_kwargs: dict[str, Any] | None = None,
        sample_rate: float = 22050,
    ):
        super().__init__(sample_rate=sample_rate, in_channels=n_mels)
        family = layers.get(upsampler)
        for setting, value in (("n_mels", n_mels), ("channels", channels), *_named(strides)):
            if value < 1:
                raise UsageError(f"MelGANGenerator: {setting} is {value}, allowed is 1 and up")
        self._model_args: dict[str, Any] = {
            "upsampler": family.name,
            "n_mels": n_mels,
            "channels": channels,
            "strides": list(strides),
            "upsampler_kwargs": dict(upsampler_kwargs or {}),
            "sample_rate": sample_rate,
        }
        width = channels * 2 ** len(strides)
        stages: list[nn.Module] = [_convolution(n_mels, width, 7)]
        for stride in strides:
            try:
                layer = family(width, width // 2, stride, **(upsampler_kwargs or {}))
            except TypeError as error:
                raise UsageError(f"upsampler_kwargs of {family.name}: {error}") from None
            width //= 2
            stages += [nn.LeakyReLU(0.2), weight_norm(layer)]
            stages += [_ResidualBlock(width, dilation) for dilation in DILATIONS]
        stages += [nn.LeakyReLU(0.2), _convolution(width, 1, 7), nn.Tanh()]
        self.stages = nn.Sequential(*stages)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """``(batch, n_mels, frames)`` -> ``(batch, 1, frames * product of strides)``."""
        if spectrogram.dim() != 3 or spectrogram.shape[1] != self.in_channels:
            raise ValueError(
                f"spectrogram of shape {tuple(spectrogram.shape)}, "
                f"(batch, {self.in_channels}, frames) is needed"
            )
        if spectrogram.shape[2] < 4:
            raise ValueError(f"{spectrogram.shape[2]} frames, at least 4 are needed")
        return self.stages(spectrogram)

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return math.prod(self._model_args["strides"])

    def get_model_args(self) -> dict[str, Any]:
        """Plain values; ``MelGANGenerator(**args)`` builds the same network."""
        return copy.deepcopy(self._model_args)


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.block = nn.Sequential(
            nn.LeakyReLU(0.2),
            _convolution(channels, channels, 3, dilation),
            nn.LeakyReLU(0.2),
            _convolution(channels, channels, 1),
        )
        self.shortcut = _convolution(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.block(x)


def _convolution(in_channels: int, out_channels: int, length: int, dilation: int = 1) -> nn.Module:
    padding = (length - 1) // 2 * dilation
    convolution = nn.Conv1d(
        in_channels,
        out_channels,
        length,
        padding=padding,
        dilation=dilation,
        padding_mode="reflect" if padding else "zeros",
    )
    return weight_norm(convolution)


def _named(strides: Sequence[int]) -> list[tuple[str, int]]:
    return [("strides", stride) for stride in strides] or [("len(strides)", 0)]


register_model(MelGANGenerator)
