"""Other upsamplers in the U-blocks of SuDORMRF, which have ``nn.Upsample`` written into them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .. import layers
from ..errors import UsageError
from .alignment import align
from .fitting import Responses, fit_responses, fitting_wanted


class ChannelwiseUpsampler(nn.Module):
    """One upsampler for every channel by itself, as ``nn.Upsample`` treats channels.

    The layer has one input and one output channel, so that the depthwise blocks around it stay
    depthwise and the network hardly grows. It starts as ``nn.Upsample`` (every sample ``stride``
    times), or as near as the family can come to that; learning is what makes it differ.

    Args:
        stride: Upsampling factor.
        upsampler: Name of a registered upsampler, or its class.
        upsampler_kwargs: Further settings of the upsampler; no bias unless they ask for one.

    Shape:
        ``(batch, channels, time)`` -> ``(batch, channels, time * stride)``.

    Example:
        >>> x = torch.randn(2, 8, 10)
        >>> same = nn.Upsample(scale_factor=2)(x)
        >>> torch.allclose(ChannelwiseUpsampler(2, "nearest")(x), same, atol=1e-6)
        True
    """

    def __init__(
        self,
        stride: int,
        upsampler: str | type[layers.Upsampler] = "nearest",
        upsampler_kwargs: dict[str, Any] | None = None,
    ):
        super().__init__()
        settings = {"bias": False, **(upsampler_kwargs or {})}
        self.upsampler = layers.make(upsampler, 1, 1, stride, **settings)
        self.alignment = align(self.upsampler, kernel_size=stride)
        if fitting_wanted():
            fit_responses(self.upsampler, Responses(torch.ones(1, stride), -self.alignment.delay))

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels, time)`` -> ``(batch, channels, time * stride)``."""
        rows = x.reshape(-1, 1, x.shape[-1])
        return self.alignment.upsample(self.upsampler, rows).reshape(*x.shape[:-1], -1)


def exchange_upsamples(
    network: nn.Module,
    upsampler: str | type[layers.Upsampler],
    upsampler_kwargs: dict[str, Any] | None = None,
) -> int:
    """Put a :class:`ChannelwiseUpsampler` in the place of every nearest-neighbour ``nn.Upsample``.

    Args:
        network: Changed in place; ``asteroid.masknn.SuDORMRF`` and ``SuDORMRFImproved`` are what it
            is meant for.
        upsampler: Name of a registered upsampler, or its class.
        upsampler_kwargs: Further settings of the upsampler.

    Returns:
        How many were exchanged.

    Raises:
        UsageError: (a ``ValueError``) if there is none.
    """
    count = 0
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Upsample) and child.mode == "nearest":
                stride = child.scale_factor
                if isinstance(stride, float) and stride.is_integer():
                    setattr(
                        parent, name, ChannelwiseUpsampler(int(stride), upsampler, upsampler_kwargs)
                    )
                    count += 1
    if not count:
        raise UsageError(
            f"{type(network).__name__}: it has no nn.Upsample with an integer factor to "
            "exchange; a network such as SuDORMRF with upsampling_depth of at least 2 is needed"
        )
    return count
