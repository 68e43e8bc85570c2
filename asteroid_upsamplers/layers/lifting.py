r"""Trainable inverse wavelets by lifting.

[7] Nakamura and Saruwatari, "Time-domain audio source separation based on Wave-U-Net combined with
discrete wavelet transform", arXiv 2001.10190.
[10] Nakamura, Kozuka and Saruwatari, "Time-domain audio source separation with neural networks
based on multiresolution analysis", IEEE/ACM TASLP 29, 2021.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..dsp import UpsamplingSystem, centered_padding
from ..dsp.polyphase import filter_bank
from ..dsp.precision import without_autocast
from ..errors import UsageError
from .base import Upsampler, register
from .settings import integer
from .subpixel import shuffled_system
from .wavelet import Pair, inverse_steps, power_of_two


@register
class Lifting(Upsampler):
    r"""Convolution, then inverse wavelet steps whose predict and update filters are learned ([10]).

    A step makes the even and the odd samples of a signal from an approximation :math:`a` and a
    detail :math:`d`:

    .. math:: x_{even} = a / \sqrt 2 - u * \sqrt 2 d , \qquad
       x_{odd} = \sqrt 2 d + p * x_{even} .

    Whatever the filters are, subtracting the prediction and adding the update again gives
    :math:`a` and :math:`d` back: the reconstruction is perfect by construction. Their means are
    replaced, as in [10], so that :math:`\sum p = 1` and :math:`\sum u = 1/2` (in further stages 0):
    the low-pass of the wavelet then has a zero at half the sample rate, and a constant
    approximation becomes a constant. At the start the step is Haar's, with the sign of the detail
    changed. As many steps as the stride is a power of two, each with filters of its own, which all
    channels share, make one channel from ``stride`` of them.

    Artifacts ([1] Sec. 4): *tonal*, at multiples of the output rate / ``stride``, from the details
    of a constant input and from the biases, as in :class:`Haar`; what comes from approximations has
    none, whatever is learned.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Upsampling factor, a power of two.
        kernel_size: Taps of the convolution at the input rate (default 1; the steps add theirs).
        bias: Whether to add a learnable constant to each channel before the steps.
        predict_size: Taps of each predict filter, odd.
        update_size: Taps of each update filter, odd.
        stages: Predict and update filters in a step, at least 1.

    Attributes:
        weight: ``(out_channels * stride, in_channels, kernel_size)``, as ``nn.Conv1d``.
        bias: ``(out_channels * stride,)`` or ``None``.
        predict: ``(steps, stages, predict_size)``; their means are taken off where they are used.
        update: ``(steps, stages, update_size)``, likewise.

    Example:
        >>> Lifting(2, 3, stride=4)(torch.zeros(1, 2, 10)).shape
        torch.Size([1, 3, 40])
    """

    name = "lifting"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        kernel_size: int | None = None,
        bias: bool = True,
        predict_size: int = 3,
        update_size: int = 3,
        stages: int = 1,
    ):
        steps = power_of_two(self.name, stride)
        self.predict_size = self._odd("predict_size", predict_size)
        self.update_size = self._odd("update_size", update_size)
        self.stages = integer(self.name, "stages", stages)
        kernel_size = 1 if kernel_size is None else kernel_size
        super().__init__(in_channels, out_channels, stride, kernel_size, bias)
        rows = self.out_channels * self.stride
        self.make_parameters((rows, self.in_channels, self.kernel_size), rows)
        self.predict = nn.Parameter(self._haar(1.0, steps, self.predict_size))
        self.update = nn.Parameter(self._haar(0.5, steps, self.update_size))
        samples = self.stages * (self.predict_size // 2 + self.update_size // 2)
        self.reach = sum(-(-samples // 2**step) for step in range(steps))

    def upsample(self, x: Tensor) -> Tensor:
        before, after = centered_padding(self.kernel_size)
        subbands = F.conv1d(x, self.weight, self.bias, padding=after + self.reach)
        subbands = subbands.narrow(2, after - before, x.shape[-1] + 2 * self.reach)
        rows = subbands.unflatten(1, (-1, self.stride)).flatten(0, 1)
        with without_autocast(x.device):
            bank = self.synthesis(torch.promote_types(x.dtype, torch.float32))
            y = filter_bank(rows.to(bank.dtype), bank).to(subbands.dtype)
        return y.unflatten(0, (-1, self.out_channels))

    def known_system(self) -> UpsamplingSystem:
        bank = self.synthesis(self.weight.dtype)
        rows = self.weight.unflatten(0, (-1, self.stride)).transpose(1, 2)  # (out, in, subband, K)
        padded = F.pad(rows.flatten(0, 1), (2 * self.reach, 2 * self.reach))
        taps = F.conv1d(padded, bank.flip(-1)).unflatten(0, rows.shape[:2])
        bias = None if self.bias is None else self.bias.unflatten(0, (-1, self.stride))
        offsets = None if bias is None else (bias @ bank.sum(-1).T).flatten()
        return shuffled_system(taps.transpose(1, 2).flatten(0, 1), offsets, self.stride)

    def filters(self, dtype: torch.dtype) -> list[list[Pair]]:
        """The predict and the update filter of every stage of every step, with the sums above."""
        wanted = torch.zeros(self.stages, 1, dtype=dtype, device=self.predict.device)
        wanted[0] = 1
        p, u = self.predict.to(dtype), self.update.to(dtype)
        p = p - p.mean(-1, keepdim=True) + wanted / self.predict_size
        u = u - u.mean(-1, keepdim=True) + wanted / 2 / self.update_size
        return [list(zip(*step, strict=True)) for step in zip(p, u, strict=True)]

    def synthesis(self, dtype: torch.dtype) -> Tensor:
        """What all steps make of the subbands of a channel: ``(phase, subband, 2 * reach + 1)``."""
        stages = iter(self.filters(dtype))

        def step(approximation: Tensor, detail: Tensor) -> Pair:
            low, high = approximation / math.sqrt(2), detail * math.sqrt(2)
            for predict, update in reversed(next(stages)):
                low = low - _filtered(high, update)
                high = high + _filtered(low, predict)
            return low, high

        impulses = torch.eye(self.stride, dtype=dtype, device=self.predict.device)
        frames = F.pad(impulses[:, :, None], (self.reach, self.reach))
        responses = inverse_steps(frames, self.stride, step)  # (subband, samples)
        return responses.unflatten(1, (-1, self.stride)).flip(1).permute(2, 0, 1)

    def _odd(self, setting: str, value: int) -> int:
        if not integer(self.name, setting, value) % 2:
            raise UsageError(f"{self.name}: {setting} must be odd, not {value!r}")
        return value

    def _haar(self, value: float, steps: int, size: int) -> Tensor:
        """One tap in the middle of the first stage's filters."""
        taps = torch.zeros(steps, self.stages, size)
        taps[:, 0, size // 2] = value
        return taps


def _filtered(x: Tensor, taps: Tensor) -> Tensor:
    """Every row by itself, silent beyond its ends: ``(batch, channels, time)``."""
    rows = x.flatten(0, 1)[:, None]
    return F.conv1d(rows, taps[None, None], padding=len(taps) // 2)[:, 0].unflatten(0, x.shape[:2])
