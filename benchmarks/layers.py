"""What a layer costs: time and memory at the shapes of Demucs' decoder, in each form.

    python benchmarks/layers.py

Rows are compared with what a user would write otherwise: ``nn.Upsample`` and ``nn.Conv1d``,
``nn.ConvTranspose1d``, ``julius.resample_frac`` or ``alias_free_torch``'s upsampler and
``nn.Conv1d``; and with the machine's own rate in a large matrix product.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import julius
import measure
import torch
from alias_free_torch import UpSample1d
from torch import Tensor, nn
from torch.nn import functional as F

from asteroid_upsamplers import layers

STRIDE, DEPTH, SAMPLE_RATE, STEMS = 4, 6, 44100, 8
FORMS = ("plain", "folded", "commuted")
TABLE_1 = ("nearest", "linear", "transposed")


@dataclass(frozen=True)
class Shape:
    """The input of one decoder layer, and its output channels."""

    channels: int
    level: int
    in_channels: int
    out_channels: int
    batch: int
    time: int

    @property
    def gigamacs(self) -> float:
        """Multiply-adds for one tap, forward, in 10^9: that of a length-1 product."""
        return self.batch * self.time * self.in_channels * self.out_channels / 1e9


def demucs_shapes(channels: int, seconds: float, batch: int) -> list[Shape]:
    """The six upsampling layers of the Demucs of reference [3], the deepest first."""
    time, lengths = math.ceil(seconds * SAMPLE_RATE), []
    for _ in range(DEPTH):
        time = math.ceil((time - 8) / STRIDE) + 1
        lengths.append(max(time, 4))
    widths = [channels * 2**level for level in range(DEPTH)]
    outer = [STEMS, *widths[:-1]]
    levels = reversed(range(DEPTH))
    return [Shape(channels, n + 1, widths[n], outer[n], batch, lengths[n]) for n in levels]


class Interpolated(nn.Module):
    """Two steps, as one would write them: an upsampler and a convolution."""

    def __init__(self, upsample: Callable[[Tensor], Tensor], shape: Shape):
        super().__init__()
        self.upsample = upsample
        self.conv = nn.Conv1d(shape.in_channels, shape.out_channels, 9, padding=4)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample, then convolve."""
        return self.conv(self.upsample(x))


def baselines(shape: Shape) -> dict[str, nn.Module]:
    """By the name of the layer they are the oracle of."""
    linear = nn.Upsample(scale_factor=STRIDE, mode="linear", align_corners=False)
    return {
        "nearest": Interpolated(nn.Upsample(scale_factor=STRIDE), shape),
        "linear": Interpolated(linear, shape),
        "cubic": Interpolated(bicubic, shape),
        "sinc": Interpolated(lambda x: julius.resample_frac(x, 1, STRIDE), shape),
        "transposed": nn.ConvTranspose1d(shape.in_channels, shape.out_channels, 8, STRIDE),
    }


def bicubic(x: Tensor) -> Tensor:
    """torch has no cubic interpolation in one dimension."""
    size = (1, x.shape[-1] * STRIDE)
    return F.interpolate(x[:, :, None], size=size, mode="bicubic", align_corners=False)[:, :, 0]


BASELINE = {
    "nearest": "nn.Upsample + nn.Conv1d",
    "linear": "nn.Upsample + nn.Conv1d",
    "cubic": "F.interpolate (bicubic) + nn.Conv1d",
    "sinc": "julius.resample_frac + nn.Conv1d",
    "transposed": "nn.ConvTranspose1d",
}


def ours(name: str, shape: Shape, form: str | None) -> layers.Upsampler:
    """A layer of the package, of the lengths of Demucs and of [1] Fig. 6."""
    settings: dict[str, Any] = {"form": form} if form else {}
    if name == "transposed":
        settings.update(kernel_size=8, trim=False)
    return layers.get(name)(shape.in_channels, shape.out_channels, STRIDE, **settings)


def family(shape: Shape, everything: bool) -> Iterator[tuple[str, str, nn.Module]]:
    """Name, variant and module of every candidate."""
    others = [name for name in layers.available() if name not in TABLE_1] if everything else []
    references = baselines(shape)
    for name in [*TABLE_1, *others]:
        forms = ("auto", *FORMS) if name in TABLE_1 else ("auto",)
        if name in references:
            yield name, BASELINE[name], references[name]
        has_forms = issubclass(layers.get(name), layers.PolyphaseUpsampler)
        for form in forms:
            module = ours(name, shape, form if has_forms else None)
            if name in references:
                reference = references[name]
                state = (reference if name == "transposed" else reference.conv).state_dict()
                module.load_state_dict(state)
            yield name, form, module
    if everything:
        kaiser = UpSample1d(STRIDE)
        other = Interpolated(kaiser, shape)
        other.conv.load_state_dict(references["sinc"].conv.state_dict())
        yield "sinc", "alias_free_torch + nn.Conv1d", other


def measured(
    shape: Shape, device: torch.device, dtype: torch.dtype, rounds: int, other_rounds: int
) -> list[dict[str, Any]]:
    """One row for every candidate at one shape."""
    x = torch.randn(shape.batch, shape.in_channels, shape.time, device=device, dtype=dtype)
    x.requires_grad_()
    modules = {
        (name, variant): module.to(device, dtype)
        for name, variant, module in family(shape, other_rounds > 0)
    }
    forwards = {key: _forward(module, x) for key, module in modules.items()}
    steps = {key: _step(module, x) for key, module in modules.items()}
    title = f"{shape.channels} channels, layer {shape.level}"
    forward_times, step_times = {}, {}
    for keys, turns in (
        ([key for key in modules if key[0] in TABLE_1], rounds),
        ([key for key in modules if key[0] not in TABLE_1], other_rounds),
    ):
        some = {key: forwards[key] for key in keys}
        forward_times.update(measure.interleaved(some, turns, device, f"{title}, forward"))
        some = {key: steps[key] for key in keys}
        step_times.update(measure.interleaved(some, turns, device, f"{title}, step"))
    oracles = {
        name: forwards[name, words]()
        for name, words in BASELINE.items()
        if (name, words) in forwards
    }
    rows = []
    for (name, variant), module in modules.items():
        row: dict[str, Any] = {"layer": name, "variant": variant, **vars(shape)}
        row["dtype"] = str(dtype).removeprefix("torch.")
        if isinstance(module, layers.PolyphaseUpsampler):
            row["form"] = module.form_for(x)
        row["forward_ms"] = measure.plain(forward_times[name, variant])
        row["step_ms"] = measure.plain(step_times[name, variant])
        module.zero_grad(set_to_none=True)  # else the step begins by freeing them
        x.grad = None
        row["peak_mib"] = round(measure.peak_mebibytes(steps[name, variant], device), 1)
        row["parameters_mib"] = round(
            sum(p.numel() * p.element_size() for p in module.parameters()) / 2**20, 1
        )
        if name in oracles:
            row["difference"] = measure.relative_difference(
                forwards[name, variant](), oracles[name]
            )
        rows.append(row)
    return rows


def _forward(module: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    def forward() -> Tensor:
        with torch.no_grad():
            return module(x)

    return forward


def _step(module: nn.Module, x: Tensor) -> Callable[[], None]:
    gradient: list[Tensor] = []

    def step() -> None:
        module.zero_grad(set_to_none=True)
        x.grad = None
        y = module(x)
        if not gradient:
            gradient.append(torch.randn_like(y))
        y.backward(gradient[0])

    return step


def run(
    device: torch.device,
    dtype: torch.dtype,
    channels: int,
    seconds: float,
    batch: int,
    rounds: int,
    other_rounds: int,
) -> list[dict[str, Any]]:
    """All candidates at the six shapes; see :func:`measured` for a row."""
    torch.manual_seed(0)
    rows = []
    for shape in demucs_shapes(channels, seconds, batch):
        rows += measured(shape, device, dtype, rounds, other_rounds)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return rows


def main() -> None:
    """Print the rows of one set of shapes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--table_1", action="store_true", help="nearest, linear, transposed only")
    args = parser.parse_args()
    rows = run(
        torch.device(args.device),
        getattr(torch, args.dtype),
        args.channels,
        args.seconds,
        args.batch,
        args.rounds,
        0 if args.table_1 else args.rounds,
    )
    for row in rows:
        forward, step = row["forward_ms"]["median"], row["step_ms"]["median"]
        print(
            f"{row['channels']:4d} channels, layer {row['level']}: {row['layer']:12s} "
            f"{row['variant']:36s} {forward:9.1f} {step:9.1f} ms, {row['peak_mib']:8.1f} MiB, "
            f"difference {row.get('difference', float('nan')):.1e}"
        )


if __name__ == "__main__":
    main()
