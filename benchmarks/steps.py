"""Whole training steps of ``DemucsLike``: upsamplers, forms, precision, compilation, options.

A step is the forward pass, the mean absolute error, the backward pass and Adam. The candidates of a
group take turns and are compared with the first of them. ``Demucs`` of the ``demucs`` package
stands beside ours with its encoder (``encoder_context=0``).

    python benchmarks/run.py training channels=24 seconds=5 batch=2 comparison=upsamplers
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import layers as single
import measure
import torch
import torch._dynamo
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import asteroid_upsamplers.dsp.channels_last as order
from asteroid_upsamplers import layers
from asteroid_upsamplers.models import DemucsLike

SOURCES = ("drums", "bass", "other", "vocals")
PASSES = 3
"""A backward pass needs the products of a forward pass twice."""
SHOWN = ("upsampler", "package", "dtype", "compile", "form", "channels_last", "encoder_context")
ON_GPU = order.DEVICES
torch._dynamo.config.recompile_limit = 64  # candidates share code; beyond it torch compiles no more


@dataclass(frozen=True)
class Candidate:
    """One way to make a step.

    Args:
        upsampler: Name of a registered one.
        dtype: Of autocast; ``float32`` for none.
        compile: Whether the network goes through ``torch.compile``.
        form: Of the upsamplers; ``torch``: what a user of torch would write in their place.
        channels_last: Whether compiled half-precision code on a GPU may keep the channels last in
            memory (``form`` is then ``auto`` in fact).
        package: Whether the network is that of the ``demucs`` package.
        encoder_context: As ``DemucsLike``'s.
        checkpoint: Whether activations are computed again in the backward pass.
        micro_batches: Parts of the batch, one after the other.
    """

    upsampler: str = "transposed"
    dtype: str = "bfloat16"
    compile: bool = False
    form: str = "plain"
    channels_last: bool = False
    package: bool = False
    encoder_context: int = 1
    checkpoint: bool = False
    micro_batches: int = 1

    @property
    def network(self) -> tuple[Any, ...]:
        """Candidates of which this is the same share a network."""
        torchs = self.form == "torch"
        return self.package, self.upsampler, self.encoder_context, self.checkpoint, torchs

    @property
    def variant(self) -> str:
        """All but the upsampler, in words."""
        words = [self.dtype] + ["torch.compile"] * self.compile
        words += ["demucs package" if self.package else f"form {self.form}"]
        words += ["channels last"] * self.channels_last
        words += ["checkpointed activations"] * self.checkpoint
        words += [f"{self.micro_batches} micro-batches"] * (self.micro_batches > 1)
        return ", ".join(words)


def comparisons(dtype: str) -> dict[str, dict[str, list[Candidate]]]:
    """What can be measured: groups of candidates by the names of the comparison and the group."""
    names = ("transposed", "nearest", "linear")
    plain = Candidate(dtype=dtype)
    torchs, auto, subpixel = (replace(plain, form=form) for form in ("torch", "auto", "plain"))
    subpixel = replace(subpixel, upsampler="subpixel")
    first = replace(plain, compile=True)
    last = replace(first, channels_last=True)
    package = replace(plain, package=True, encoder_context=0)
    full_precision = replace(package, dtype="float32")
    forms = [replace(plain, upsampler=n, form=f) for n in names[1:] for f in single.FORMS[1:]]
    others = [name for name in layers.available() if name not in (*names, "subpixel")]
    return {
        "eager": {"eager": [plain, *forms, subpixel]},
        "compiled": {
            "compiled, channels last": [plain, *(replace(last, upsampler=n) for n in names)],
            "demucs package": [package, full_precision, replace(last, encoder_context=0)],
            "compiled, channels first": [plain, *(replace(first, upsampler=n) for n in names)],
        },
        "options": {
            "options": [auto, first, replace(auto, checkpoint=True), replace(auto, micro_batches=2)]
        },
        "upsamplers": {
            **{
                n: [torchs, auto, *(replace(o, upsampler=n) for o in (torchs, auto))]
                for n in names[1:]
            },
            "subpixel": [torchs, auto, replace(subpixel, form="auto")],
            "demucs package": [package, replace(auto, encoder_context=0)],
        },
        "other upsamplers": {
            "other upsamplers": [auto, *(replace(auto, upsampler=name) for name in others)]
        },
    }


class Steps:
    """The steps of candidates at one size, on one device."""

    def __init__(self, device: torch.device, channels: int, depth: int, seconds: float, batch: int):
        self.size = {"channels": channels, "depth": depth, "seconds": seconds, "batch": batch}
        self.device, self.time = device, int(seconds * single.SAMPLE_RATE)
        self.networks: dict[Any, tuple[nn.Module, torch.optim.Optimizer]] = {}
        self.mixture = torch.randn(batch, 2, self.time, device=device)
        self.targets = torch.randn(batch, len(SOURCES), 2, self.time, device=device)

    def network(self, one: Candidate) -> tuple[nn.Module, torch.optim.Optimizer]:
        """With its optimizer; made when it is first asked for."""
        if one.network not in self.networks:
            torch.manual_seed(0)
            with self.device:
                network = make_network(one, self.size["channels"], self.size["depth"])
            optimizer = torch.optim.Adam(network.parameters(), lr=2e-4, fused=True)
            self.networks[one.network] = network, optimizer
        return self.networks[one.network]

    def step(self, one: Candidate) -> Callable[[], None]:
        """A step, after which no gradients are held."""
        network, optimizer = self.network(one)
        dtype = getattr(torch, one.dtype)
        forward = torch.compile(network, dynamic=False) if one.compile else network
        ours = [m for m in network.modules() if isinstance(m, layers.PolyphaseUpsampler)]
        parts = [t.chunk(one.micro_batches) for t in (self.mixture, self.targets)]

        def step() -> None:
            order.DEVICES = ON_GPU if one.channels_last else ()
            for module in ours:
                module.form = "auto" if one.channels_last else one.form
            for x, y in zip(*parts, strict=True):
                with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
                    loss = nn.functional.l1_loss(forward(x), y) * len(x) / len(self.mixture)
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    def rows(
        self, group: str, candidates: list[Candidate], rounds: int, rates: dict[str, float]
    ) -> list[dict[str, Any]]:
        """One row for every candidate; one that does not fit into the memory says so."""
        fitting = {}
        for one in candidates:
            try:
                step = self.step(one)
                step()  # compiles, and makes the optimizer's state
                fitting[one] = step
                continue
            except torch.OutOfMemoryError:
                pass  # what the failed step held is free only behind the exception
            measure.free_memory(self.device)
        times = measure.interleaved(fitting, rounds, self.device, group)
        rows = []
        for one in candidates:
            size = self.size["channels"], self.size["depth"], self.time
            macs = forward_macs(one.upsampler, one.encoder_context, *size)
            row = {"group": group, "variant": one.variant, **self.size}
            row |= {name: getattr(one, name) for name in SHOWN}
            row |= {"step_gigamacs": PASSES * self.size["batch"] * macs / 1e9}
            row |= {"gigamacs_per_s": rates[one.dtype], "out_of_memory": one not in fitting}
            if one in fitting:
                row["step_ms"] = times[one]
                row["peak_mib"] = measure.peak_mebibytes(fitting[one], self.device)
            rows.append(row)
        return rows


def make_network(one: Candidate, channels: int, depth: int) -> nn.Module:
    """The network of a candidate, on torch's default device."""
    if one.package:
        return reference(channels, depth)
    size = {"channels": channels, "depth": depth, "encoder_context": one.encoder_context}
    network = DemucsLike(SOURCES, one.upsampler, **size)
    if one.form == "torch":
        for block in network.decoder:
            sizes = block.upsampler.in_channels, block.upsampler.out_channels
            block.upsampler = single.torch_layer(one.upsampler, *sizes)
    if one.checkpoint:
        from asteroid_upsamplers.training import checkpoint_activations

        checkpoint_activations(network)
    return network


def reference(channels: int, depth: int) -> nn.Module:
    """The Demucs of reference [3], as the ``demucs`` package builds it."""
    from demucs.demucs import Demucs

    v1 = {"growth": 2, "rewrite": True, "lstm_layers": 2, "context": 1, "dconv_mode": 0}
    v1 |= {"norm_starts": 999, "gelu": False, "resample": False, "normalize": False}
    return Demucs(list(SOURCES), channels=channels, depth=depth, **v1)


@functools.cache
def forward_macs(upsampler: str, encoder_context: int, channels: int, depth: int, time: int) -> int:
    """Multiply-adds of one segment, as torch counts them on shapes alone.

    Interpolations are counted as the convolution at the high rate, whatever form is taken in fact:
    what a form saves shows as a higher rate.
    """
    if issubclass(layers.get(upsampler), layers.Interpolation):
        upsampler = "nearest"
    form = "torch" if upsampler in ("nearest", "transposed") else "plain"
    one = Candidate(upsampler, form=form, encoder_context=encoder_context)
    with torch.device("meta"), torch.no_grad():
        network, mixture = make_network(one, channels, depth), torch.empty(1, 2, time)
        with FlopCounterMode(display=False) as counter:
            network(mixture)
    return counter.get_total_flops() // 2


def run(
    device: torch.device,
    channels: int = 24,
    seconds: float = 5,
    batch: int = 2,
    rounds: int = 5,
    comparison: str = "upsamplers",
    dtype: str = "float32",
    depth: int = 6,
) -> list[dict[str, Any]]:
    """One row for every candidate of a comparison.

    Args:
        device: That trains.
        channels: Of the first block.
        seconds: Of a segment.
        batch: Segments of a step.
        rounds: Of each candidate.
        comparison: One of :func:`comparisons`.
        dtype: Of the first candidates, ``float32`` or ``bfloat16``.
        depth: Blocks each way.
    """
    groups = comparisons(dtype)[comparison]
    dtypes = {one.dtype for candidates in groups.values() for one in candidates}
    rates = {name: measure.matrix_rate(device, name) for name in dtypes}
    rows = []
    for group, candidates in groups.items():
        steps = Steps(device, channels, depth, seconds, batch)
        rows += steps.rows(group, candidates, rounds, rates)
        del steps
        torch.compiler.reset()
        measure.free_memory(device)
    order.DEVICES = ON_GPU
    return rows
