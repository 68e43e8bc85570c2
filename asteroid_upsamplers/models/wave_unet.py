r"""Wave-U-Net, with any upsampler.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021, Table 1.
[2] Stoller et al., "Wave-U-Net: a multi-scale neural network for end-to-end audio source
separation", ISMIR 2018, Sec. 3, and the authors' implementation, f90/Wave-U-Net.

A level decimates by 2 on the way down and doubles on the way up, so that with :math:`D` levels,
convolutions of :math:`K` samples down and at the bottom and of :math:`U` up, none of them padded,

.. math:: 2^D (n - U) + U, \qquad (2^D - 1) (K + U - 2) + 2^D (K - 1)

are the samples that :math:`n` bottom frames give, and by how many the input has more.
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
from ..dsp import center_trim, centered_padding, covering_frames
from ..errors import UsageError
from ..layers.settings import flag
from .base import MusicSeparator

SLOPE = 0.2


class WaveUNet(MusicSeparator):
    """The Wave-U-Net of [2]: ``depth`` levels down, a bottom convolution, ``depth`` levels up.

    A level down is a convolution and a LeakyReLU, then every other sample is dropped; a level up
    doubles the rate, puts the features of the same level down before its own, and is a convolution
    and a LeakyReLU. The mixture is put before the last features, and a convolution of length 1 and
    a tanh make each source. With the defaults it is M6 of [2], 10,263,498 parameters, but for the
    order of the sources; with ``sources=("accompaniment", "vocals")`` M4, and with
    ``upsampler="learned"`` too M5. Weights start as in the authors' implementation, from Glorot's
    uniform distribution, biases at 0. That clips the last source to [-1, 1] once trained; here the
    sources always add up to the mixture.

    ``"linear"`` and ``"learned"`` are the two interpolations of [2]. Neither has a convolution of
    its own, unlike the registered layers of these names: that of the level follows. Samples stay
    where they are, and between two neighbours comes ``s * x[t] + (1 - s) * x[t + 1]``, with ``s``
    0.5, or the sigmoid of a weight for each channel (at the start 0.5). Any other upsampler is the
    registered layer, with as many channels out as in.

    With ``context`` no convolution is padded, and of the ``2 * n`` samples that an upsampler makes
    of ``n`` frames the last is dropped: what comes after the last frame is no mean of two. First
    samples stay first, so that sample ``2 * t`` is still that of frame ``t``, which was sample
    ``2 * t`` before the decimation. (Most registered layers answer around the middle of that sample
    and the next, half a sample later; ``sinc`` and ``stretch`` around that sample.)
    Registered layers pad by themselves, and so do not see beyond the ends of their frames.

    Args:
        sources: Names of the sources, in the order of the output, at least two.
        upsampler: Name of a registered upsampler, or its class.
        depth: Number of levels, at least 1.
        channels: Of the first level; level ``i`` has ``i * channels``, the bottom is the last.
        audio_channels: Channels of the mixture and of each source.
        kernel_size: Length of the convolutions down and of the bottom one, odd.
        up_kernel_size: Length of the convolutions up, odd.
        context: Whether convolutions see input where there would be zeros: as M3 to M6 of [2].
            If not, each is padded with zeros, as in M1 and M2 ("learned" then ends, as "linear"
            does, with the last sample twice).
        difference_output: Whether the last source is the mixture less the others.
        upsampler_kwargs: Further settings of a registered upsampler; the interpolations of [2] have
            none.
        sample_rate: In Hz.
        normalize: Whether ``separate`` brings a track to level 1 and its estimates back.

    Raises:
        UsageError: (a ``ValueError``) for an impossible setting.

    Shape:
        ``(batch, audio_channels, time)`` -> ``(batch, len(sources), audio_channels, time)``, any
        time from 1 up; see :meth:`forward_with_context` for an input that is longer than that.

    Example:
        >>> model = WaveUNet(depth=3, channels=4)
        >>> model(torch.zeros(1, 2, 1000)).shape
        torch.Size([1, 4, 2, 1000])
        >>> model.valid_length(1000), model.margin
        (1243, 238)
        >>> model.forward_with_context(torch.zeros(1, 2, 1243)).shape
        torch.Size([1, 4, 2, 1005])
    """

    def __init__(
        self,
        sources: Sequence[str] = ("drums", "bass", "other", "vocals"),
        upsampler: str | type[layers.Upsampler] = "linear",
        depth: int = 12,
        channels: int = 24,
        audio_channels: int = 2,
        kernel_size: int = 15,
        up_kernel_size: int = 5,
        context: bool = True,
        difference_output: bool = True,
        upsampler_kwargs: dict[str, Any] | None = None,
        sample_rate: float = 22050,
        normalize: bool = False,
    ):
        super().__init__(sources, audio_channels, sample_rate, normalize)
        at_least("WaveUNet", 1, depth=depth, channels=channels)
        at_least("WaveUNet", 2, **{"len(sources)": len(sources)})
        for name, length in (("kernel_size", kernel_size), ("up_kernel_size", up_kernel_size)):
            at_least("WaveUNet", 1, **{name: length})
            if length % 2 == 0:
                raise UsageError(f"WaveUNet: {name} is {length}, must be odd")
        self.depth, self.context = depth, flag("WaveUNet", "context", context)
        self.difference_output = flag("WaveUNet", "difference_output", difference_output)
        self.kernel_size, self.up_kernel_size = kernel_size, up_kernel_size

        widths = [channels * level for level in range(1, depth + 2)]
        self.encoder = nn.ModuleList(
            _convolution(before, after, kernel_size, context)
            for before, after in zip([audio_channels, *widths[:-2]], widths[:-1], strict=True)
        )
        self.bottom = _convolution(widths[-2], widths[-1], kernel_size, context)
        self.upsamplers = nn.ModuleList(
            _upsampler(upsampler, width, upsampler_kwargs or {}) for width in widths[:0:-1]
        )
        self.decoder = nn.ModuleList(
            _convolution(below + width, width, up_kernel_size, context)
            for below, width in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.outputs = nn.ModuleList(
            _convolution(channels + audio_channels, audio_channels, 1, context)
            for _ in range(len(self.sources) - difference_output)
        )

    def forward(self, mixture: Tensor) -> Tensor:
        """``(batch, audio_channels, time)`` -> ``(batch, n_src, audio_channels, time)``.

        Zeros on both sides make the input as long as is needed.
        """
        self.check_shape(mixture)
        time = mixture.shape[-1]
        missing = self.valid_length(time) - time
        padded = F.pad(mixture, (missing // 2, missing - missing // 2))
        return center_trim(self.forward_with_context(padded), time)

    def forward_with_context(self, mixture: Tensor) -> Tensor:
        """The estimates for the middle of an input that brings its own context.

        For excerpts of a longer signal, in training and in chunks: what is around them is real, and
        nothing is padded (with ``context=False`` the convolutions are, and nothing is cut).

        Args:
            mixture: ``(batch, audio_channels, time)``, of a :meth:`valid_length`.

        Returns:
            ``(batch, n_src, audio_channels, time - margin)``; half the :attr:`margin` is missing on
            either side.

        Raises:
            ValueError: If the levels do not fit that time.
        """
        self.check_shape(mixture)
        time = mixture.shape[-1]
        fitting = self.valid_length(max(1, time - self.margin))
        if time != fitting:
            raise ValueError(f"{time} samples do not fit the levels, {fitting} would")
        x, skips = mixture, []
        for convolution in self.encoder:
            x = F.leaky_relu(convolution(x), SLOPE)
            skips.append(x)
            x = x[..., ::2]
        x = F.leaky_relu(self.bottom(x), SLOPE)
        for upsample, convolution in zip(self.upsamplers, self.decoder, strict=True):
            x = upsample(x)[..., : -1 if self.context else None]
            x = torch.cat([center_trim(skips.pop(), x.shape[-1]), x], 1)
            x = F.leaky_relu(convolution(x), SLOPE)
        heard = center_trim(mixture, x.shape[-1])
        x = torch.cat([heard, x], 1)
        estimates = torch.stack([convolution(x) for convolution in self.outputs], 1).tanh()
        if self.difference_output:
            estimates = torch.cat([estimates, (heard - estimates.sum(1))[:, None]], 1)
        return estimates

    @property
    def upsampling_strides(self) -> tuple[int, ...]:
        """One factor of 2 a level."""
        return (2,) * self.depth

    def needed_context(self, time: int) -> tuple[int, int]:
        """Samples before and after ``time`` of them that make a :meth:`valid_length`."""
        before = self.margin // 2
        return before, self.valid_length(time) - time - before

    @property
    def margin(self) -> int:
        """Samples, on both sides together, by which the input is longer than what comes out."""
        step = 2**self.depth
        both = self.kernel_size + self.up_kernel_size - 2
        return (step - 1) * both + step * (self.kernel_size - 1) if self.context else 0

    def valid_length(self, time: int) -> int:
        """The shortest input that fits the levels and whose output covers ``time`` samples.

        One more ``2 ** depth`` samples fit, too, and give as many more.
        """
        step = 2**self.depth
        least = self.up_kernel_size if self.context else 0
        below = covering_frames(least, step)  # a time may be shorter than ``least``
        steps = covering_frames(time - least + below * step, step) - below
        return self.margin + least + step * steps


class _Interpolation(nn.Module):
    """Puts a mean between neighbours ([2]): ``n`` frames make ``2 * n``, the last one twice."""

    def __init__(self, channels: int, learned: bool):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(channels)) if learned else None

    def forward(self, x: Tensor) -> Tensor:
        step = torch.cat([x[..., 1:], x[..., -1:]], -1) - x
        away = 0.5 if self.logits is None else 1 - torch.sigmoid(self.logits)[:, None]
        return torch.stack([x, x + away * step], -1).flatten(-2)


def _upsampler(
    upsampler: str | type[layers.Upsampler], channels: int, settings: dict[str, Any]
) -> nn.Module:
    family = layers.get(upsampler)
    if family in (layers.Linear, layers.Learned):
        if settings:
            raise UsageError(
                f"WaveUNet: upsampler_kwargs is {settings}, must be empty for {family.name}: the "
                "interpolations of Wave-U-Net have no settings"
            )
        return _Interpolation(channels, learned=family is layers.Learned)
    layer = layers.make(family, channels, channels, 2, **settings)
    if layer.output_length(2) != 4:
        raise UsageError(
            f"WaveUNet: upsampler_kwargs is {settings}, must give 4 samples for 2, not "
            f"{layer.output_length(2)}"
        )
    return layer


def _convolution(in_channels: int, out_channels: int, length: int, context: bool) -> nn.Conv1d:
    padding = 0 if context else centered_padding(length)[0]
    convolution = nn.Conv1d(in_channels, out_channels, length, padding=padding)
    nn.init.xavier_uniform_(convolution.weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


register_model(WaveUNet)
