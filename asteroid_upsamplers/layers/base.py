"""The contract of an upsampler.

[1], in this room: Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..dsp import UpsamplingSystem
from ..errors import UsageError
from ..registry import Registry, nearest_names
from .settings import flag, integer


class Upsampler(nn.Module, ABC):
    """A layer that raises the sample rate of its input by a whole factor.

    A family of layers gives itself a ``name`` and writes two things:

    - a constructor, which passes the common settings on to this one, keeps every further setting
      as an attribute of the same name, and makes the parameters (:meth:`make_parameters` does it
      for the usual ``weight`` and ``bias``);
    - :meth:`upsample`.

    Everything else follows: the configuration from the constructor's signature; tone levels,
    frequency responses and edge effects from the layer's output (:mod:`..artifacts`).
    ``asteroid_upsamplers.testing.check_upsampler`` tests a family against this contract.

    Args:
        in_channels: Channels of the input, at least 1.
        out_channels: Channels of the output, at least 1.
        stride: Upsampling factor, at least 1.
        kernel_size: Length of the learnable filter, in samples of the rate it runs at; a family
            takes ``None`` for its default and passes that on.
        bias: Whether the layer adds a learnable constant.
        least_kernel_size: The shortest kernel that the family can do.

    Raises:
        UsageError: (a ``ValueError``) for an impossible setting, naming it and its value.

    Shape:
        ``(batch, in_channels, time)`` or ``(in_channels, time)`` -> ``(..., out_channels,
        output_length(time))``, which is ``time * stride`` unless the family's docstring says
        otherwise.
    """

    name: ClassVar[str]
    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        kernel_size: int | None = None,
        bias: bool = True,
        *,
        least_kernel_size: int = 1,
    ):
        super().__init__()
        self.in_channels = integer(self.name, "in_channels", in_channels)
        self.out_channels = integer(self.name, "out_channels", out_channels)
        self.stride = integer(self.name, "stride", stride)
        self.kernel_size = integer(self.name, "kernel_size", kernel_size, least_kernel_size)
        self.has_bias = flag(self.name, "bias", bias)

    def make_parameters(self, weight_shape: tuple[int, ...], bias_size: int) -> None:
        """Create ``weight`` and, if the settings ask for one, ``bias``, and draw their values."""
        self.weight = nn.Parameter(torch.empty(weight_shape))
        self.bias = nn.Parameter(torch.empty(bias_size)) if self.has_bias else None
        self.reset_parameters()

    @abstractmethod
    def upsample(self, x: Tensor) -> Tensor:
        """The layer itself: ``(batch, in_channels, time)`` -> ``(batch, out_channels, ...)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Check the shape of ``x``, then :meth:`upsample`.

        Raises:
            ValueError: If ``x`` is neither ``(batch, in_channels, time)`` nor ``(in_channels,
                time)``.
        """
        if x.dim() not in (2, 3) or x.shape[-2] != self.in_channels:
            raise ValueError(
                f"{self.name}: the input must be (batch, in_channels={self.in_channels}, time) or "
                f"(in_channels={self.in_channels}, time), not {tuple(x.shape)}"
            )
        if x.dim() == 2:
            return self.forward(x[None])[0]
        return self.upsample(x) if x.numel() else self._empty(x)

    def output_length(self, time: int) -> int:
        """Samples that come out for ``time`` samples in."""
        return time * self.stride

    def reset_parameters(self) -> None:
        """Draw ``weight``, then ``bias``, anew (:meth:`draw`).

        A parametrization from outside (weight or spectral norm, pruning) stays in place: its own
        tensors are set so that it gives the values that were drawn, as far as it can.
        """
        for name in ("weight", "bias"):
            if getattr(self, name, None) is not None:
                assign(self, name, self.draw(name))

    def draw(self, name: str) -> Tensor:
        """New values for ``weight`` or ``bias`` from U(-b, b), b = 1 / sqrt(fan in), as torch."""
        bound = 1 / math.sqrt(self.weight[0].numel())
        values = torch.empty_like(getattr(self, name), requires_grad=False)
        return values.uniform_(-bound, bound)

    def known_system(self) -> UpsamplingSystem | None:
        """The layer as a linear system, from its weights; ``None``: it has to be measured.

        A family may say it, as it takes minutes to run a layer of thousands of input channels on
        an impulse in each of them. The battery tests what it says against what is measured.
        """
        return None

    def get_config(self) -> dict[str, Any]:
        """The settings as plain values; ``cls(**config)`` builds the same layer."""
        config = {}
        for setting in self._settings():
            if not hasattr(self, setting) and setting != "bias":
                raise AttributeError(
                    f"{self.name}: its constructor must keep {setting!r} as an attribute"
                )
            config[setting] = self.has_bias if setting == "bias" else getattr(self, setting)
        return config

    def extra_repr(self) -> str:
        """The settings, for ``print(layer)``."""
        known = [name for name in self._settings() if name != "bias" and hasattr(self, name)]
        return ", ".join([f"{n}={getattr(self, n)}" for n in known] + [f"bias={self.has_bias}"])

    def _settings(self) -> list[str]:
        """The arguments of the constructor."""
        parameters = inspect.signature(parametrize.type_before_parametrizations(self)).parameters
        return [
            p.name for p in parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]

    def _empty(self, x: Tensor) -> Tensor:
        """The output for no samples or no examples; gradients of zero reach every parameter."""
        time = self.output_length(x.shape[-1])
        nothing = sum((p.sum() for p in self.parameters()), x.sum()) * 0
        return x.new_zeros(len(x), self.out_channels, time) + nothing.to(x.dtype)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Version 0.1 kept a ``tone_free`` layer's weights under the name of a parametrization."""
        for name in ("weight", "bias"):
            old = f"{prefix}parametrizations.{name}.original"
            tone_free = getattr(self, "tone_free", False)
            if tone_free and old in state_dict and not parametrize.is_parametrized(self, name):
                state_dict[f"{prefix}{name}"] = state_dict.pop(old)
        super()._load_from_state_dict(state_dict, prefix, *args)


@torch.no_grad()
def assign(module: nn.Module, name: str, values: Tensor) -> None:
    """Give a parameter new values, also one that torch makes out of others.

    Args:
        module: Any module.
        name: Of the parameter, such as ``"weight"``.
        values: Of its shape.
    """
    original, direction = f"{name}_orig", f"{name}_v"  # of pruning; of torch's old weight_norm
    if parametrize.is_parametrized(module, name):
        setattr(module, name, values)
    elif original in module._parameters:
        cast(Tensor, getattr(module, original)).copy_(values)
    elif direction in module._parameters:
        gain = cast(Tensor, getattr(module, f"{name}_g"))
        axes = [axis for axis, size in enumerate(gain.shape) if size == 1]
        cast(Tensor, getattr(module, direction)).copy_(values)
        gain.copy_(torch.linalg.vector_norm(values, dim=axes, keepdim=True))
    else:
        cast(Tensor, getattr(module, name)).copy_(values)


_REGISTRY: Registry[type[Upsampler]] = Registry(
    "upsampler", Upsampler, plugins="asteroid_upsamplers.layers"
)
register = _REGISTRY.register
available = _REGISTRY.available
get = _REGISTRY.get


def make(
    upsampler: str | type[Upsampler],
    in_channels: int,
    out_channels: int,
    stride: int,
    **settings: Any,
) -> Upsampler:
    """Build a layer by name.

    Args:
        upsampler: Name of a registered family, or its class.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Upsampling factor.
        **settings: Of the family, such as ``kernel_size``.

    Raises:
        UsageError: (a ``ValueError``) for an unknown name or setting, with the nearest known ones,
            or an impossible value. An exception of the family's own constructor is passed on.

    Example:
        >>> from asteroid_upsamplers import layers
        >>> make("nearest", 2, 1, stride=4, kernel=9)
        Traceback (most recent call last):
        asteroid_upsamplers.errors.UsageError: nearest: unknown setting 'kernel': did you mean \
kernel_size? Known: bias, form, kernel_size, padding_mode
    """
    family = get(upsampler)
    parameters = dict(inspect.signature(family).parameters)
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        known = parameters.keys() - {"in_channels", "out_channels", "stride"}
        for setting in settings.keys() - known:
            raise UsageError(
                f"{family.name}: unknown setting {setting!r}: {nearest_names(setting, known)}"
            )
    return family(in_channels, out_channels, stride, **settings)
