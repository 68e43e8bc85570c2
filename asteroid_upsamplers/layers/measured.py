"""The linear system that a layer is, measured by running it on impulses."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..dsp import UpsamplingSystem
from ..errors import UsageError
from .base import Upsampler

Module = TypeVar("Module", bound=nn.Module)

SHORTEST, LONGEST = 4, 2**14
"""Lengths in samples of the first and of the longest probe."""

NOTHING = 1e-14
"""Samples below this share of the largest are rounding errors, and set to zero."""

NUMBERS_AT_ONCE = 2**23
"""Numbers in the signals that are run at a time, so that wide layers need little memory."""


def copied(layer: Module) -> Module:
    """A deep copy, also of a module that has computed weights.

    Weights that old-style weight normalisation or pruning computes from others are copied as
    numbers (``copy.deepcopy`` alone refuses them); the copy's first call computes them anew.
    """
    computed = [
        value
        for module in layer.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    ]
    memo = {id(value): value.detach().clone() for value in computed}
    return copy.deepcopy(layer, memo)


def double_copy(layer: Module) -> Module:
    """A copy in float64 and evaluation mode; the layer itself stays as it is."""
    return copied(layer).double().eval()


def damaged_tensor(module: nn.Module) -> str:
    """Which of a module's own tensors is not finite, and what it holds; empty if all are."""
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    for parametrization in getattr(module, "parametrizations", {}).values():
        own += parametrization.named_parameters()
    for name, tensor in own:
        if tensor.is_floating_point() and not tensor.isfinite().all():
            return f"{name} holds {'NaN' if tensor.isnan().any() else 'infinities'}"
    return ""


def damage_of(layer: nn.Module) -> str:
    """What to say of a layer whose responses are not finite."""
    name = getattr(layer, "name", type(layer).__name__)
    damage = damaged_tensor(layer)
    return f"{name}: its output is NaN or infinite" + (f": its {damage}" if damage else "")


@torch.no_grad()
def linear_system(layer: Upsampler) -> UpsamplingSystem:
    """The impulse responses and offsets of a layer, in float64.

    They are what the family says of itself (:meth:`Upsampler.known_system`), else measured.

    Raises:
        ValueError: As :func:`measured_system`.
    """
    exact = double_copy(layer)
    least = SHORTEST + layer.kernel_size // layer.stride
    exact(_like(exact).new_zeros(1, layer.in_channels, least))  # norms and pruning compute weights
    known = exact.known_system()
    if known is None:
        return measured_system(layer)
    if not (known.responses.isfinite().all() and known.offsets.isfinite().all()):
        raise UsageError(damage_of(layer))
    return replace(known, responses=_without_rounding_errors(known.responses)).trimmed()


@torch.no_grad()
def measured_system(layer: Upsampler, together: bool = False) -> UpsamplingSystem:
    """Run a layer on one impulse an input channel, in float64, far from the ends of the input.

    Args:
        layer: Any upsampler.
        together: Whether the impulses sound in all channels at once: the responses are then those
            of a single input channel, summed over the layer's. It takes one run instead of one a
            channel.

    Raises:
        ValueError: If the layer is not linear, does not treat all input samples alike, or its
            responses are longer than 4,096 samples.
    """
    stride, channels = layer.stride, layer.in_channels
    layer = double_copy(layer)
    time, before, after, offsets = _reach(layer)
    place = time // 2
    window = slice((place - before) * stride, (place + after + 1) * stride)

    def run(amplitudes: Tensor) -> Tensor:
        x = amplitudes.new_zeros(*amplitudes.shape, time)
        x[..., place] = amplitudes
        return (layer(x) - layer(torch.zeros_like(x[:1])))[..., window]

    eye = _like(layer).new_ones(1, channels) if together else None
    if eye is not None:
        responses = run(eye).transpose(0, 1)
    else:
        identity = torch.eye(channels, dtype=torch.float64, device=_like(layer).device)
        most = max(1, NUMBERS_AT_ONCE // (time * max(channels, layer.out_channels * stride)))
        responses = torch.cat([run(rows) for rows in identity.split(most)]).transpose(0, 1)
    return UpsamplingSystem(_without_rounding_errors(responses), stride, offsets, before=before)


def _without_rounding_errors(responses: Tensor) -> Tensor:
    return torch.where(responses.abs() < NOTHING * responses.abs().max(), 0.0, responses)


def _like(layer: nn.Module) -> Tensor:
    """An empty float64 tensor on the device of the layer."""
    parameter = next(layer.parameters(), None)
    device = None if parameter is None else parameter.device
    return torch.empty(0, dtype=torch.float64, device=device)


def _reach(layer: Upsampler) -> tuple[int, int, int, Tensor]:
    """The shortest probe that shows a whole response.

    Probes become longer until two lengths give the same response.

    Returns:
        Its length; input samples before and after the impulse that respond to it; the steady
        output for zeros, ``(out_channels, stride)``.
    """
    generator = torch.Generator().manual_seed(0)  # random, so that channels do not cancel
    amplitudes = torch.randn(layer.in_channels, generator=generator, dtype=torch.float64)
    amplitudes = amplitudes.to(_like(layer).device)
    time, last = SHORTEST, None
    while time < layer.kernel_size / layer.stride + 2:  # some paddings want a longer input
        time *= 2
    while time <= LONGEST:
        found = _response(layer, amplitudes, time)
        if last is not None and found is not None and _same(last, found):
            return time // 2, found[0], found[1], found[3]
        time, last = 2 * time, found
    raise UsageError(
        f"{layer.name}: no steady response to an impulse was found: an upsampler must be linear, "
        f"treat all input samples alike, and respond within {LONGEST // 4} of them"
    )


def _response(
    layer: Upsampler, amplitudes: Tensor, time: int
) -> tuple[int, int, Tensor, Tensor] | None:
    """The response to an impulse in the middle of ``time`` samples, if it does not reach the ends.

    Returns:
        Input samples before and after the impulse, the response, and the offsets.
    """
    stride, place = layer.stride, time // 2
    x = amplitudes.new_zeros(3, layer.in_channels, time)
    x[0, :, place] = amplitudes
    x[1, :, place] = -2 * amplitudes
    silence, first, other = layer(x)[[2, 0, 1]]
    first, other = first - silence, other - silence
    size = float(first.abs().max())
    if not math.isfinite(size + float(silence.abs().max())):
        raise UsageError(damage_of(layer))
    noise = 1e-13 * float(silence.abs().max())  # of a bias that is far above the response
    if not torch.allclose(other, -2 * first, rtol=0, atol=1e-9 * size + noise):
        raise UsageError(f"{layer.name}: an upsampler must be linear in its input, this is not")
    heard = (first.abs() > max(NOTHING * size, noise)).any(0).nonzero()[:, 0]
    if not len(heard):
        heard = torch.tensor([place * stride])
    before = max(0, -((int(heard[0]) - place * stride) // stride))
    after = max(0, (int(heard[-1]) - place * stride) // stride)
    if before >= place or after >= time - place - 1:
        return None
    window = first[:, (place - before) * stride : (place + after + 1) * stride]
    return before, after, window, silence[:, place * stride : (place + 1) * stride]


def _same(one: tuple, other: tuple) -> bool:
    """Whether two probes of different lengths show the same response and the same offsets."""
    if one[:2] != other[:2]:
        return False
    pairs = zip(one[2:], other[2:], strict=True)
    return all(torch.allclose(a, b, rtol=0, atol=1e-9 * float(b.abs().max())) for a, b in pairs)
