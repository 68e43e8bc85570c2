"""One upsampling layer of a network, as taps that can be read and changed."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..artifacts.tones import ToneLevels, tones_of_period
from ..dsp import UpsamplingSystem
from ..errors import UsageError
from .phases import on_grid
from .weights import effective, norm_of, set_weight

Numbers = tuple[Tensor, Tensor, int]


@dataclass(eq=False)
class Site:
    """One upsampling layer whose taps can be read and changed.

    Args:
        name: Path of the module in the network; its class if it is the network itself.
        kind: Name of the family.
        module: That holds the weight.
        numbers: ``(out, phase, in / groups, taps)``, where in the flattened weight each tap is; -1
            for taps that do not exist.
        bias_numbers: ``(out, phase)``, the same of the bias; ``None`` without one.
        groups: Blocks of channels that do not mix.
        mix: ``(phase, row)``, an orthogonal matrix, if the layer makes each phase of all its rows,
            as inverse Haar steps do; ``numbers`` are then of rows.
        weight: Name of the weight in the module.
        bias: Name of the bias, if there is one.
        most_order: 0 if only the sums of its phases are known from the taps, not their moments.
    """

    name: str
    kind: str
    module: nn.Module
    numbers: Tensor = field(default_factory=lambda: torch.empty(0, 0, 0, 0, dtype=torch.int))
    bias_numbers: Tensor | None = None
    groups: int = 1
    mix: Tensor | None = None
    weight: str = "weight"
    bias: str = "bias"
    most_order: int = 1

    @property
    def stride(self) -> int:
        """Upsampling factor."""
        return self.numbers.shape[1]

    @property
    def mask(self) -> Tensor:
        """``(phase, taps)``, which taps exist: phases of a partial overlap have different ones."""
        return self.numbers[0, :, 0] >= 0

    @property
    def places(self) -> Tensor:
        """``(phase, taps)``, of each tap in the impulse response, in samples of the output."""
        stride, taps = self.numbers.shape[1], self.numbers.shape[3]
        frames = torch.arange(taps - 1, -1, -1, dtype=torch.float64)
        return frames * stride + torch.arange(stride, dtype=torch.float64)[:, None]

    @property
    def norm(self) -> str | None:
        """``"weight_norm"`` if the weight is made of a norm and a direction."""
        return None if norm_of(self.module, self.weight) is None else "weight_norm"

    @property
    def dtype(self) -> torch.dtype:
        """Of the weight."""
        return effective(self.module, self.weight).dtype

    @torch.no_grad()
    def taps(self) -> Tensor:
        """``(out, phase, in / groups, taps)``, float64, on the CPU; 0 where :attr:`mask` is not.

        Output sample ``j * stride + phase`` is the sum of tap ``q`` times input sample ``j + q``,
        up to a delay.
        """
        weight = effective(self.module, self.weight).detach().double().cpu().flatten()
        rows = weight[self.numbers.clamp(min=0)] * (self.numbers >= 0)
        return rows if self.mix is None else torch.einsum("pr,oriq->opiq", self.mix, rows)

    @torch.no_grad()
    def biases(self) -> Tensor | None:
        """``(out, phase)``, float64: what each phase is for an input of zeros."""
        if self.bias_numbers is None:
            return None
        bias = effective(self.module, self.bias)
        rows = bias.detach().double().cpu()[self.bias_numbers]
        return rows if self.mix is None else rows @ self.mix.T

    @torch.no_grad()
    def assign(self, taps: Tensor, biases: Tensor | None = None) -> None:
        """Write taps, and biases where they are given, in place.

        They are rounded so that phases with equal sums have equal sums afterwards, exactly. A
        weight that is made of a norm and a direction stays so.

        Args:
            taps: As :meth:`taps` gives them.
            biases: As :meth:`biases` gives them.
        """
        weight = effective(self.module, self.weight).detach()
        rows = taps if self.mix is None else torch.einsum("pr,opiq->oriq", self.mix, taps)
        there = self.numbers >= 0
        flat = weight.double().cpu().flatten()
        flat[self.numbers[there]] = on_grid(rows, self.mask, weight.dtype)[there]
        set_weight(self.module, self.weight, flat.view(weight.shape).to(weight))
        if biases is not None and self.bias_numbers is not None:
            bias = getattr(self.module, self.bias)
            flat = bias.detach().double().cpu()
            rows = biases if self.mix is None else biases @ self.mix
            flat[self.bias_numbers.flatten()] = rows.flatten()
            bias.copy_(flat)

    def tones(self) -> ToneLevels:
        """What the layer alone makes of an input of ones."""
        gains = self.taps().sum((2, 3))
        biases = self.biases()
        return tones_of_period(gains if biases is None else gains + biases)


def numbers_of(system: UpsamplingSystem) -> Numbers:
    """Where each tap is kept, from a layer whose weights are the numbers 1, 2, 3 ...

    Returns:
        ``numbers``, ``bias_numbers`` and ``groups`` of a :class:`Site`.

    Raises:
        UsageError: If phases have no taps, or are made of different input channels.
    """
    system = system.trimmed()
    numbers, groups = system.low_rate_taps().round().long() - 1, system.groups
    used = (numbers >= 0).any(3)  # (out, phase, in)
    if not used.any(2).all():
        raise UsageError(
            f"stride {system.stride} leaves phases without a tap (the kernel is too short): their "
            "output is 0 for any input, whatever the weights"
        )
    if not (used == used[:, :1]).all():
        raise UsageError("its phases are made of different groups of channels")
    if not used.all():
        inputs = int(used[0, 0].sum())
        own = used[:, 0].nonzero()[:, 1].view(len(used), 1, inputs, 1)
        groups *= used.shape[2] // inputs
        numbers = numbers.gather(2, own.expand(-1, numbers.shape[1], -1, numbers.shape[3]))
    return numbers.int(), system.offsets.round().int() - 1, groups
