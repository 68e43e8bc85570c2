"""Upsamplers with three exact forms, and the rule that chooses between them.

Interpolation by a fixed kernel and a learnable convolution are one linear map. The noble identities
allow three orders of its steps (:mod:`asteroid_upsamplers.dsp.constants` derives them): *plain* is
the definition, *folded* filters at the input rate with kernels that are sums of taps, *commuted*
multiplies by all taps at the input rate and filters the products. ``form="auto"`` takes the one
that this rule expects to be fastest. ``benchmarks/REPORT.md`` has the figures behind it.

On a CPU the rule counts multiply-adds for every pair of channels. With ``n`` input samples in the
batch, stride ``s``, ``K`` taps at the output rate and ``Q`` at the input rate, and ``c`` taps of
the interpolation:

- plain: ``n s K`` for the convolution; for every input channel ``n s c`` in the interpolation, and
  ``n s`` numbers written; and the weights are put in the library's order, ``K`` numbers;
- folded: ``n s Q``; and the weights are read and written anew, ``K + s Q`` numbers;
- commuted: ``n K``; for every output channel ``n s K Q`` in the fixed filters (none where these
  only shift rows) and ``n (K + s)`` numbers written; and the weights are put in the order of the
  product, ``K`` numbers (none for a transposed convolution, which has them so).

On a GPU, as measured on an H200, folding pays where the batch has several samples for every input
channel; with fewer, the commuted form is faster. Transposed convolutions are left to the device's
own library there.

Three cases are decided otherwise:

- In half precision sums of taps are never folded unless ``form="folded"`` asks for it: every sum is
  rounded for itself, so that the phases no longer add up to the same, which is a tone, some 55 dB
  below a constant. The plain form has none, the commuted one none or far less.
- Programs that torch makes (``torch.compile``, ``torch.export``, tracing) take the plain form,
  whatever ``form`` asks for, so that one program serves all lengths. Compiled for a GPU in half
  precision, the channels come last in memory instead
  (:mod:`asteroid_upsamplers.dsp.channels_last`): a compiled training step of the paper's network
  then takes 0.84 (transposed), 0.50 (nearest) and 0.48 (linear) of the time on an H200
  (``benchmarks/results/cuda.json``).
- Inputs that are too short to have a middle are done in the plain form.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ..dsp import InterpolatedConvolution, UpsamplingSystem
from ..dsp.channels_last import in_its_own_order, prefers_channels_last
from ..dsp.kernels import WINDOWED_TAPS
from ..dsp.precision import becomes_a_program, works_in_half_precision
from .base import Upsampler
from .settings import one_of

FORMS = ("auto", "plain", "folded", "commuted")

SAMPLES_A_CHANNEL = 4
"""On a GPU, folding pays from so many samples in the batch for every input channel on."""


@dataclass(frozen=True)
class Costs:
    """In multiply-adds of a large matrix product, forward and backward alike.

    Args:
        weight: A number of the weights read and written.
        signal: A number of the signal written between two steps.
        small: A multiply-add in a filter of few channels.
        banded: One in an interpolation that is a banded matrix product, its zeros included.
        narrow: Rows of a matrix product that run at half the rate.
        calls: The further library calls of the folded and of the commuted form.
    """

    weight: float
    signal: float
    small: float
    banded: float
    narrow: float
    calls: float


CPU = Costs(weight=450, signal=170, small=15, banded=4, narrow=16, calls=3e8)


class PolyphaseUpsampler(Upsampler):
    """A learnable filter at the output rate after a fixed interpolation, in any of three forms.

    All forms compute the same, to rounding, from the same parameters; see the module's docstring.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Upsampling factor.
        kernel_size: Taps at the output rate.
        bias: Whether to add one learnable constant an output channel.
        form: ``"auto"`` takes the fastest by the rule above; ``"plain"``, ``"folded"`` or
            ``"commuted"`` that one, where torch makes no program of the layer.
        least_kernel_size: The shortest kernel that the family can do.
    """

    taps_per_output: ClassVar[bool] = True
    """Whether ``weight`` is ``(out, in, kernel_size)``, else ``(in, out, kernel_size)``."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        kernel_size: int,
        bias: bool,
        form: str,
        least_kernel_size: int = 1,
    ):
        super().__init__(
            in_channels,
            out_channels,
            stride,
            kernel_size,
            bias,
            least_kernel_size=least_kernel_size,
        )
        self.form = one_of(self.name, "form", form, FORMS)
        outer = (self.out_channels, self.in_channels)
        outer = outer if self.taps_per_output else outer[::-1]
        self.make_parameters((*outer, self.kernel_size), self.out_channels)
        self.convolution = self.make_convolution()

    @abstractmethod
    def make_convolution(self) -> InterpolatedConvolution:
        """The constants of the forms, from the settings."""

    def filters(self) -> Tensor:
        """The weight as the layer uses it."""
        return self.weight

    def plain(self, x: Tensor) -> Tensor:
        """The layer as two steps, the oracle of the other forms."""
        return self.convolution.plain(x, self.filters(), self.bias)

    def upsample(self, x: Tensor) -> Tensor:
        form = self.form_for(x)
        if form == "plain":
            return self.plain(x)
        weight = self.filters()

        def multiply(columns: Tensor) -> Tensor:
            """All taps times ``(in_channels, samples)``: ``(out_channels * K, samples)``."""
            if self.taps_per_output:
                return weight.transpose(1, 2).flatten(0, 1) @ columns
            return weight.flatten(1).T @ columns

        if form == "channels_last":
            weight = in_its_own_order(weight)
            taps = weight.flip(2).transpose(0, 1) if self.taps_per_output else weight
            return self.convolution.channels_last(x, taps, multiply, self.bias)
        if form == "folded":
            folded = self.convolution.fold(weight)
            order = (0, 2, 1, 3) if self.taps_per_output else (1, 2, 0, 3)
            low_rate_weight = folded.permute(order).flatten(0, 1)
            return self.convolution.folded(x, low_rate_weight, multiply, self.bias)
        return self.convolution.commuted(x, multiply, self.bias)

    def known_system(self) -> UpsamplingSystem | None:
        weight = self.filters() if self.taps_per_output else self.filters().transpose(0, 1)
        delay, stride = self.convolution.delay, self.stride
        folded = self.convolution.fold(weight)  # (out, in, stride, Q)
        responses = folded.flip(-1).mT.flatten(2)  # a later tap meets an impulse earlier
        if delay:
            responses = F.pad(responses, (stride - delay, delay))
        bias = weight.new_zeros(self.out_channels) if self.bias is None else self.bias
        before = self.convolution.low_rate_taps - 1 - self.convolution.lead + (delay > 0)
        return UpsamplingSystem(responses, stride, bias[:, None].repeat(1, stride), before=before)

    def form_for(self, x: Tensor) -> str:
        """The form that ``x``, of shape ``(batch, in_channels, time)``, is upsampled in."""
        if becomes_a_program():
            fits = self.form == "auto" and self.convolution.short_response
            last = fits and torch.compiler.is_dynamo_compiling() and prefers_channels_last(x)
            return "channels_last" if last and self._has_a_middle(x) else "plain"
        if self.form == "plain" or not self._has_a_middle(x):
            return "plain"
        return self.form if self.form != "auto" else self._fastest(x)

    def _has_a_middle(self, x: Tensor) -> bool:
        return x.shape[-1] >= self.convolution.least_time

    def _fastest(self, x: Tensor) -> str:
        samples = x.shape[0] * x.shape[-1]
        may_fold = not (self.convolution.folding_sums and works_in_half_precision(x))
        if x.device.type == "cpu":
            costs = self.costs(samples)
            if not may_fold:
                del costs["folded"]
            return min(costs, key=lambda form: costs[form])
        return self.fastest_on_gpu(samples, may_fold)

    def fastest_on_gpu(self, samples: int, may_fold: bool) -> str:
        """The form for a GPU.

        Args:
            samples: Of the batch, at the input rate.
            may_fold: Whether taps may be summed.
        """
        folds = may_fold and samples >= SAMPLES_A_CHANNEL * self.in_channels
        return "folded" if folds else "commuted"

    def costs(self, samples: int) -> dict[str, float]:
        """Multiply-adds on a CPU for every pair of channels, by form.

        Args:
            samples: Of the batch, at the input rate.
        """
        convolution = self.convolution
        stride, taps, low_rate_taps = self.stride, self.kernel_size, convolution.low_rate_taps
        length = convolution.kernel.taps
        work = CPU.small if length <= WINDOWED_TAPS else CPU.banded
        interpolation = stride * (work * length + CPU.signal)
        filters = 0 if convolution.shifted_rows else CPU.small * stride * taps * low_rate_taps
        filters += CPU.signal * (taps + stride)
        calls = CPU.calls / (self.in_channels * self.out_channels)
        narrow = 1 + CPU.narrow / (stride * self.out_channels)
        folding = CPU.weight * (taps + stride * low_rate_taps)
        ordering = CPU.weight * taps if self.taps_per_output else 0
        return {
            "plain": samples * (stride * taps + interpolation / self.out_channels)
            + CPU.weight * taps,
            "folded": samples * stride * low_rate_taps * narrow + folding + calls,
            "commuted": samples * (taps + filters / self.in_channels) + ordering + calls,
        }
