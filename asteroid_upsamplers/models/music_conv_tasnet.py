"""Conv-TasNet for stereo music: Asteroid's network, with any upsampler in its decoder.

[3] Défossez et al., "Music source separation in the waveform domain", arXiv 1911.13254, Sec. 4.
[8] Luo and Mesgarani, "Conv-TasNet: surpassing ideal time-frequency magnitude masking for speech
separation", IEEE/ACM TASLP 27(8), 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asteroid.masknn import TDConvNet
from asteroid.models import register_model
from torch import Tensor
from torch.nn import functional as F

from .. import layers
from ..blocks.arguments import at_least
from ..dsp import covering_frames
from .base import MusicSeparator
from .with_upsampler import UpsamplerConvTasNet


class MusicConvTasNet(MusicSeparator):
    """Asteroid's Conv-TasNet ([8]) for several channels: the baseline that its users know.

    One encoder and one decoder serve all channels. With ``joint`` the mask network sees the
    features of all channels and gives each its own masks, as in [3]. Without, every channel is
    separated as a mono signal, and the parameters are those of Asteroid's ``ConvTasNet``.

    The defaults are the sizes that [3] trains on music; Asteroid's own are made for speech.

    Args:
        sources: Names of the sources, in the order of the output.
        upsampler: Name of a registered upsampler, or its class, for the decoder; ``"transposed"``
            is Asteroid's own decoder.
        joint: Whether the mask network sees all channels at once.
        audio_channels: Channels of the mixture and of each source.
        n_filters: Features of the encoder a channel.
        kernel_size: Length of the encoder's filters.
        stride: Samples from frame to frame, and the decoder's upsampling factor.
        n_blocks: Convolutional blocks in each repeat of the mask network.
        n_repeats: Repeats.
        bn_chan: Channels between the blocks.
        hid_chan: Channels within a block.
        skip_chan: Channels of the skip connections; 0 for none.
        norm_type: Asteroid's name of the normalisation.
        mask_act: Asteroid's name of the masks' activation.
        upsampler_kwargs: Further settings of the upsampler, see ``blocks.UpsamplerDecoder``.
        sample_rate: In Hz.
        normalize: Whether ``separate`` brings a track to level 1 and its estimates back.

    Raises:
        UsageError: (a ``ValueError``) for an impossible setting.

    Shape:
        ``(batch, audio_channels, time)`` -> ``(batch, len(sources), audio_channels, time)``.

    Example:
        >>> import torch
        >>> model = MusicConvTasNet(n_filters=8, n_blocks=2, n_repeats=1, upsampler="linear")
        >>> model(torch.zeros(1, 2, 1000)).shape
        torch.Size([1, 4, 2, 1000])
    """

    def __init__(
        self,
        sources: Sequence[str] = ("drums", "bass", "other", "vocals"),
        upsampler: str | type[layers.Upsampler] = "transposed",
        joint: bool = True,
        audio_channels: int = 2,
        n_filters: int = 256,
        kernel_size: int = 20,
        stride: int = 10,
        n_blocks: int = 10,
        n_repeats: int = 4,
        bn_chan: int = 256,
        hid_chan: int = 512,
        skip_chan: int = 0,
        norm_type: str = "gLN",
        mask_act: str = "relu",
        upsampler_kwargs: dict[str, Any] | None = None,
        sample_rate: float = 44100,
        normalize: bool = False,
    ):
        super().__init__(sources, audio_channels, sample_rate, normalize)
        at_least("MusicConvTasNet", 1, n_filters=n_filters, stride=stride, n_blocks=n_blocks)
        at_least("MusicConvTasNet", 1, n_repeats=n_repeats, bn_chan=bn_chan, hid_chan=hid_chan)
        at_least("MusicConvTasNet", 0, skip_chan=skip_chan)
        at_least("MusicConvTasNet", stride, kernel_size=kernel_size)
        masker: dict[str, Any] = {
            "n_blocks": n_blocks,
            "n_repeats": n_repeats,
            "bn_chan": bn_chan,
            "hid_chan": hid_chan,
            "skip_chan": skip_chan,
            "norm_type": norm_type,
            "mask_act": mask_act,
        }
        self.kernel_size, self.stride = kernel_size, stride
        self.joint = joint
        self.network = UpsamplerConvTasNet(
            n_src=len(self.sources),
            n_filters=n_filters,
            kernel_size=kernel_size,
            stride=stride,
            upsampler=upsampler,
            upsampler_kwargs=upsampler_kwargs,
            sample_rate=sample_rate,
            **masker,
        )
        if joint:
            features = audio_channels * n_filters
            self.network.masker = TDConvNet(features, len(self.sources), features, **masker)

    def forward(self, mixture: Tensor) -> Tensor:
        """``(batch, audio_channels, time)`` -> ``(batch, n_src, audio_channels, time)``."""
        self.check_shape(mixture)
        batch, channels, time = mixture.shape
        network: Any = self.network
        features = network.forward_encoder(self._padded(mixture).flatten(0, 1)[:, None])
        features = features.reshape(batch, channels, *features.shape[1:])
        if self.joint:
            masks = network.forward_masker(features.flatten(1, 2)).unflatten(2, (channels, -1))
        else:
            masks = network.forward_masker(features.flatten(0, 1))
            masks = masks.reshape(batch, channels, *masks.shape[1:]).transpose(1, 2)
        sounds = network.forward_decoder((masks * features[:, None]).flatten(1, 2))
        return sounds[..., :time].unflatten(1, (-1, channels))

    def _padded(self, mixture: Tensor) -> Tensor:
        """With silence behind it, so that the last frame's filters cover the last sample."""
        time = mixture.shape[-1]
        frames = covering_frames(time - self.kernel_size, self.stride)
        return F.pad(mixture, (0, self.kernel_size + frames * self.stride - time))

    @property
    def upsampling_strides(self) -> tuple[int, ...]:
        """That of the decoder."""
        return (self.stride,)


register_model(MusicConvTasNet)
