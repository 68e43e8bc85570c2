"""Run a network that one knows nothing about, and find the audio in what it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError, one_line

LEAST_TIME = 64
"""Samples of output, without which nothing can be said of it."""

Network = Callable[[Tensor], Any]


@contextmanager
def evaluating(network: Network) -> Iterator[None]:
    """Set every module to evaluation mode, and back to the mode that it was in."""
    modules = list(network.modules()) if isinstance(network, nn.Module) else []
    modes = [module.training for module in modules]
    if isinstance(network, nn.Module):
        network.eval()
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


def white_noise(network: Network, shape: tuple[int, ...], seed: int) -> Tensor:
    """Uniform noise of peak 1, where the network's parameters are, and of their precision."""
    noise = 2 * torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 1
    parameters = network.parameters() if isinstance(network, nn.Module) else iter(())
    parameter = next(parameters, None)
    return noise if parameter is None else noise.to(parameter.device, parameter.dtype)


@torch.no_grad()
def output_of(network: Network, x: Tensor, seed: int) -> Tensor:
    """The network's output for ``x``, as ``(channels, time)`` in float64.

    ``seed`` is of random numbers that the network itself draws.

    Raises:
        UsageError: If it refuses the input, or gives no signal, too short a one, or NaN.
    """
    shape = tuple(x.shape)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            output = network(x)
    except Exception as error:  # whatever a stranger's network raises
        reason = one_line(error)
        raise UsageError(
            f"the network refused an input of shape {shape}: {reason} "
            "(pass another shape with input_shape, or --input_shape)"
        ) from error
    y = _audio_in(output)
    if y is None:
        raise UsageError(
            f"the network gives {_named(output)} for an input of shape {shape}, which "
            "holds no signal"
        )
    if y.shape[-1] < LEAST_TIME:
        raise UsageError(
            f"the network gives {y.shape[-1]} samples for an input of shape {shape}, at least "
            f"{LEAST_TIME} are needed (pass a longer input_shape, or --input_shape)"
        )
    if not torch.isfinite(y).all():
        raise UsageError(f"the network gives infinities or NaN for an input of shape {shape}")
    return y.double().cpu()


def _audio_in(output: Any) -> Tensor | None:
    """Of all tensors in the output the one with the longest axis, which is time, moved last."""
    found = [y for y in _tensors(output) if y.is_floating_point() and y.dim() and y.numel()]
    if not found:
        return None
    longest = max(found, key=lambda y: max(y.shape))
    time = max(range(longest.dim()), key=lambda axis: (longest.shape[axis], axis))
    return longest.detach().movedim(time, -1).flatten(0, -2) if longest.dim() > 1 else longest[None]


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, Mapping):
        output = list(output.values())
    if not isinstance(output, (list, tuple)):
        return []
    return [tensor for item in output for tensor in _tensors(item)]


def _named(output: Any) -> str:
    """What was returned, in an error message."""
    shapes = [f"{str(y.dtype).removeprefix('torch.')} {tuple(y.shape)}" for y in _tensors(output)]
    return f"a {type(output).__name__}" + (f" of {', '.join(shapes)}" if shapes else "")
