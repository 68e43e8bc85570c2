"""What live runs cost more than offline ones, in CPU time, and how late they are.

Each network runs over the same signal at once, and in chunks, in turns; the differences of the two
outputs are printed as well. ``layers.stream`` and ``separation.stream`` run a network on the new
frames and on as many old ones as they are heard together with, so that a network that hears much
costs most in short chunks. Folded layers do not compute their filters anew in every call.

    python benchmarks/streaming.py --seconds 5 --chunks 0.05 0.5
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import measure
import torch
from asteroid_filterbanks.free_fb import FreeFB
from torch import Tensor, nn

from asteroid_upsamplers import layers, separation
from asteroid_upsamplers.blocks import UpsamplerDecoder
from asteroid_upsamplers.models import MelGANGenerator, UpsamplerConvTasNet, WaveUNet


def networks() -> dict[str, tuple[nn.Module, float]]:
    """Each with the frames of a second."""
    return {
        "layer linear, 64 to 32, stride 4": (layers.Linear(64, 32, stride=4), 11025),
        "UpsamplerDecoder transposed, 512, stride 8": (
            UpsamplerDecoder(FreeFB(512, 16, stride=8)),
            1000,
        ),
        "UpsamplerDecoder linear, 512, stride 8": (
            UpsamplerDecoder(FreeFB(512, 16, stride=8), upsampler="linear"),
            1000,
        ),
        "MelGAN transposed": (MelGANGenerator(), 22050 / 256),
        "MelGAN linear": (MelGANGenerator("linear"), 22050 / 256),
        "Wave-U-Net of 5 levels": (WaveUNet(depth=5, context=True), 22050),
        "Conv-TasNet, cLN, 1 repeat of 6 blocks": (
            UpsamplerConvTasNet(2, n_repeats=1, n_blocks=6, norm_type="cLN", sample_rate=8000),
            8000,
        ),
    }


def cpu_times(calls: dict[Any, Callable[[], Tensor]], rounds: int) -> dict[Any, float]:
    """Seconds of CPU time of every call, the median over rounds of turns."""
    seen: dict[Any, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            begin = time.process_time()
            call()
            seen[name].append(time.process_time() - begin)
    return {name: statistics.median(values) for name, values in seen.items()}


def live_run(live: Any, x: Tensor, frames: int) -> Tensor:
    """The whole output, from chunks of so many frames."""
    live.reset()
    return torch.cat([*(live.push(chunk) for chunk in x.split(frames, -1)), live.flush()], -1)


@torch.no_grad()
def row(
    name: str, model: nn.Module, rate: float, seconds: float, chunks: list[float], fold: bool
) -> str:
    """A line of the table."""
    is_layer = isinstance(model.eval(), layers.Upsampler)
    folded = layers.fold_for_inference(copy.deepcopy(model)) if fold else model
    live = layers.stream(folded) if is_layer else separation.stream(folded)
    x = torch.randn(1, live.in_channels, round(seconds * rate))
    offline = model(x)
    calls: dict[Any, Callable[[], Tensor]] = {"offline": lambda: model(x)}
    for chunk in chunks:
        frames = max(1, round(chunk * rate))
        calls[chunk] = lambda frames=frames: live_run(live, x, frames)
    y = live_run(live, x, max(1, round(chunks[0] * rate)))
    same = offline if y.shape == offline.shape and not isinstance(model, WaveUNet) else None
    difference = "" if same is None else f"{measure.relative_difference(y, same):.0e}"
    times = cpu_times(calls, rounds=3)
    latency = 1e3 * live.latency * seconds / offline.shape[-1]
    more = " | ".join(f"{100 * (times[c] / times['offline'] - 1):+.0f} %" for c in chunks)
    name += ", folded" if fold else ""
    return (
        f"| {name} | {1e3 * times['offline'] / seconds:.1f} | {more} | {latency:.1f} | "
        f"{difference} |"
    )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of the signals")
    parser.add_argument("--chunks", type=float, nargs="+", default=[0.05, 0.5], help="in s")
    options = parser.parse_args()
    torch.manual_seed(0)
    heads = " | ".join(f"chunks of {1e3 * chunk:g} ms" for chunk in options.chunks)
    print(f"{measure.machine(torch.device('cpu'))}\n")
    print(f"| network | offline, ms of CPU a second | {heads} | latency, ms | difference |")
    print("|---" * (4 + len(options.chunks)) + "|")
    for name, (model, rate) in networks().items():
        for fold in (False, True) if name.endswith(("linear", "stride 4")) else (False,):
            print(row(name, model, rate, options.seconds, options.chunks, fold), flush=True)


if __name__ == "__main__":
    main()
