"""Times, memory, differences and the machine, measured the same way by every script beside this.

The candidates of a comparison take turns, round after round, forwards and backwards, so that what
else the machine does meets all of them. Each is called twice in its turn and timed the second time,
when the memory is as its own first call left it.
"""

from __future__ import annotations

import datetime
import gc
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from tqdm import tqdm

from asteroid_upsamplers._version import __version__

torch.set_flush_denormal(True)  # numbers near zero cost a CPU up to half its speed, at random
torch.backends.cudnn.benchmark = True  # as in training
if torch.cuda.is_available():
    torch.set_float32_matmul_precision("high")  # TF32, as in training

MATRIX_SIZE = {"cpu": 2048, "cuda": 8192}


def interleaved(
    candidates: dict[Any, Callable[[], Any]], rounds: int, device: torch.device, label: str = ""
) -> dict[Any, dict[str, Any]]:
    """Milliseconds of every candidate: ``median``, ``least``, ``largest`` and all ``rounds``."""
    seen: dict[Any, list[float]] = {name: [] for name in candidates}
    turns = list(candidates.items())
    for _ in tqdm(range(rounds), desc=label, leave=False):
        for name, function in turns:
            _once(function, device)
            seen[name].append(round(_once(function, device), 3))
        turns.reverse()
    return {
        name: {"median": round(statistics.median(values), 3), "least": min(values)}
        | {"largest": max(values), "rounds": values}
        for name, values in seen.items()
    }


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
    """The most that torch's allocator held during a call, beyond what it held before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        return round((torch.cuda.max_memory_allocated() - before) / 2**20, 1)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as record:
        function()
    events = [e for e in record.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = least = most = 0  # what is freed first was there before
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        least = min(least, held)
        most = max(most, held - least)
    return round(most / 2**20, 1)


def free_memory(device: torch.device) -> None:
    """What nothing refers to any more, the allocator's cache on a GPU included."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def relative_difference(y: Tensor, oracle: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    return float((y.double() - oracle.double()).abs().max() / oracle.double().abs().max())


def matrix_rate(device: torch.device, dtype: str) -> float:
    """GMAC/s in a product of two large square matrices."""
    size = MATRIX_SIZE[device.type]
    a, b = (torch.randn(size, size, device=device, dtype=getattr(torch, dtype)) for _ in range(2))
    milliseconds = interleaved({"product": lambda: a @ b}, 7, device)["product"]["median"]
    return round(size**3 / milliseconds / 1e6, 1)


def machine(device: torch.device) -> dict[str, Any]:
    """Where and with what the figures were measured."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        info = Path("/proc/cpuinfo")
        lines = info.read_text().splitlines() if info.exists() else []
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        name = f"{models[0] if models else platform.processor()}, {torch.get_num_threads()} threads"
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "device": name,
        "date": datetime.date.today().isoformat(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "asteroid_upsamplers": __version__,
        "commit": commit or "unknown",
    }
