"""Upsamplers with three exact forms, and the rule that chooses between them.

The rule counts what a form costs for every pair of channels, in multiply-adds. With ``n`` input
samples in the batch, stride ``s``, ``K`` taps at the output rate and ``Q`` at the input rate
(:mod:`asteroid_upsamplers.dsp.constants` derives them), and ``c`` taps of the interpolation:

- plain: ``n s K`` for the convolution; for every input channel ``n s c`` in the interpolation, and
  ``n s`` numbers written; and the weights are put in the library's order, ``K`` numbers;
- folded: ``n s Q``; and the weights are read and written anew, ``K + s Q`` numbers;
- commuted: ``n K``; for every output channel ``n s K Q`` in the fixed filters (none where these
  only shift rows) and ``n (K + s)`` numbers written; and the weights are put in the order of the
  product, ``K`` numbers (none for a transposed convolution, which has them so).

:class:`Costs` says what these are worth on a device. The least cost wins. The figures behind the
constants, and how near the rule comes to the fastest form, are in ``benchmarks/REPORT.md``.

Half precision is the exception: folding rounds every sum of taps for itself, so that the phases no
longer add up to the same, which is a tone, some 55 dB below a constant. The plain form has none,
the commuted one none or far less. A sum is never folded there unless ``form="folded"`` asks for it.

So is what ``torch.compile`` makes for a GPU in half precision: where the channels come last in
memory (:mod:`asteroid_upsamplers.dsp.channels_last`), the commuted form is a convolution and little
else, and is taken without counting.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..dsp import InterpolatedConvolution
from ..dsp.channels_last import in_its_own_order, prefers_channels_last
from ..dsp.precision import works_in_half_precision
from .base import Upsampler
from .kept import Kept

FORMS = ("auto", "plain", "folded", "commuted")


@dataclass(frozen=True)
class Costs:
    """In multiply-adds of a large matrix product, forward and backward alike.

    Args:
        weight: A number of the weights read and written.
        signal: A number of the signal written between two steps.
        small: A multiply-add in a filter of few channels.
        narrow: Rows of a matrix product that run at half the rate.
        calls: The further library calls of the folded and of the commuted form.
    """

    weight: float
    signal: float
    small: float
    narrow: float
    calls: float


COSTS = {
    "cpu": Costs(weight=450, signal=170, small=15, narrow=16, calls=3e8),
    "cuda": Costs(weight=100, signal=50, small=4, narrow=64, calls=1e9),
}
"""The first as measured; the second from a card's published rates, until it is measured."""


class PolyphaseUpsampler(Upsampler):
    """A learnable filter at the output rate after a fixed interpolation, in any of three forms.

    All forms compute the same, to rounding, from the same parameters; see the module's docstring.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Upsampling factor.
        kernel_size: Taps at the output rate.
        bias: Whether to add one learnable constant an output channel.
        form: ``"auto"`` takes the fastest by the rule above, ``"plain"``, ``"folded"`` or
            ``"commuted"`` that one. Inputs too short to have a middle are done in the plain form,
            and so is everything while ``torch.jit.trace`` looks on, as the form must not depend on
            the traced length.
    """

    taps_per_output: ClassVar[bool] = True
    """Whether ``weight`` is ``(out, in, kernel_size)``, else ``(in, out, kernel_size)``."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        kernel_size: int | None = None,
        bias: bool = True,
        form: str = "auto",
    ):
        self.form = self._one_of("form", form, FORMS)
        super().__init__(in_channels, out_channels, stride, kernel_size, bias)
        self.convolution = self.make_convolution()
        self._kept = Kept()

    @abstractmethod
    def make_convolution(self) -> InterpolatedConvolution:
        """The constants of the forms, from the settings."""

    def plain(self, x: Tensor) -> Tensor:
        """The layer as two steps, the oracle of the other forms."""
        return self.convolution.plain(x, self.weight, self.bias)

    def upsample(self, x: Tensor) -> Tensor:
        form = self.form_for(x)
        if form == "channels_last":
            weight = self._transposed_weight()
            return self.convolution.channels_last(x, weight, self._multiply, self.bias)
        if form == "folded":
            return self.convolution.folded(x, self._low_rate_weight(), self._multiply, self.bias)
        if form == "commuted":
            return self.convolution.commuted(x, self._multiply, self.bias)
        return self.plain(x)

    def form_for(self, x: Tensor) -> str:
        """The form that ``x``, of shape ``(batch, in_channels, time)``, is upsampled in."""
        if torch.jit.is_tracing() or x.shape[-1] < self.convolution.least_time:
            return "plain"
        if self.form != "auto":
            return self.form
        if self.convolution.short_response and prefers_channels_last(x):
            return "channels_last"
        costs = self.costs(x.shape[0] * x.shape[-1], x.device.type)
        if self.convolution.folding_sums and works_in_half_precision(x):
            del costs["folded"]
        return min(costs, key=lambda form: costs[form])

    def _transposed_weight(self) -> Tensor:
        """``(in_channels, out_channels, kernel_size)``, as a transposed convolution has it."""
        weight = in_its_own_order(self.weight)
        return weight.flip(2).transpose(0, 1) if self.taps_per_output else weight

    def costs(self, samples: int, device: str = "cpu") -> dict[str, float]:
        """Multiply-adds for every pair of channels, by form; see the module's docstring."""
        convolution, unit = self.convolution, COSTS.get(device, COSTS["cuda"])
        stride, taps, low_rate_taps = self.stride, self.kernel_size, convolution.low_rate_taps
        interpolation = stride * (unit.small * convolution.kernel.taps + unit.signal)
        filters = 0 if convolution.shifted_rows else unit.small * stride * taps * low_rate_taps
        filters += unit.signal * (taps + stride)
        calls = unit.calls / (self.in_channels * self.out_channels)
        narrow = 1 + unit.narrow / (stride * self.out_channels)
        folding = unit.weight * (taps + stride * low_rate_taps)
        ordering = unit.weight * taps if self.taps_per_output else 0
        return {
            "plain": samples * (stride * taps + interpolation / self.out_channels)
            + unit.weight * taps,
            "folded": samples * stride * low_rate_taps * narrow + folding + calls,
            "commuted": samples * (taps + filters / self.in_channels) + ordering + calls,
        }

    def tap_sums(self) -> Tensor:
        taps = self.weight.double().sum(1 if self.taps_per_output else 0)
        return (taps @ self.convolution.branch_sums().to(taps.device)).to(self.weight.dtype)

    def impulse_responses(self) -> Tensor:
        responses = self.convolution.impulse_responses(self.weight)
        return responses if self.taps_per_output else responses.transpose(0, 1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "form": self.form}

    def _multiply(self, columns: Tensor) -> Tensor:
        """All taps times ``(in_channels, samples)``: ``(out_channels * K, samples)``."""
        if not self.taps_per_output:
            return self.weight.flatten(1).T @ columns
        taps = self._kept.get("taps", self, lambda: self.weight.transpose(1, 2).flatten(0, 1))
        return taps @ columns

    def _low_rate_weight(self) -> Tensor:
        """``(out_channels * stride, in_channels, Q)``."""

        def fold() -> Tensor:
            folded = self.convolution.fold(self.weight)
            order = (0, 2, 1, 3) if self.taps_per_output else (1, 2, 0, 3)
            return folded.permute(order).flatten(0, 1)

        return self._kept.get("low_rate_weight", self, fold)
