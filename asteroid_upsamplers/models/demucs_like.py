"""Demucs-like waveform separators that differ in their upsampling layer.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
[3] Défossez et al., "Music source separation in the waveform domain", arXiv 1911.13254.
[8] Kinoshita and Kiya, "Fixed smooth convolutional layer", arXiv 2002.02117.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

import julius
import torch
from asteroid.models import register_model
from torch import Tensor, nn
from torch.nn import functional as F

from .. import layers
from ..blocks import HeldConvolution
from ..blocks.arguments import at_least
from ..dsp import center_trim, covering_frames, transposed_length
from ..dsp.channels_last import channels_last, convolve, prefers_channels_last
from ..errors import UsageError
from ..layers.settings import flag
from .base import MusicSeparator

RESCALE_REFERENCE = 0.1


class DemucsLike(MusicSeparator):
    """The Demucs-like models of [1] Sec. 6: ``depth`` blocks down, two LSTMs, ``depth`` blocks up.

    An encoder block is a strided convolution, a ReLU, and a convolution with a GLU. A decoder block
    is a convolution with a GLU, the upsampler, and a ReLU (none in the last block). Channels double
    from block to block; the skip connections are added after a centre trim. Only the input is
    padded: it may have any length, and the output has the same. Initial weights and biases of every
    convolution and upsampler are divided by ``sqrt(std(weight) / 0.1)`` ([3] Sec. 3.2).

    Reference [3] itself is ``DemucsLike(channels=100, encoder_context=0)``; Table 1 of [1] gives
    its own models some 8 % more parameters, which ``encoder_context=1`` accounts for. Weights of
    the ``demucs`` package's ``Demucs`` (that architecture, with transposed convolutions) load as
    they are; :func:`load_demucs_checkpoint` reads its files.

    Args:
        sources: Names of the sources, in the order of the output.
        upsampler: Name of a registered upsampler, or its class.
        modified: [1] Fig. 9: no ReLU in the first layer and no bias anywhere, the LSTM's included,
            so that silence in gives silence out.
        channels: Channels of the first block, at least 1.
        depth: Number of blocks each way, at least 1.
        audio_channels: Channels of the mixture and of each source.
        kernel_size: Length of the strided convolutions, at least ``stride``.
        stride: Downsampling and upsampling factor of a block.
        encoder_context: Samples on either side that the encoder's GLU convolution sees (0: length
            1, as [3]; 1: length 3, as the decoder's).
        upsampler_kwargs: Further settings of the upsampler, such as ``kernel_size``.
        sample_rate: In Hz.
        normalize: Whether ``separate`` brings a track to level 1 and its estimates back, as [3]
            does around its network; ``forward`` never does.
        resample: Whether the network works at twice the sample rate, as Demucs v2: windowed sinc
            filters double the rate before it and halve it after it.
        encoder_hold: Order of a hold kernel ([8]) before every strided convolution; ``None``: none,
            as [3]. See :class:`~asteroid_upsamplers.blocks.HeldConvolution`.

    Raises:
        UsageError: (a ``ValueError``) for an impossible setting.

    Shape:
        ``(batch, audio_channels, time)`` -> ``(batch, len(sources), audio_channels, time)``.

    Example:
        >>> model = DemucsLike(upsampler="nearest", channels=4, depth=3)
        >>> model(torch.zeros(1, 2, 1000)).shape
        torch.Size([1, 4, 2, 1000])
    """

    def __init__(
        self,
        sources: Sequence[str] = ("drums", "bass", "other", "vocals"),
        upsampler: str | type[layers.Upsampler] = "transposed",
        modified: bool = False,
        channels: int = 64,
        depth: int = 6,
        audio_channels: int = 2,
        kernel_size: int = 8,
        stride: int = 4,
        encoder_context: int = 1,
        upsampler_kwargs: dict[str, Any] | None = None,
        sample_rate: float = 44100,
        normalize: bool = False,
        resample: bool = False,
        encoder_hold: int | None = None,
    ):
        super().__init__(sources, audio_channels, sample_rate, normalize)
        at_least("DemucsLike", 1, channels=channels, depth=depth, stride=stride)
        at_least("DemucsLike", 0, encoder_context=encoder_context)
        for name, value in (("modified", modified), ("resample", resample)):
            flag("DemucsLike", name, value)
        at_least("DemucsLike", stride, kernel_size=kernel_size)  # shorter ones skip samples
        if encoder_hold is not None:
            at_least("DemucsLike", 0, encoder_hold=encoder_hold)
        settings, bias = {"bias": not modified, **(upsampler_kwargs or {})}, not modified
        if layers.get(upsampler) is layers.Transposed:  # the encoder's mirror: [3] never pads
            settings = {"trim": False, "kernel_size": kernel_size, **settings}

        self.kernel_size, self.stride, self.resample = kernel_size, stride, resample
        self.encoder_hold = encoder_hold
        widths = [channels * 2**level for level in range(depth)]
        outer = [audio_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(
            _EncoderBlock(
                outer[level],
                widths[level],
                kernel_size,
                stride,
                encoder_context,
                relu=not (modified and level == 0),
                bias=bias,
                hold=encoder_hold,
            )
            for level in range(depth)
        )
        self.lstm = _BidirectionalLSTM(widths[-1], bias)
        outer[0] = len(self.sources) * audio_channels
        self.decoder = nn.ModuleList(
            _DecoderBlock(
                widths[level],
                layers.make(upsampler, widths[level], outer[level], stride, **settings),
                relu=level > 0,
                bias=bias,
            )
            for level in reversed(range(depth))
        )
        if self._decoded_length(1) > self._encoded_length(1):
            raise UsageError(
                f"DemucsLike: with upsampler_kwargs {settings} outputs are longer than the inputs "
                f"of strided convolutions: kernel_size must be at most {kernel_size}, or trim=True"
            )
        _rescale(self, RESCALE_REFERENCE)
        self.register_load_state_dict_pre_hook(_rename_reference_weights)

    def forward(self, mixture: Tensor) -> Tensor:
        """``(batch, audio_channels, time)`` -> ``(batch, n_src, audio_channels, time)``."""
        self.check_shape(mixture)
        batch, channels, time = mixture.shape
        missing = self.valid_length(time) - time
        x = F.pad(mixture, (missing // 2, missing - missing // 2))
        if self.resample:
            x = julius.resample_frac(x, 1, 2)
        if prefers_channels_last(x):
            x = channels_last(x)
        skips = []
        for encode in self.encoder:
            x = encode(x)
            skips.append(x)
        x = self.lstm(x)
        for decode in self.decoder:
            x = decode(x + center_trim(skips.pop(), x.shape[-1]))
        if self.resample:
            x = julius.resample_frac(x, 2, 1)
        return center_trim(x, time).reshape(batch, len(self.sources), channels, time)

    @property
    def upsampling_strides(self) -> tuple[int, ...]:
        """One a decoder block; at twice the rate, the last one's tones lie twice as high."""
        halved = self.resample and self.stride % 2 == 0
        last = self.stride // 2 if halved else self.stride
        return (*[self.stride] * (len(self.decoder) - 1), last)

    @property
    def repeated_blocks(self) -> tuple[nn.Module, ...]:
        """Those of the encoder, the recurrent layers, those of the decoder."""
        return (*self.encoder, self.lstm, *self.decoder)

    def valid_length(self, time: int) -> int:
        """The shortest input that no strided convolution cuts and whose output covers ``time``."""
        rate, period = 2 if self.resample else 1, self.stride ** len(self.encoder)
        missing = rate * time - self._decoded_length(1)  # further frames add a period each
        frames = covering_frames(missing, period)
        return (self._encoded_length(1) + frames * period + rate - 1) // rate

    def _encoded_length(self, frames: int) -> int:
        """Samples that the encoder turns into ``frames`` without cutting any."""
        for _ in self.encoder:
            frames = transposed_length(frames, self.stride, self.kernel_size)
        return frames

    def _decoded_length(self, frames: int) -> int:
        for block in self.decoder:
            frames = cast(_DecoderBlock, block).upsampler.output_length(frames)
        return frames


class _Convolution(nn.Conv1d):
    """torch's own, in the memory order that suits its input."""

    def forward(self, x: Tensor) -> Tensor:
        return convolve(x, self.weight, self.bias, self.stride[0], cast(int, self.padding[0]))


class _EncoderBlock(nn.Module):
    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel_size: int,
        stride: int,
        context: int,
        relu: bool,
        bias: bool,
        hold: int | None,
    ):
        super().__init__()
        self.downsample = (
            _Convolution(in_channels, channels, kernel_size, stride, bias=bias)
            if hold is None
            else HeldConvolution(in_channels, channels, kernel_size, stride, bias, order=hold)
        )
        self.relu = nn.ReLU() if relu else nn.Identity()
        self.rewrite = _Convolution(
            channels, 2 * channels, 2 * context + 1, padding=context, bias=bias
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.glu(self.rewrite(self.relu(self.downsample(x))), dim=1)


class _DecoderBlock(nn.Module):
    def __init__(self, channels: int, upsampler: layers.Upsampler, relu: bool, bias: bool):
        super().__init__()
        self.rewrite = _Convolution(channels, 2 * channels, 3, padding=1, bias=bias)
        self.upsampler = upsampler
        self.relu = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.upsampler(F.glu(self.rewrite(x), dim=1)))


class _BidirectionalLSTM(nn.Module):
    def __init__(self, channels: int, bias: bool):
        super().__init__()
        self.lstm = nn.LSTM(channels, channels, num_layers=2, bidirectional=True, bias=bias)
        self.linear = nn.Linear(2 * channels, channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.lstm(x.permute(2, 0, 1))[0]).permute(1, 2, 0)


@torch.no_grad()
def _rescale(module: nn.Module, reference: float) -> None:
    for layer in module.modules():
        own = getattr(layer, "weight", None) is not None  # not a module of its own
        if own and isinstance(layer, (nn.Conv1d, layers.Upsampler)):
            scale = (layer.weight.std() / reference).sqrt()
            for name in ("weight", "bias"):
                parameter = getattr(layer, name)
                if parameter is not None:
                    parameter /= scale


_REFERENCE_NAMES = {
    "encoder": {"0": "downsample", "2": "rewrite", "3": "rewrite"},
    "decoder": {"0": "rewrite", "2": "upsampler", "3": "upsampler"},
}


def _rename_reference_weights(
    module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *args: Any
) -> None:
    """Give the weights of the ``demucs`` package's ``Demucs`` our names.

    Its blocks are numbered lists: the second convolution is number 2 in its first releases, and
    number 3 since a normalisation stands before it.
    """
    pattern = re.compile(re.escape(prefix) + r"(encoder|decoder)\.(\d+)\.(\d)\.(weight|bias)")
    for key in list(state_dict):
        match = pattern.fullmatch(key)
        if match and match[3] in _REFERENCE_NAMES[match[1]]:
            name = _REFERENCE_NAMES[match[1]][match[3]]
            state_dict[f"{prefix}{match[1]}.{match[2]}.{name}.{match[4]}"] = state_dict.pop(key)


register_model(DemucsLike)
