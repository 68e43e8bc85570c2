"""A multi-resolution mask network over frames."""

from __future__ import annotations

import copy
import math
from typing import Any

from asteroid.masknn import activations, norms
from asteroid.masknn.convolutional import Conv1DBlock
from asteroid.utils import has_arg
from torch import Tensor, nn

from .. import layers
from ..errors import UsageError
from .arguments import KeepsArguments, at_least


class UpsamplingUNet(KeepsArguments, nn.Module):
    """A U-Net over frames that estimates masks; stands where Asteroid's ``TDConvNet`` does.

    A bottleneck; ``depth`` times a residual block of Conv-TasNet and a strided convolution; a block
    at the lowest rate; ``depth`` times an upsampler, the sum with the frames of that resolution,
    and a block; a convolution to the masks. Where ``TDConvNet`` sees far by dilation, this does by
    resolution, at a cost that falls with every level.

    No setting is called ``stride`` or ``kernel_size``: these are the filterbank's, and Asteroid
    stores the settings of both in one dictionary.

    Args:
        in_chan: Channels of the representation.
        n_src: Number of masks.
        out_chan: Channels of a mask; ``in_chan`` if ``None``.
        depth: Number of resolutions below that of the frames, at least 1.
        conv_stride: Factor from one resolution to the next, at least 2.
        bn_chan: Channels between the blocks.
        hid_chan: Channels within a block.
        conv_kernel_size: Length of the convolutions in a block, odd.
        norm_type: Asteroid's name of a normalisation.
        mask_act: Asteroid's name of an activation.
        upsampler: Name of a registered upsampler, or its class.
        upsampler_kwargs: Further settings of the upsampler.

    Raises:
        UsageError: (a ``ValueError``) for an impossible setting.

    Shape:
        ``(batch, in_chan, frames)`` -> ``(batch, n_src, out_chan, frames)``, any number of frames.

    Example:
        >>> import torch
        >>> net = UpsamplingUNet(16, n_src=2, depth=3, bn_chan=8, hid_chan=8, upsampler="linear")
        >>> net(torch.zeros(1, 16, 37)).shape
        torch.Size([1, 2, 16, 37])
    """

    def __init__(
        self,
        in_chan: int,
        n_src: int,
        out_chan: int | None = None,
        depth: int = 4,
        conv_stride: int = 2,
        bn_chan: int = 128,
        hid_chan: int = 256,
        conv_kernel_size: int = 5,
        norm_type: str = "gLN",
        mask_act: str = "sigmoid",
        upsampler: str | type[layers.Upsampler] = "nearest",
        upsampler_kwargs: dict[str, Any] | None = None,
    ):
        super().__init__()
        at_least("UpsamplingUNet", 1, in_chan=in_chan, n_src=n_src, depth=depth, bn_chan=bn_chan)
        at_least("UpsamplingUNet", 1, hid_chan=hid_chan, conv_kernel_size=conv_kernel_size)
        at_least("UpsamplingUNet", 2, conv_stride=conv_stride)
        if conv_kernel_size % 2 == 0:
            raise UsageError(f"UpsamplingUNet: conv_kernel_size is {conv_kernel_size}, must be odd")
        self.masks = (n_src, out_chan or in_chan)
        self.bottleneck = nn.Sequential(
            norms.get(norm_type)(in_chan), nn.Conv1d(in_chan, bn_chan, 1)
        )

        def block() -> Conv1DBlock:
            padding = conv_kernel_size // 2
            return Conv1DBlock(bn_chan, hid_chan, 0, conv_kernel_size, padding, 1, norm_type)

        self.encoder = nn.ModuleList(block() for _ in range(depth))
        self.downsamplers = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(bn_chan, bn_chan, 2 * conv_stride + 1, conv_stride, padding=conv_stride),
                nn.PReLU(),
                norms.get(norm_type)(bn_chan),
            )
            for _ in range(depth)
        )
        self.bottom = block()
        self.upsamplers = nn.ModuleList(
            layers.make(upsampler, bn_chan, bn_chan, conv_stride, **(upsampler_kwargs or {}))
            for _ in range(depth)
        )
        self.decoder = nn.ModuleList(block() for _ in range(depth))
        self.mask_net = nn.Sequential(nn.PReLU(), nn.Conv1d(bn_chan, math.prod(self.masks), 1))
        activation = activations.get(mask_act)
        self.output_act = activation(dim=1) if has_arg(activation, "dim") else activation()

    def forward(self, mixture: Tensor) -> Tensor:
        """``(batch, in_chan, frames)`` -> ``(batch, n_src, out_chan, frames)``."""
        x = self.bottleneck(mixture)
        skips = []
        for block, downsample in zip(self.encoder, self.downsamplers, strict=True):
            x = x + block(x)
            skips.append(x)
            x = downsample(x)
        x = x + self.bottom(x)
        for upsample, block in zip(self.upsamplers, self.decoder, strict=True):
            skip = skips.pop()
            x = upsample(x)[..., : skip.shape[-1]] + skip
            x = x + block(x)
        return self.output_act(self.mask_net(x).unflatten(1, self.masks))

    def get_config(self) -> dict[str, Any]:
        """Plain values; ``UpsamplingUNet(**config)`` builds the same network."""
        return copy.deepcopy(self.arguments)
