"""The ways to make a training step of ``DemucsLike``, and those that are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from steps import SAMPLE_RATE, SOURCES, reference
from torch import Tensor, nn

from asteroid_upsamplers.models import DemucsLike
from asteroid_upsamplers.training import checkpoint_activations

OPTIONS = ("bfloat16", "compile", "plain_adam", "checkpoint", "channels_last", "accumulate")


@dataclass(frozen=True)
class Candidate:
    """One way to make a step. ``package`` is Demucs of the ``demucs`` package."""

    upsampler: str = "transposed"
    dtype: str = "float32"
    compile: bool = False
    fused: bool = True
    checkpoint: bool = False
    channels_last: bool = False
    parts: int = 1
    encoder_context: int = 1
    package: bool = False

    @property
    def network(self) -> tuple[Any, ...]:
        """Candidates of which this is the same share their weights."""
        return self.package, self.upsampler, self.encoder_context, self.checkpoint

    @property
    def variant(self) -> str:
        """In words: the precision, and the options that are taken."""
        words = [self.dtype]
        words += ["torch.compile"] * self.compile + ["plain Adam"] * (not self.fused)
        words += ["checkpointed activations"] * self.checkpoint
        words += ["channels last"] * self.channels_last
        words += [f"batch in {self.parts} parts"] * (self.parts > 1)
        return ", ".join(words)


BASELINE = Candidate()
CHANGES: dict[str, dict[str, Any]] = {
    "bfloat16": {"dtype": "bfloat16"},
    "compile": {"compile": True},
    "plain_adam": {"fused": False},
    "checkpoint": {"checkpoint": True},
    "channels_last": {"channels_last": True},
    "accumulate": {"parts": 2},
}


@dataclass(frozen=True)
class Size:
    """Of the network and of a batch."""

    channels: int
    depth: int
    seconds: float
    batch: int

    @property
    def time(self) -> int:
        """Samples of an extract."""
        return int(self.seconds * SAMPLE_RATE)


def comparisons(
    names: list[str], options: list[str], ways: list[list[str]], together: int, package: bool = True
) -> dict[str, list[Candidate]]:
    """The candidates that take turns; the first of each is what the others are compared with.

    Args:
        names: Of the upsamplers.
        options: Of :data:`OPTIONS`, each alone.
        ways: Options that are taken together, for every upsampler and against the package.
        together: Networks besides the first that are on the device at a time.
        package: Whether to compare with the ``demucs`` package.
    """
    made = [with_options(BASELINE, way) for way in ways]
    groups: dict[str, list[Candidate]] = {}
    if options:
        groups["options"] = [BASELINE, *(with_options(BASELINE, [option]) for option in options)]
    others = [name for name in names if name != BASELINE.upsampler]
    for first in range(0, len(others), together):
        some = others[first : first + together]
        mine = [
            replace(one, upsampler=name) for name in [BASELINE.upsampler, *some] for one in made
        ]
        groups[f"upsamplers {', '.join(some)}"] = list(dict.fromkeys([BASELINE, *mine]))
    if not package:
        return groups
    dtypes = dict.fromkeys([BASELINE.dtype, *(one.dtype for one in made)])
    theirs = [Candidate(package=True, dtype=dtype) for dtype in dtypes]
    ours = [replace(one, encoder_context=0) for one in made]
    groups["demucs package"] = [*theirs, *ours]
    return groups


def with_options(candidate: Candidate, options: list[str]) -> Candidate:
    for option in options:
        candidate = replace(candidate, **CHANGES[option])
    return candidate


class Steps:
    """The steps of candidates on one device; those with the same network share it."""

    def __init__(self, size: Size, device: torch.device):
        self.size, self.device = size, device
        self.networks: dict[Any, nn.Module] = {}
        self.extracts: dict[int, tuple[Tensor, Tensor]] = {}
        self.optimizers: dict[Any, torch.optim.Optimizer] = {}

    def of(self, candidate: Candidate, batch: int) -> Callable[[], None]:
        """A step with ``batch`` extracts, after which no gradients are held."""
        network, optimizer = self.network_of(candidate), self._optimizer(candidate)
        forward = getattr(network, "forward_with_context", network)
        if candidate.compile:
            forward = torch.compile(forward, dynamic=False)
        mixture, targets = self._extracts(batch)
        dtype = getattr(torch, candidate.dtype)

        def step() -> None:
            parts = min(candidate.parts, batch)
            for x, y in zip(mixture.chunk(parts), targets.chunk(parts), strict=True):
                if candidate.channels_last:
                    x = x.transpose(1, 2).contiguous().transpose(1, 2)
                with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
                    loss = nn.functional.l1_loss(forward(x), y) * len(x) / batch
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    def state_mebibytes(self, candidate: Candidate) -> float:
        """Of the weights, and of what the optimiser keeps."""
        kept = [t for s in self._optimizer(candidate).state.values() for t in s.values()]
        tensors = [*self.network_of(candidate).parameters(), *filter(torch.is_tensor, kept)]
        return sum(t.numel() * t.element_size() for t in tensors) / 2**20

    def parameters(self, candidate: Candidate) -> int:
        """Of the network."""
        return sum(p.numel() for p in self.network_of(candidate).parameters())

    def _extracts(self, batch: int) -> tuple[Tensor, Tensor]:
        """The same for all: a large batch takes memory."""
        if batch not in self.extracts:
            shape, device = (2, self.size.time), self.device
            mixture = torch.randn(batch, *shape, device=device)
            targets = torch.randn(batch, len(SOURCES), *shape, device=device)
            self.extracts[batch] = mixture, targets
        return self.extracts[batch]

    def network_of(self, candidate: Candidate) -> nn.Module:
        """Made when it is first asked for."""
        if candidate.network not in self.networks:
            torch.manual_seed(0)
            network = _build(candidate, self.size).to(self.device)
            self.networks[candidate.network] = network
        return self.networks[candidate.network]

    def _optimizer(self, candidate: Candidate) -> torch.optim.Optimizer:
        key = (*candidate.network, candidate.fused)
        if key not in self.optimizers:
            parameters = self.network_of(candidate).parameters()
            self.optimizers[key] = torch.optim.Adam(parameters, lr=2e-4, fused=candidate.fused)
        return self.optimizers[key]


def _build(candidate: Candidate, size: Size) -> nn.Module:
    if candidate.package:
        return reference(size.channels, size.depth)
    model = DemucsLike(
        SOURCES,
        candidate.upsampler,
        channels=size.channels,
        depth=size.depth,
        encoder_context=candidate.encoder_context,
    )
    if candidate.checkpoint:
        checkpoint_activations(model)
    return model
