"""MelGAN's generator, with any upsampler.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021, Fig. 1 (a).
[4] Kumar et al., "MelGAN: generative adversarial networks for conditional waveform synthesis",
NeurIPS 2019.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, cast

import torch
from asteroid.models import register_model
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from .. import layers
from ..blocks.arguments import at_least
from .portable import PortableModel

DILATIONS = (1, 3, 9)


class MelGANGenerator(PortableModel):
    """From mel spectrograms to waveforms ([4] Sec. 2.2).

    A convolution of length 7; for every stride a LeakyReLU, an upsampler that halves the channels,
    and three residual blocks of dilations 1, 3 and 9; a LeakyReLU, a convolution of length 7 and a
    tanh. Convolutions see reflections at the ends, and every weight is normalised. Weights start as
    torch draws them: in [4]'s implementation the normalisation overwrites the deviation of 0.02
    that it draws. The defaults have 4,266,050 parameters. State dicts of that implementation's
    generator (descriptinc/melgan-neurips) load as they are.

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

    silence = -5.0
    """What :class:`LogMelSpectrogram` makes of silence, for ``probe``."""

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
        at_least("MelGANGenerator", 1, n_mels=n_mels, channels=channels, strides=len(strides))
        self.strides = tuple(strides)
        width = channels * 2 ** len(strides)
        stages: list[nn.Module] = [_convolution(n_mels, width, 7)]
        for stride in strides:
            layer = layers.make(upsampler, width, width // 2, stride, **(upsampler_kwargs or {}))
            width //= 2
            stages += [nn.LeakyReLU(0.2), weight_norm(layer)]
            stages += [_ResidualBlock(width, dilation) for dilation in DILATIONS]
        stages += [nn.LeakyReLU(0.2), _convolution(width, 1, 7), nn.Tanh()]
        self.stages = nn.Sequential(*stages)
        self.register_load_state_dict_pre_hook(_rename_reference_weights)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """``(batch, n_mels, frames)`` -> ``(batch, 1, frames * product of strides)``."""
        if spectrogram.dim() != 3 or spectrogram.shape[1] != self.in_channels:
            raise ValueError(
                f"spectrogram of shape {tuple(spectrogram.shape)}, "
                f"must be (batch, {self.in_channels}, frames)"
            )
        if spectrogram.shape[2] < 4:
            raise ValueError(f"spectrogram of {spectrogram.shape[2]} frames, must have at least 4")
        return self.stages(spectrogram)

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return math.prod(self.strides)


class LogMelSpectrogram(nn.Module):
    """The spectrograms that [4]'s implementation trains on: log10 of mel magnitudes, at least 1e-5.

    The signal is extended by ``(n_fft - hop) / 2`` reflected samples at both ends, so that each
    frame is centred on the ``hop`` samples that the generator makes of it.

    Args:
        n_mels: Mel bands (Slaney's, area-normalised, as librosa's default).
        n_fft: Length of the window (Hann) and of the transform.
        hop: Samples from frame to frame.
        sample_rate: In Hz.

    Shape:
        ``(batch, 1, time)``, more than ``(n_fft - hop) / 2`` samples -> ``(batch, n_mels,
        time // hop)``.

    Example:
        >>> LogMelSpectrogram()(torch.zeros(1, 1, 2560)).shape
        torch.Size([1, 80, 10])
    """

    window: Tensor
    bands: Tensor

    def __init__(
        self, n_mels: int = 80, n_fft: int = 1024, hop: int = 256, sample_rate: float = 22050
    ):
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        import librosa

        bands = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels)
        self.register_buffer("bands", torch.from_numpy(bands), persistent=False)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        """``(batch, 1, time)`` -> ``(batch, n_mels, time // hop)``."""
        beyond = (self.n_fft - self.hop) // 2
        if wav.dim() != 3 or wav.shape[1] != 1 or wav.shape[2] <= beyond:
            raise ValueError(
                f"wav of shape {tuple(wav.shape)}, must be (batch, 1, more than {beyond})"
            )
        padded = F.pad(wav, (beyond, beyond), "reflect")[:, 0]
        spectrum = torch.stft(
            padded, self.n_fft, self.hop, window=self.window, center=False, return_complex=True
        )
        return (self.bands @ spectrum.abs()).clamp(min=1e-5).log10()


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


_REFERENCE_NAMES = {
    "weight_g": "parametrizations.weight.original0",
    "weight_v": "parametrizations.weight.original1",
    "bias": "bias",
}


def _rename_reference_weights(
    module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *args: Any
) -> None:
    """Give the weights of [4]'s implementation our names.

    Its list of layers holds the reflection paddings as well: one before the first convolution, one
    before the last and one in each residual block.
    """
    last = len(cast(MelGANGenerator, module).stages) - 2
    pattern = re.compile(
        re.escape(prefix)
        + r"model\.(\d+)\.(?:(block\.)(\d)\.|(shortcut)\.)?(weight_g|weight_v|bias)"
    )
    for key in list(state_dict):
        match = pattern.fullmatch(key)
        if match:
            stage = int(match[1]) - 1
            stage -= stage > last
            inner = f"block.{int(match[3]) - 1}." if match[2] else "shortcut." if match[4] else ""
            name = f"{prefix}stages.{stage}.{inner}{_REFERENCE_NAMES[match[5]]}"
            state_dict[name] = state_dict.pop(key)


register_model(MelGANGenerator)
