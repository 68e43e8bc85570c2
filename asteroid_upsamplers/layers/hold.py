"""Hold kernels of any order, then a convolution.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
[8] Kinoshita and Kiya, "Fixed smooth convolutional layer for avoiding checkerboard artifacts in
CNNs", arXiv 2002.02117.
"""

from __future__ import annotations

from ..dsp import InterpolationKernel, hold_kernel
from .base import register
from .interpolation import Interpolation
from .settings import integer


@register
class Hold(Interpolation):
    """Interpolation by a hold kernel ([8]), then a convolution.

    The kernel is a rectangle of ``stride`` samples, convolved with itself ``order`` times: order 0
    is :class:`Nearest`, order 1 a triangle, each further one smoother. It is centred on the
    ``stride`` samples that nearest neighbours would make, or half a sample earlier. Beyond its ends
    the input goes on with its first and last sample.

    Artifacts ([1] Sec. 3): *filtering*, by a sinc to the power ``order + 1``: with every order the
    images fall further, and so does the top of the input's own band. No tones for a constant
    input, whatever the weights. For the other settings, see :class:`Interpolation`.

    Args:
        order: Of the kernel, at least 0.

    Example:
        >>> import torch
        >>> Hold(2, 3, stride=4, order=2)(torch.zeros(1, 2, 10)).shape
        torch.Size([1, 3, 40])

        The strongest image of a sinusoid at a quarter of the input rate, in dB, by order:

        >>> from asteroid_upsamplers import artifacts
        >>> layers = [Hold(1, 1, stride=4, kernel_size=1, order=order) for order in range(4)]
        >>> [round(max(artifacts.replicas(layer, 0.25).levels_db)) for layer in layers]
        [-9, -18, -27, -36]
    """

    name = "hold"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        kernel_size: int | str | None = None,
        bias: bool = True,
        padding_mode: str = "zeros",
        form: str = "auto",
        order: int = 1,
    ):
        self.order = integer(self.name, "order", order, least=0)
        super().__init__(in_channels, out_channels, stride, kernel_size, bias, padding_mode, form)

    def interpolation_kernel(self) -> InterpolationKernel:
        return hold_kernel(self.stride, self.order)
