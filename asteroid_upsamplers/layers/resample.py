"""Resampling with a low-pass against images, and a high-passed side path.

[9] Gu et al., "Aliasing-free neural audio synthesis", arXiv 2512.20211.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..dsp import InterpolationKernel, UpsamplingSystem, center_trim, interpolate, sinc_kernel
from ..dsp.channels_last import convolve
from ..dsp.polyphase import filter_bank
from ..dsp.precision import without_autocast
from ..errors import UsageError
from .base import register
from .interpolation import LEAST_ROLLOFF, Interpolation
from .settings import integer, number
from .tone_free import equal_phase_gains


@register
class Resample(Interpolation):
    r"""Zero insertion, a windowed sinc against the images, a convolution of length 1 or more ([9]).

    The low-pass is that of ``julius.resample_frac``: a Hann-windowed sinc, every branch of which is
    normalised. With ``kernel_size=1`` (the default, and what [9] has) the convolution is done
    first, at the input rate, which is the same to rounding and a small part of the work; longer
    ones are :class:`Sinc` with other defaults.

    The band above half the input rate is left empty, and a network has to fill it with what its
    nonlinearities make. With ``side_kernel_size`` a second path does: zero insertion, a learned
    convolution, and the complement of the low-pass,

    .. math:: y = W * g * x_{\uparrow} + (\delta - g / s) * V * x_{\uparrow} ,

    which lets through only images. [9] does not constrain :math:`V`; here its phases are held to
    equal sums (:func:`equal_phase_gains`), without which it would make the tones of a transposed
    convolution. It starts at zero.

    Artifacts ([1] Sec. 3): *filtering*, a low-pass at ``rolloff`` times half the input rate; images
    of components just below that pass its flank (see the example). No tones for a constant
    input, whatever the weights, also with the side path. For the other settings, see
    :class:`Interpolation`.

    Args:
        kernel_size: Taps of the convolution at the output rate (default 1).
        zeros: Zero crossings of the sinc on either side, at least 1.
        rolloff: Cutoff as a share of half the input rate, from 0.01 to 1.
        side_kernel_size: Taps of the side path at the output rate, at least ``stride``; 0: none.

    Attributes:
        side_weight: ``(in_channels, out_channels, side_kernel_size)``, as ``nn.ConvTranspose1d``,
            or ``None``.

    Example:
        >>> Resample(2, 3, stride=4, side_kernel_size=7)(torch.zeros(1, 2, 10)).shape
        torch.Size([1, 3, 40])

        The strongest image of sinusoids at 0.25, 0.4 and 0.45 of the input rate, in dB:

        >>> from asteroid_upsamplers import artifacts
        >>> layer = Resample(1, 1, stride=4)
        >>> [round(max(artifacts.replicas(layer, f).levels_db)) for f in (0.25, 0.4, 0.45)]
        [-63, -48, -15]
    """

    name = "resample"
    side_weight: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        kernel_size: int | str | None = None,
        bias: bool = True,
        padding_mode: str = "zeros",
        form: str = "auto",
        zeros: int = 8,
        rolloff: float = 1.0,
        side_kernel_size: int = 0,
    ):
        self.zeros = integer(self.name, "zeros", zeros)
        self.rolloff = number(self.name, "rolloff", rolloff, LEAST_ROLLOFF, 1)
        self.side_kernel_size = integer(self.name, "side_kernel_size", side_kernel_size, least=0)
        kernel_size = 1 if kernel_size is None else kernel_size
        super().__init__(in_channels, out_channels, stride, kernel_size, bias, padding_mode, form)
        if 0 < self.side_kernel_size < self.stride:
            raise UsageError(
                f"{self.name}: side_kernel_size must be 0 or at least stride={self.stride}, not "
                f"{side_kernel_size}"
            )
        shape = (self.in_channels, self.out_channels, self.side_kernel_size)
        side = nn.Parameter(torch.zeros(shape)) if self.side_kernel_size else None
        self.register_parameter("side_weight", side)

    def interpolation_kernel(self) -> InterpolationKernel:
        return sinc_kernel(self.stride, self.zeros, self.rolloff)

    def form_for(self, x: Tensor) -> str:
        first = self.kernel_size == 1 and self.form in ("auto", "commuted")
        return "commuted" if first else super().form_for(x)

    def upsample(self, x: Tensor) -> Tensor:
        if self.kernel_size == 1 and self.form_for(x) == "commuted":
            y = interpolate(convolve(x, self.filters()), self.convolution.kernel)
            y = y if self.bias is None else y + self.bias[:, None]
        else:
            y = super().upsample(x)
        return y if self.side_weight is None else y + self._images(x, self.side_weight).to(y.dtype)

    def known_system(self) -> UpsamplingSystem | None:
        return super().known_system() if self.side_weight is None else None

    def _images(self, x: Tensor, weight: Tensor) -> Tensor:
        """The side path: ``(batch, out_channels, time * stride)``."""
        taps = equal_phase_gains(weight, self.stride, phases_first=False)
        y = F.conv_transpose1d(x, taps, stride=self.stride)
        y = center_trim(y, x.shape[-1] * self.stride)
        places, values = zip(*self.convolution.response, strict=True)
        reach = max(abs(place) for place in places)
        high_pass = torch.zeros(2 * reach + 1, dtype=torch.float64, device="cpu")
        high_pass[[place + reach for place in places]] = -torch.tensor(values).double()
        high_pass /= self.stride
        high_pass[reach] += 1
        exact = F.pad(y.to(torch.promote_types(y.dtype, torch.float32)), (reach, reach))
        with without_autocast(x.device):
            signals = exact.flatten(0, 1)[:, None]
            filtered = filter_bank(signals, high_pass.to(exact)[None, None])
        return filtered.unflatten(0, y.shape[:2]).to(y.dtype)
