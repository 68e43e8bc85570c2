"""Times, memory, differences and machines, measured the same way by every script beside this one.

All candidates of a comparison are timed in turn, round after round, forwards and backwards, so that
what else the machine does meets all of them. Each is called twice in its turn, and timed the second
time: a training step follows one of its own kind, and finds the memory as that left it.
"""

from __future__ import annotations

import datetime
import gc
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from tqdm import tqdm

from asteroid_upsamplers._version import __version__

torch.set_flush_denormal(True)  # numbers near zero cost a CPU up to half its speed, at random
torch.backends.cudnn.benchmark = True  # as the training engine does


@dataclass(frozen=True)
class Times:
    """Milliseconds: the median, the least and the largest of the rounds, and every one of them."""

    median: float
    least: float
    largest: float
    rounds: list[float]


def interleaved(
    candidates: dict[str, Callable[[], Any]], rounds: int, device: torch.device, label: str = ""
) -> dict[str, Times]:
    """Time every candidate once a round."""
    seen: dict[str, list[float]] = {name: [] for name in candidates}
    turns = list(candidates.items())
    for _ in tqdm(range(rounds), desc=label, leave=False):
        for name, function in turns:
            _once(function, device)
            seen[name].append(_once(function, device))
        turns.reverse()
    return {name: Times(statistics.median(v), min(v), max(v), v) for name, v in seen.items()}


def _once(function: Callable[[], Any], device: torch.device) -> float:
    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        function()
        end.record()
        torch.cuda.synchronize()
        return float(start.elapsed_time(end))
    begin = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - begin)


def peak_mebibytes(function: Callable[[], Any], device: torch.device) -> float:
    """What torch's allocator held at most, beyond what it held before."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        return float(torch.cuda.max_memory_allocated() - before) / 2**20
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as record:
        function()
    events = [e for e in record.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = least = most = 0  # what is freed first was there before
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        least = min(least, held)
        most = max(most, held - least)
    return most / 2**20


def memory_gigabytes(device: torch.device) -> float:
    """Of a GPU, all of it."""
    return torch.cuda.get_device_properties(device).total_memory / 1e9


def relative_difference(y: Tensor, oracle: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    return float((y.double() - oracle.double()).abs().max() / oracle.double().abs().max())


def matrix_rate(device: torch.device, dtype: torch.dtype, rounds: int = 7) -> float:
    """Multiply-adds a second in a large matrix product, in 10^9."""
    size = 2048 if device.type == "cpu" else 8192
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    times = interleaved({"matmul": lambda: a @ b}, rounds, device)
    return size**3 / times["matmul"].median / 1e6


def machine(device: torch.device) -> dict[str, Any]:
    """Where and with what the figures were measured."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        lines = (
            Path("/proc/cpuinfo").read_text().splitlines() if platform.system() == "Linux" else []
        )
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        name = f"{models[0] if models else platform.processor()}, {torch.get_num_threads()} threads"
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "device": name,
        "date": datetime.date.today().isoformat(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "asteroid_upsamplers": __version__,
        "commit": commit or "unknown",
    }


def plain(times: Times) -> dict[str, Any]:
    """For JSON, to a hundredth of a millisecond."""
    values = asdict(times)
    rounds = [round(value, 2) for value in values.pop("rounds")]
    return {**{key: round(value, 2) for key, value in values.items()}, "rounds": rounds}
