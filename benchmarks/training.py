"""What a training step costs as the training engine makes it, and what its options change.

    python benchmarks/training.py

A step is the forward pass of ``DemucsLike``, the mean absolute error, the backward pass and Adam.
Three comparisons, whose candidates take turns: the engine's options with transposed convolutions,
every upsampler against them, and the ``demucs`` package's ``Demucs`` against ours with its encoder.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import measure
import torch
import torch._dynamo
from candidates import OPTIONS, Candidate, Size, Steps, comparisons
from operations import forward_macs
from tqdm import tqdm

from asteroid_upsamplers import layers

PASSES = 3
"""A backward pass asks for the products of a forward pass twice."""


def run(
    device: torch.device,
    channels: int,
    seconds: float,
    batch: int,
    rounds: int,
    names: list[str],
    options: list[str],
    ways: list[list[str]],
    together: int = 1,
    depth: int = 6,
    dtype: torch.dtype = torch.float32,
    package: bool = True,
) -> list[dict[str, Any]]:
    """One row for every candidate of every comparison (:func:`comparisons`).

    ``dtype`` is that of the first candidates; others are among the ways.
    """
    if dtype != torch.float32:
        raise ValueError(f"dtype {dtype}: bfloat16 is one of the ways, beside float32")
    size = Size(channels, depth, seconds, batch)
    rows: list[dict[str, Any]] = []
    # Candidates compile the same code; beyond the limit torch would quietly leave it as it is.
    with matrix_precision("high"), torch._dynamo.config.patch(recompile_limit=64):
        groups = comparisons(names, options, ways, together, package)
        dtypes = {one.dtype for group in groups.values() for one in group}
        rates = {name: measure.matrix_rate(device, getattr(torch, name)) for name in dtypes}
        for group, candidates in tqdm(groups.items(), desc="comparisons", leave=False):
            rows += compared(group, candidates, size, rounds, device, rates)
            torch.compiler.reset()
            _free(device)
    return rows


@contextmanager
def matrix_precision(name: str) -> Iterator[None]:
    """That of float32 products, as the training engine sets it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def compared(
    group: str,
    candidates: list[Candidate],
    size: Size,
    rounds: int,
    device: torch.device,
    rates: dict[str, float],
) -> list[dict[str, Any]]:
    """The rows of candidates that take turns; one that does not fit the device says so."""
    steps = Steps(size, device)
    fitting = {}
    for one in candidates:
        step = _fits(steps, one, size.batch, device)
        if step is not None:
            fitting[one] = step
    if device.type == "cuda":  # now beside the state of all the others
        fitting = {one: step for one, step in fitting.items() if _runs(steps, one, step, device)}
    times = measure.interleaved(fitting, rounds, device, group)
    rows = []
    for one in candidates:
        row = {"group": group, "upsampler": one.upsampler, "variant": one.variant}
        row |= {"package": one.package, **vars(size), "dtype": one.dtype}
        row |= {"encoder_context": 0 if one.package else one.encoder_context}
        macs = forward_macs(
            one.upsampler, size.channels, size.depth, size.time, row["encoder_context"]
        )
        row |= {"step_gigamacs": PASSES * size.batch * macs / 1e9, "out_of_memory": True}
        row |= {"gigamacs_per_s": round(rates[one.dtype], 1)}
        if one in fitting:
            row |= {"out_of_memory": False, "step_ms": measure.plain(times[one])}
            row |= _memory(steps, one, fitting[one], size.batch, device)
        rows.append(row)
    return rows


def _fits(
    steps: Steps, one: Candidate, batch: int, device: torch.device
) -> Callable[[], None] | None:
    """Its step, called once, if the device has the memory for it."""
    try:
        step = steps.of(one, batch)
    except torch.OutOfMemoryError:
        return None
    return step if _runs(steps, one, step, device) else None


def _runs(steps: Steps, one: Candidate, step: Callable[[], None], device: torch.device) -> bool:
    try:
        step()
        return True
    except torch.OutOfMemoryError:
        pass  # what the failed step held is free only behind the exception
    steps.network_of(one).zero_grad()
    _free(device)
    return False


def _memory(
    steps: Steps, one: Candidate, step: Callable[[], None], batch: int, device: torch.device
) -> dict[str, Any]:
    """At two sizes of the batch, from which that of others follows, beside weights and state.

    What is compiled is compiled for one size: a minute for the sake of a second one.
    """
    found: dict[str, Any] = {"peak_mib": round(measure.peak_mebibytes(step, device), 1)}
    found |= {"parameters": steps.parameters(one)}
    found |= {"state_mib": round(steps.state_mebibytes(one), 3)}
    if one.compile:
        return found
    other = max(1, batch // 2) if batch > 1 else 2
    found |= {"other_batch": other}
    smaller = _fits(steps, one, other, device)
    if smaller is not None:
        found["other_peak_mib"] = round(measure.peak_mebibytes(smaller, device), 1)
    return found


def _free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def main() -> None:
    """Print the rows of one size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--channels", type=int, default=24)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--upsamplers", nargs="+", default=layers.available())
    parser.add_argument("--options", nargs="*", default=OPTIONS, choices=OPTIONS)
    args = parser.parse_args()
    rows = run(
        torch.device(args.device),
        args.channels,
        args.seconds,
        args.batch,
        args.rounds,
        args.upsamplers,
        list(args.options),
        [[], ["bfloat16"]] if args.device != "cpu" else [[]],
        depth=args.depth,
    )
    for row in rows:
        who = f"{row['group']:24s} {row['upsampler']:12s} {row['variant']:36s}"
        if row["out_of_memory"]:
            print(f"{who} out of memory")
            continue
        rate = row["step_gigamacs"] / row["step_ms"]["median"] * 1e3
        print(
            f"{who} {row['step_ms']['median']:9.1f} ms, {row['step_gigamacs']:9.1f} gigamacs, "
            f"{100 * rate / row['gigamacs_per_s']:4.0f} %, {row['peak_mib']:8.1f} MiB"
        )


if __name__ == "__main__":
    main()
