"""Inverse STFT heads: the last linear map before an inverse Fourier transform.

A head that is given a constant makes the same spectrum in every frame. Bins 0 and half the rate
hold no speech or music, but a constant and a line there: the rows that make these two bins are set
to zero or, where an exponential follows, to a magnitude of nothing. Which rows these are is found
by trying: the edit is taken that silences both bins and leaves all others as they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..dsp.spectra import decibels
from ..probe.growth import FOURIER
from ..probe.kinds import CONVOLUTIONS, MATRICES
from ..probe.operations import INPUT
from ..probe.state import seeded, undisturbed
from ..probe.trace import Trace, tracing
from .inputs import signals
from .report import HAS_NONE, LEFT, REPAIRED, LayerRepair
from .weights import effective, set_weight

INVERSE = "_fft_c2r"
SILENT_DB = -80.0
"""Bins below this level, against the whole spectrum, count as silent."""

NOTHING = -30.0
"""The logarithm of a magnitude of nothing."""

Edit = list[tuple[nn.Module, list[int], float]]
"""Rows of linear maps that are set to zero, and what their biases are set to."""


@dataclass(eq=False)
class Head:
    """A linear map, and the rows in it that make the two outermost bins.

    Args:
        name: Of the module.
        edit: What silences them; ``None`` if that is unknown, or they are silent.
        level_db: Of the two bins against the whole spectrum, for noise, before the edit.
        bins: Of the spectrum.
        after_db: The same after the edit.
        louder_db: By how much the edit raises the lines at 0 and half the rate in the network's
            answer to zeros: windows let through some of the neighbouring bins, which the two may
            cancel.
        change: Of the weights and biases, once they are changed: norm of the difference over the
            norm before.
    """

    name: str
    edit: Edit | None
    level_db: float
    bins: int
    after_db: float
    louder_db: float = 0.0
    change: float = 0.0

    def silence(self) -> None:
        """Change the weights, in place."""
        if self.edit is None:
            return
        before = _numbers(self.edit)
        _apply(self.edit)
        change = float((_numbers(self.edit) - before).norm() / before.norm())
        self.change = max(self.change, change)  # it may be done again, after other changes

    def report(self) -> LayerRepair:
        """What was done."""
        remark, status = "bins at 0 and half the rate, for noise", REPAIRED
        if self.edit is None:
            status = HAS_NONE if self.level_db < SILENT_DB else LEFT
            remark += "" if status == HAS_NONE else ": no edit of its rows silences these alone"
        size, before, after = 2 * (self.bins - 1), self.level_db, self.after_db
        return LayerRepair(
            self.name, "istft", size, status, self.change, before, after, None, remark
        )


@torch.no_grad()
def _numbers(edit: Edit) -> Tensor:
    """All weights and biases of the linear maps, as they are used."""
    both = [p for module, *_ in edit for p in (effective(module, "weight"), module.bias)]
    return torch.cat([p.double().flatten() for p in both if isinstance(p, Tensor)])


@torch.no_grad()
def _apply(edit: Edit) -> None:
    for module, rows, bias in edit:
        weight = effective(module, "weight").clone()
        weight[rows] = 0
        set_weight(module, "weight", weight)
        if isinstance(module.bias, Tensor):
            module.bias[rows] = bias


def find_heads(network: nn.Module, x: Tensor) -> list[Head]:
    """The heads of a network, which is left as it was.

    Args:
        network: Any network.
        x: An input, such as noise.
    """
    heads = []
    zeros = torch.zeros_like(x)
    with undisturbed(network):
        lines = _lines(network, zeros)
        trace, spectra = _run(network, x)
        transforms = [k for k, op in enumerate(trace.ops) if op.name == INVERSE]
        for place, (index, spectrum) in enumerate(zip(transforms, spectra, strict=False)):
            maps = _maps(trace, index)
            modules = [network.get_submodule(trace.ops[k].place) for k in maps]
            if (
                not maps
                or not spectrum.numel()
                or not all(isinstance(m, nn.Linear | nn.Conv1d) for m in modules)
            ):
                continue
            level = _level(spectrum)
            bins = spectrum.shape[-1]
            head = Head(trace.ops[maps[0]].place, None, level, bins, level)
            edits = _edits(modules, bins) if level > SILENT_DB else ()
            for edit in edits:
                with undisturbed(network):
                    _apply(edit)
                    after = _run(network, x)[1][place]
                    louder = _lines(network, zeros) - lines
                if _level(after) < SILENT_DB and _same_inside(after, spectrum):
                    head.edit, head.after_db, head.louder_db = edit, _level(after), louder
                    break
            heads.append(head)
    return heads


class _Spectra(TorchDispatchMode):
    """Keeps the half spectra that are transformed back, ``(..., bins)``.

    Those of odd sizes have no bin at half the rate, and count as empty.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name.endswith(INVERSE):
            spectrum = args[0].detach().movedim(args[1][-1], -1).clone()
            self.kept.append(spectrum if args[3] % 2 == 0 else spectrum[..., :0])
        return func(*args, **(kwargs or {}))


def _run(network: nn.Module, x: Tensor) -> tuple[Trace, list[Tensor]]:
    """What the network does, and the spectra that it transforms back."""
    with seeded(network, 0), tracing(network) as trace, _Spectra() as spectra:
        trace.mark_input(x)
        network(x)
    return trace, spectra.kept


def _lines(network: nn.Module, x: Tensor) -> float:
    """Power in dB of the steady output's mean and of its line at half the rate."""
    with seeded(network, 0):
        y = signals(network, x)[0].double()
    y = y[..., y.shape[-1] // 4 : y.shape[-1] // 4 * 3]
    turned = y * (1 - 2 * (torch.arange(y.shape[-1], device=y.device) % 2))
    return float(decibels((y.mean(-1).square() + turned.mean(-1).square()).mean()))


def _level(spectrum: Tensor) -> float:
    """Of the outermost bins against all, in dB."""
    power = spectrum.abs().double().square()
    return float(decibels(power[..., [0, -1]].mean(), power.mean()))


def _same_inside(one: Tensor, other: Tensor) -> bool:
    size = float(other.abs().square().mean().sqrt())
    return torch.allclose(one[..., 1:-1], other[..., 1:-1], rtol=1e-3, atol=1e-4 * size)


def _maps(trace: Trace, index: int) -> list[int]:
    """The last linear maps before an operation; none if something else goes into it as well."""
    waiting, seen, found = [index], set(), []
    while waiting:
        op = trace.ops[waiting.pop()]
        for source in op.sources:
            if source.op is None or source.op in seen or not trace.ops[source.op].heard:
                continue
            seen.add(source.op)
            before = trace.ops[source.op].name
            if before in CONVOLUTIONS | MATRICES:
                found.append(source.op)
            elif before in {INPUT, *FOURIER}:
                return []
            else:
                waiting.append(source.op)
    return sorted(found)


def _edits(modules: list[nn.Module], bins: int) -> Iterator[Edit]:
    """What may silence the outermost bins: the least first."""
    halves, pairs = [0, bins - 1], [0, 1, 2 * bins - 2, 2 * bins - 1]
    both = [*halves, bins, 2 * bins - 1]
    whole = all(len(module.weight) == bins for module in modules)  # type: ignore[arg-type]
    for module in modules:
        rows = len(module.weight)  # type: ignore[arg-type]
        layouts = {bins: [halves], 2 * bins: [halves, both[2:], pairs[::2], pairs[1::2]]}
        for layout in layouts.get(rows, []):
            yield [(module, layout, 0.0)]
            if module.bias is not None:
                yield [(module, layout, NOTHING)]
        if rows == 2 * bins:
            yield [(module, both, 0.0)]
            yield [(module, pairs, 0.0)]
    if whole:
        yield [(module, halves, 0.0) for module in modules]
