"""The contract of an upsampler.

[1], in this room: Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..dsp import centered_padding
from ..errors import UsageError
from ..registry import Registry


@dataclass(frozen=True, eq=False)
class Borders:
    """The part of a layer that sees zeros beyond the ends of its input, for the same ones in all
    channels.

    Args:
        taps: Its impulse responses, ``(out_channels, samples)``; summed over the input channels.
        step: Output samples from one of its input samples to the next.
        lead: Samples of the whole response that are cut off at the start.
        tail: Samples that the output goes on after the ``step`` samples of the last input sample.
    """

    taps: Tensor
    step: int
    lead: int
    tail: int


class Upsampler(nn.Module, ABC):
    """A learnable layer that raises the sample rate of its input by a whole factor.

    A family states its ``name``, its default kernel size, the shape of its weight, and
    :meth:`upsample`. Everything that depends on the settings is checked here, in the constructor.

    A family with further options keeps them as attributes *before* it calls this constructor, which
    draws the weights.

    Args:
        in_channels: Channels of the input, at least 1.
        out_channels: Channels of the output, at least 1.
        stride: Upsampling factor, at least 1.
        kernel_size: Length of the learnable filter, in samples of the rate it runs at; ``None``
            takes the family's default.
        bias: Whether the layer adds a learnable constant.

    Raises:
        UsageError: (a ``ValueError``) for an impossible setting, naming it, its value and what is
            allowed.

    Shape:
        ``(batch, in_channels, time)`` -> ``(batch, out_channels, output_length(time))``, which is
        ``time * stride`` unless the docstring of the family says otherwise.
    """

    name: ClassVar[str]
    allowed_strides: ClassVar[str] = "a whole number from 1 up"
    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        kernel_size: int | None = None,
        bias: bool = True,
    ):
        super().__init__()
        self.in_channels = self._whole_number("in_channels", in_channels)
        self.out_channels = self._whole_number("out_channels", out_channels)
        self.stride = self._whole_number("stride", stride)
        if not self.allows_stride(self.stride):
            raise UsageError(
                f"{self.name}: stride is {self.stride}, allowed is {self.allowed_strides}"
            )
        if kernel_size is None:
            kernel_size = self.default_kernel_size(self.stride)
        self.kernel_size = self._whole_number(
            "kernel_size", kernel_size, least=self.least_kernel_size(self.stride)
        )
        self._flag("bias", bias)
        self.weight = nn.Parameter(torch.empty(self.weight_shape()))
        self.bias = nn.Parameter(torch.empty(self.bias_size())) if bias else None
        self.reset_parameters()

    @staticmethod
    @abstractmethod
    def default_kernel_size(stride: int) -> int:
        """The kernel size that ``None`` stands for."""

    @staticmethod
    def allows_stride(stride: int) -> bool:
        """Whether the family can do a stride from 1 up; all of them unless it says otherwise."""
        return True

    @staticmethod
    def least_kernel_size(stride: int) -> int:
        """The shortest kernel the family can do; 1 unless it says otherwise."""
        return 1

    @abstractmethod
    def weight_shape(self) -> tuple[int, int, int]:
        """Shape of ``weight``: that of torch's own module for the plain form."""

    def bias_size(self) -> int:
        """Number of biases; one an output channel unless the family says otherwise."""
        return self.out_channels

    @abstractmethod
    def upsample(self, x: Tensor) -> Tensor:
        """The layer itself, for an input that has been checked."""

    @abstractmethod
    def tap_sums(self) -> Tensor:
        """The steady response to ones, without the biases: ``(out_channels, stride)``."""

    @abstractmethod
    def impulse_responses(self) -> Tensor:
        """What an impulse in each input channel adds to each output channel, from the weights
        alone: ``(out_channels, in_channels, samples)``, at the output rate, float64.

        Sample ``n`` is of phase ``n % stride``, with the phases of :meth:`tap_sums`.
        """

    @abstractmethod
    def borders(self) -> Borders:
        """What makes the first and last samples differ from the steady response to ones."""

    def phase_biases(self) -> Tensor:
        """The constant that each phase of the output adds: ``(out_channels, stride)``."""
        if self.bias is None:
            return self.weight.new_zeros(self.out_channels, self.stride)
        return self.bias.reshape(self.out_channels, -1).expand(-1, self.stride)

    def phase_sums(self) -> Tensor:
        """The steady response to ones, from the weights alone: ``(out_channels, stride)``.

        Column ``r`` is the output at every sample ``n`` with ``n % stride == r``, up to a rotation
        that depends on where the output was trimmed. A constant row means no tone ([1] Sec. 2).
        """
        return self.tap_sums() + self.phase_biases()

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, in_channels, time)`` -> ``(batch, out_channels, output_length(time))``."""
        if x.dim() != 3 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"{self.name}: input of shape {tuple(x.shape)}, "
                f"(batch, in_channels={self.in_channels}, time) is needed"
            )
        return self.upsample(x) if x.numel() else self._empty(x)

    def output_length(self, time: int) -> int:
        """Samples that come out for ``time`` samples in."""
        return time * self.stride

    def reset_parameters(self) -> None:
        """Draw weight, then bias, from U(-b, b), b = 1 / sqrt(fan in), as torch's modules do."""
        bound = 1 / math.sqrt(self.weight[0].numel())
        for parameter in (self.stored("weight"), self.stored("bias")):
            if parameter is not None:
                nn.init.uniform_(parameter, -bound, bound)

    def stored(self, name: str) -> Tensor | None:
        """The tensor that is learned: ``weight`` or ``bias``, or the free one it is made of."""
        if parametrize.is_parametrized(self, name):
            return cast(Any, self).parametrizations[name].original
        return getattr(self, name)

    def get_config(self) -> dict[str, Any]:
        """Plain values; ``cls(**config)`` builds the same layer."""
        return {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "stride": self.stride,
            "kernel_size": self.kernel_size,
            "bias": self.bias is not None,
        }

    def _empty(self, x: Tensor) -> Tensor:
        """The output for no samples or no examples; gradients of zero reach every parameter."""
        time = self.output_length(x.shape[-1])
        nothing = sum((p.sum() for p in self.parameters()), x.sum()) * 0
        return x.new_zeros(len(x), self.out_channels, time) + nothing.to(x.dtype)

    def extra_repr(self) -> str:
        """The settings, for ``print(layer)``."""
        return ", ".join(f"{key}={value}" for key, value in self.get_config().items())

    def _whole_number(self, setting: str, value: Any, least: int = 1) -> int:
        try:
            number = operator.index(value)
        except TypeError:
            number = None
        if number is None or isinstance(value, bool) or number < least:
            raise UsageError(
                f"{self.name}: {setting} is {value!r}, allowed is a whole number from {least} up"
            )
        return number

    def _number(self, setting: str, value: Any, least: float, most: float) -> float:
        number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
        if number is None or not least <= number <= most:
            raise UsageError(
                f"{self.name}: {setting} is {value!r}, allowed is a number from {least} to {most}"
            )
        return float(number)

    def _flag(self, setting: str, value: Any) -> bool:
        if not isinstance(value, bool):
            raise UsageError(f"{self.name}: {setting} is {value!r}, allowed is True or False")
        return value

    def _one_of(self, setting: str, value: Any, allowed: Iterable[str]) -> str:
        if not isinstance(value, str) or value not in allowed:
            names = ", ".join(repr(name) for name in allowed)
            raise UsageError(f"{self.name}: {setting} is {value!r}, allowed is one of {names}")
        return value


def convolution_borders(weight: Tensor) -> Borders:
    """The borders of a centred convolution, of a ``weight`` as ``nn.Conv1d`` has it.

    A later tap sees a later sample, so that an impulse meets it earlier: taps come in reverse.
    """
    after = centered_padding(weight.shape[-1])[1]
    return Borders(weight.double().sum(1).flip(1), 1, after, after)


_REGISTRY: Registry[type[Upsampler]] = Registry("upsampler", Upsampler)
register = _REGISTRY.register
available = _REGISTRY.available
get = _REGISTRY.get
