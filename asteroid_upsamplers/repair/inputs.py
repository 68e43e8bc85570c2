"""Inputs on which a repair is fitted, and what the layers of a network receive for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError, one_line
from ..probe.feed import white_noise
from ..probe.outputs import named_tensors
from ..probe.state import seeded, undisturbed


def inputs_of(
    network: nn.Module, method: str, calibration: Any, example: Any = None
) -> list[Tensor]:
    """Calibration data as inputs where the network is, and of its precision.

    Args:
        network: Which takes them.
        method: Name of the method that wants them, for messages.
        calibration: A tensor, or several: ``(batch, channels, time)``, or whatever it takes.
        example: What is taken where there is no calibration: an input, or the shape of noise.

    Raises:
        UsageError: (a ``ValueError``) if there are none, or they are not finite.
    """
    given = example if calibration is None else calibration
    if given is None:
        raise UsageError(
            f"method {method!r} needs calibration: inputs of the network, such as audio, as a "
            "tensor or a list of tensors"
        )
    if calibration is None and not isinstance(given, Tensor):
        given = white_noise(network, tuple(given), 0)
    if not isinstance(given, Iterable):
        raise UsageError(f"calibration must be tensors, not {type(given).__name__}")
    found = [given] if isinstance(given, Tensor) else list(given)
    if not found:
        raise UsageError("calibration is empty: at least one input of the network is needed")
    where = next((p for p in network.parameters() if p.is_floating_point()), torch.empty(0))
    for number, x in enumerate(found):
        name = f"calibration input {number}"
        if not isinstance(x, Tensor):
            raise UsageError(f"{name} must be a tensor, not {type(x).__name__}")
        if x.is_meta or x.layout != torch.strided:
            raise UsageError(f"{name} must hold numbers, dense: it is on meta, or sparse")
        if not x.numel() or not torch.isfinite(x).all():
            raise UsageError(f"{name} is empty, or holds NaN or infinite numbers")
    return [x.detach().to(where) if x.is_floating_point() else x.to(where.device) for x in found]


def signals(network: nn.Module, x: Tensor) -> list[Tensor]:
    """What a network returns, as a list of real signals whose last axis is time, float32 at least.

    Raises:
        UsageError: (a ``ValueError``) if it refuses the input, or returns none.
    """
    try:
        with seeded(network, 0):  # the same noise for the original and the repaired one
            output = network(x.clone())  # which may change its input
    except Exception as error:  # whatever a stranger's network raises
        raise UsageError(
            f"the network refused an input of shape {tuple(x.shape)}: {one_line(error)}"
        ) from error
    tensors = named_tensors(output).values()
    found = [y for y in tensors if y.is_floating_point() and y.dim() and y.shape[-1] > 1]
    if not found:
        raise UsageError("the network returns no signal of real numbers")
    return [y.float() if y.dtype.itemsize < 4 else y for y in found]  # that can be transformed


def received(
    network: nn.Module,
    modules: Sequence[nn.Module],
    inputs: Iterable[Tensor],
    take: Callable[[int, Tensor], None],
    all_needed: bool = True,
) -> list[int]:
    """Run a network, and give away what some of its modules receive.

    Args:
        network: Run in evaluation mode, without gradients, and left as it was.
        modules: Those of interest.
        inputs: Of the network.
        take: Is called with the number of the module and ``(batch, channels, time)``.
        all_needed: Whether it is an error if one is never called.

    Returns:
        The numbers of the modules, in the order in which they were first called.

    Raises:
        UsageError: (a ``ValueError``) if one is never called.
    """
    called: list[int] = []

    def hook(number: int) -> Callable[..., None]:
        def seen(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            called.append(number)
            x = next(iter((*args, *named.values()))).detach()
            x = x.mT if isinstance(module, nn.Linear) and x.dim() > 1 else x
            take(number, x if x.dim() > 2 else x[None])

        return seen

    with undisturbed(network):
        for number, module in enumerate(modules):
            module.register_forward_pre_hook(hook(number), with_kwargs=True)
        for x in inputs:
            signals(network, x)
    order = list(dict.fromkeys(called))
    if all_needed and len(order) < len(modules):
        missing = next(m for k, m in enumerate(modules) if k not in order)
        names = [name for name, module in network.named_modules() if module is missing]
        raise UsageError(
            f"{', '.join(names)} is not called as a module, so that its input is unknown: use "
            "method 'phases', which needs none"
        )
    return order
