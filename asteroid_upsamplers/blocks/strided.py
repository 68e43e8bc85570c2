"""Strided convolutions whose gradients have no tones.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
[8] Kinoshita and Kiya, "Fixed smooth convolutional layer for avoiding checkerboard artifacts in
CNNs", arXiv 2002.02117.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ..dsp.channels_last import convolve
from ..dsp.kernels import hold_taps
from ..dsp.precision import without_autocast
from ..layers.settings import integer


class HeldConvolution(nn.Conv1d):
    """A hold kernel, then a strided convolution ([8]).

    The backward pass of a strided convolution is a transposed one, which makes a tone of a constant
    gradient ([1] Sec. 2, issue iii). A fixed low-pass with zeros at all multiples of the output
    rate, before the convolution, takes these tones out of what it passes on: a constant gradient
    reaches all samples alike, whatever the weights. It also attenuates what would alias. Both
    filters are one convolution with a longer kernel.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Of the convolution.
        stride: Input samples from one output sample to the next.
        bias: Whether to add one learnable constant an output channel.
        order: Of the hold kernel: moving averages over ``stride`` samples, less one.

    Shape:
        As ``nn.Conv1d`` without padding; the hold kernel sees zeros beyond the ends.

    Example:
        >>> import torch
        >>> HeldConvolution(2, 3, kernel_size=8, stride=4)(torch.zeros(1, 2, 40)).shape
        torch.Size([1, 3, 9])

        How unevenly the gradient of the mean absolute difference of two noises, as features, is
        spread over a period: without a hold kernel, and with orders 0, 1 and 2.

        >>> from asteroid_upsamplers.artifacts import loss_gradient
        >>> for order in (None, 0, 1, 2):
        ...     _ = torch.manual_seed(0)
        ...     held = {} if order is None else {"order": order}
        ...     conv = (HeldConvolution if held else nn.Conv1d)(1, 32, 8, 4, **held)
        ...     loss = lambda a, b: (conv(a) - conv(b)).abs().mean()
        ...     print(f"{loss_gradient(loss, period=4).modulation:.2f}")
        0.19
        0.11
        0.04
        0.01
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        bias: bool = True,
        order: int = 0,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, bias=bias)
        self.order = integer("HeldConvolution", "order", order, 0)
        self.taps: list[float] = hold_taps(stride, order).tolist()

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, in_channels, time)`` -> ``(batch, out_channels, frames)``."""
        more = len(self.taps) - 1
        with without_autocast(x.device):
            rows = F.pad(self.weight, (more, more)).flatten(0, 1)[:, None]
            weight = F.conv1d(rows, rows.new_tensor(self.taps)[None, None])
        weight = weight.view(self.out_channels, self.in_channels, -1)
        return convolve(F.pad(x, (more // 2, more - more // 2)), weight, self.bias, self.stride[0])
