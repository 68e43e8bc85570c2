"""What the measurements refuse: signals and settings that no result could be true of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..layers.measured import damaged_tensor


def real_signal(signal: Any, least: int = 1, name: str = "signal") -> Tensor:
    """A signal in float64, without its gradient.

    Args:
        signal: ``(..., time)``, a tensor or what makes one.
        least: The fewest samples.
        name: What it is called in an error.

    Raises:
        UsageError: (a ``ValueError``) if it is complex, too short, or holds NaN or infinities.
    """
    signal = torch.as_tensor(signal).detach()
    if signal.is_complex():
        raise UsageError(f"{name} is complex, must hold real numbers")
    if not signal.numel() or signal.dim() < 1 or signal.shape[-1] < least:
        time = signal.shape[-1] if signal.dim() else 0
        shape = f"{name} of {time} samples" if signal.numel() else f"an empty {name}"
        raise UsageError(f"{shape}, at least {least} are needed")
    if not signal.isfinite().all():
        raise UsageError(f"the {name} holds NaN or infinite samples")
    return signal.double()


def within(name: str, value: float, least: float, most: float = math.inf) -> float:
    """``value``, above ``least`` and below ``most``; else a :class:`UsageError`."""
    if not least < value < most:
        limits = f"above {least:g}" + (f" and below {most:g}" if most < math.inf else "")
        raise UsageError(f"{name} is {value}, must be {limits}")
    return value


def at_least(name: str, value: int, least: int) -> int:
    """``value``, if it is no less than ``least``; else a :class:`UsageError`."""
    if not value >= least:
        raise UsageError(f"{name} is {value}, must be at least {least}")
    return value


def tone_bins(sample_rate: float, frequencies: Sequence[float], n_fft: int) -> list[int]:
    """The nearest bin to each frequency.

    Raises:
        UsageError: (a ``ValueError``) for a sample rate that is not above 0, or a frequency that is
            not above 0 and up to half of it.
    """
    within("sample_rate", sample_rate, 0)
    frequencies = [float(frequency) for frequency in frequencies]
    for frequency in frequencies:
        if not 0 < frequency <= sample_rate / 2:
            raise UsageError(
                f"a frequency must be above 0 and at most half the sample rate, "
                f"{sample_rate / 2:g} Hz, not {frequency} Hz"
            )
    return [max(1, round(frequency * n_fft / sample_rate)) for frequency in frequencies]


def output_of(network: Any, x: Tensor) -> Tensor:
    """What a network gives for ``x``.

    Args:
        network: A module, or any function.
        x: Its input.

    Raises:
        UsageError: (a ``ValueError``) if it gives no tensor, or NaN or infinities; of a module,
            with the layer that gives them first.
    """
    y = network(x)
    if not isinstance(y, Tensor):
        raise UsageError(f"the network gives a {type(y).__name__}, must give a tensor")
    if not y.isfinite().all():
        where = first_damage(network, x) if isinstance(network, nn.Module) else ""
        raise UsageError(f"the network gives NaN or infinities for {tuple(x.shape)}{where}")
    return y


@torch.no_grad()
def first_damage(network: nn.Module, x: Tensor) -> str:
    """The layer whose output is the first that is not finite, as the end of a sentence.

    Example:
        >>> network = nn.Sequential(nn.ReLU(), nn.Conv1d(1, 1, 3))
        >>> _ = nn.init.constant_(network[1].weight, math.nan)
        >>> first_damage(network, torch.zeros(1, 1, 8))
        ': 1 (Conv1d) gives them first, its weight holds NaN'
    """
    found: list[str] = []
    names = {module: name for name, module in network.named_modules()}

    def look(module: nn.Module, args: Any, output: Any) -> None:
        broken = isinstance(output, Tensor) and not output.isfinite().all()
        if broken and not found:
            damage = damaged_tensor(module)
            name = f"{names[module] or 'the network'} ({type(module).__name__})"
            found.append(f": {name} gives them first" + (f", its {damage}" if damage else ""))

    handles = [module.register_forward_hook(look) for module in names]
    try:
        network(x)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else ""
