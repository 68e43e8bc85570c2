"""What a training step of the whole network costs, for every upsampler.

    python benchmarks/steps.py

A step is the forward pass of ``DemucsLike``, the mean absolute error, the backward pass and Adam.
All candidates share the encoder, the recurrent layers and the rest of the decoder, and differ in
the six upsampling layers; the ``demucs`` package's ``Demucs`` stands beside them, against ours with
its own encoder (convolutions of length 1).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import measure
import torch
from demucs.demucs import Demucs
from torch import Tensor, nn

from asteroid_upsamplers import layers
from asteroid_upsamplers.dsp import transposed_length
from asteroid_upsamplers.models import DemucsLike

Steps = dict[tuple[str, str], Callable[[], None]]
SAMPLE_RATE, SOURCES = 44100, ("drums", "bass", "other", "vocals")


class TorchTransposed(nn.ConvTranspose1d):
    """torch's own layer in the place of ours."""

    def output_length(self, time: int) -> int:
        """As :meth:`Upsampler.output_length`."""
        return transposed_length(time, self.stride[0], self.kernel_size[0])


class TorchInterpolation(nn.Sequential):
    """``nn.Upsample`` and ``nn.Conv1d`` in the place of ours."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, mode: str):
        super().__init__(
            nn.Upsample(scale_factor=stride, mode=mode),
            nn.Conv1d(in_channels, out_channels, 2 * stride + 1, padding=stride),
        )
        self.factor = stride

    def output_length(self, time: int) -> int:
        """As :meth:`Upsampler.output_length`."""
        return time * self.factor


TORCH = {
    "transposed": ("nn.ConvTranspose1d", lambda i, o, s: TorchTransposed(i, o, 8, s)),
    "nearest": ("nn.Upsample + nn.Conv1d", lambda i, o, s: TorchInterpolation(i, o, s, "nearest")),
    "linear": ("nn.Upsample + nn.Conv1d", lambda i, o, s: TorchInterpolation(i, o, s, "linear")),
}


def decoders(
    model: DemucsLike, names: list[str], two_steps: bool
) -> dict[tuple[str, str], list[nn.Module]]:
    """The six upsampling layers of every candidate, by upsampler and variant."""
    sizes = [
        (block.upsampler.in_channels, block.upsampler.out_channels, model.stride)
        for block in model.decoder
    ]
    candidates: dict[tuple[str, str], list[nn.Module]] = {}
    for name in names:
        if name in TORCH and (two_steps or name == "transposed"):
            words, make = TORCH[name]
            candidates[name, words] = [make(*size) for size in sizes]
        settings = {"trim": False} if name == "transposed" else {}
        candidates[name, "auto"] = [layers.get(name)(*size, **settings) for size in sizes]
    return candidates


def run(
    device: torch.device,
    dtype: torch.dtype,
    channels: int,
    seconds: float,
    batch: int,
    rounds: int,
    names: list[str],
    two_steps: bool = True,
    depth: int = 6,
) -> list[dict[str, Any]]:
    """One row for every candidate."""
    time = int(seconds * SAMPLE_RATE)
    torch.manual_seed(0)
    mixture = torch.randn(batch, 2, time, device=device)
    targets = torch.randn(batch, len(SOURCES), 2, time, device=device)
    rows = []
    for steps in (
        upsampler_steps(names, two_steps, channels, depth, mixture, targets, dtype),
        package_steps(channels, depth, mixture, targets, dtype),
    ):
        times = measure.interleaved(steps, rounds, device, f"{channels} channels, step")
        rows += [
            {
                "upsampler": name,
                "variant": variant,
                "channels": channels,
                "seconds": seconds,
                "batch": batch,
                "dtype": str(dtype).removeprefix("torch."),
                "step_ms": measure.plain(times[name, variant]),
                "peak_mib": round(measure.peak_mebibytes(step, device), 1),
            }
            for (name, variant), step in steps.items()
        ]
        steps.clear()  # the next comparison needs the memory
    return rows


def upsampler_steps(
    names: list[str],
    two_steps: bool,
    channels: int,
    depth: int,
    mixture: Tensor,
    targets: Tensor,
    dtype: torch.dtype,
) -> Steps:
    """One network, whose upsampling layers are exchanged."""
    model = DemucsLike(SOURCES, channels=channels, depth=depth).to(mixture.device)
    candidates = decoders(model, names, two_steps)
    shared = adam([p for n, p in model.named_parameters() if ".upsampler." not in n])

    def step_of(upsamplers: list[nn.Module]) -> Callable[[], None]:
        own = adam([p for u in upsamplers for p in u.to(mixture.device).parameters()])

        def step() -> None:
            for block, upsampler in zip(model.decoder, upsamplers, strict=True):
                block.upsampler = upsampler
            learn(model, mixture, targets, dtype, (shared, own))

        return step

    return {key: step_of(upsamplers) for key, upsamplers in candidates.items()}


def package_steps(
    channels: int, depth: int, mixture: Tensor, targets: Tensor, dtype: torch.dtype
) -> Steps:
    """The ``demucs`` package's network, and ours with its encoder."""
    ours = DemucsLike(SOURCES, channels=channels, depth=depth, encoder_context=0)
    networks = {"demucs.demucs.Demucs": reference(channels, depth), "auto, encoder of demucs": ours}

    def step_of(network: nn.Module) -> Callable[[], None]:
        optimizer = adam(network.to(mixture.device).parameters())
        return lambda: learn(network, mixture, targets, dtype, (optimizer,))

    return {("transposed", words): step_of(network) for words, network in networks.items()}


def adam(parameters: Any) -> torch.optim.Optimizer:
    """In one pass over the memory: the least that an optimiser can add to a step."""
    return torch.optim.Adam(parameters, lr=1e-4, fused=True)


def reference(channels: int, depth: int) -> Demucs:
    """The Demucs of reference [3], as the ``demucs`` package builds it."""
    return Demucs(
        list(SOURCES),
        channels=channels,
        growth=2,
        depth=depth,
        rewrite=True,
        lstm_layers=2,
        dconv_mode=0,
        norm_starts=999,
        gelu=False,
        resample=False,
        normalize=False,
        context=1,
    )


def learn(
    network: nn.Module,
    mixture: Tensor,
    targets: Tensor,
    dtype: torch.dtype,
    optimizers: tuple[torch.optim.Optimizer, ...],
) -> None:
    """One step of training."""
    for optimizer in optimizers:
        optimizer.zero_grad()
    with torch.autocast(mixture.device.type, dtype, enabled=dtype != torch.float32):
        loss = (network(mixture) - targets).abs().mean()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()


def main() -> None:
    """Print the rows of one size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--channels", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--upsamplers", nargs="+", default=layers.available())
    parser.add_argument("--depth", type=int, default=6)
    args = parser.parse_args()
    rows = run(
        torch.device(args.device),
        getattr(torch, args.dtype),
        args.channels,
        args.seconds,
        args.batch,
        args.rounds,
        args.upsamplers,
        depth=args.depth,
    )
    for row in rows:
        times = row["step_ms"]
        print(
            f"{row['upsampler']:12s} {row['variant']:36s} {times['median']:9.1f} ms "
            f"({times['least']:.1f} to {times['largest']:.1f}), {row['peak_mib']:8.1f} MiB"
        )


if __name__ == "__main__":
    main()
