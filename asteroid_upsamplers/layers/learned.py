"""Learned interpolation, then a convolution.

[2] Stoller et al., "Wave-U-Net", ISMIR 2018, Sec. 3.2.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..dsp import centered_padding
from ..dsp.channels_last import convolve
from .base import Upsampler, register
from .settings import integer


@register
class Learned(Upsampler):
    r"""Wave-U-Net's learned interpolation ([2]), then a convolution at the output rate.

    Input samples stay where they are, ``stride`` apart; what comes between two neighbours is a mean
    of them, with weights that each channel learns:

    .. math:: u[j s] = x[j], \qquad
       u[j s + r] = \sigma(w_r) \, x[j] + (1 - \sigma(w_r)) \, x[j + 1], \quad 0 < r < s.

    At the start :math:`\sigma(w_r) = 1 - r / s`, which is linear interpolation between samples that
    stay (for stride 2: 0.5). After the last sample the signal goes on with it.

    Artifacts ([1] Sec. 3): *filtering*, by what was learned. No tones for a constant input,
    whatever the weights. The interpolation is no fixed kernel: the layer runs in the plain form,
    two steps.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Upsampling factor.
        kernel_size: Taps of the convolution at the output rate (default ``2 * stride + 1``); it is
            centred, with ``(kernel_size - 1) // 2`` zeros before and ``kernel_size // 2`` after.
        bias: Whether to add one learnable constant an output channel.

    Attributes:
        weight: ``(out_channels, in_channels, kernel_size)``, as ``nn.Conv1d``.
        bias: ``(out_channels,)`` or ``None``.
        logits: ``(stride - 1, in_channels)``, the :math:`w_r`.

    Example:
        >>> Learned(2, 3, stride=4)(torch.zeros(1, 2, 10)).shape
        torch.Size([1, 3, 40])
    """

    name = "learned"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        kernel_size: int | None = None,
        bias: bool = True,
    ):
        stride = integer(self.name, "stride", stride)
        kernel_size = 2 * stride + 1 if kernel_size is None else kernel_size
        super().__init__(in_channels, out_channels, stride, kernel_size, bias)
        shape = (self.out_channels, self.in_channels, self.kernel_size)
        self.make_parameters(shape, self.out_channels)
        places = torch.arange(1, stride) / stride
        start = torch.logit(1 - places).to(self.weight)
        self.logits = nn.Parameter(start[:, None].repeat(1, self.in_channels))

    def interpolate(self, x: Tensor) -> Tensor:
        """``(batch, in_channels, time)`` -> ``(batch, in_channels, time * stride)``."""
        step = x - torch.cat([x, x[..., -1:]], -1)[..., 1:]
        away = 1 - torch.sigmoid(self.logits).T[:, None]
        between = x[..., None] - away.to(x.dtype) * step[..., None]
        return torch.cat([x[..., None], between], -1).flatten(2)

    def upsample(self, x: Tensor) -> Tensor:
        x = F.pad(self.interpolate(x), centered_padding(self.kernel_size))
        return convolve(x, self.weight, self.bias)
