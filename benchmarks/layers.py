"""Time, memory and difference of every layer, in every form, at the six shapes of Demucs' decoder.

Each stands beside what a user of torch would write otherwise: ``nn.Upsample`` and ``nn.Conv1d``,
``nn.ConvTranspose1d``, or julius' windowed sinc and ``nn.Conv1d``.

    python benchmarks/run.py layers channels=24 seconds=5 batch=2
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import julius
import measure
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asteroid_upsamplers import layers

STRIDE, SAMPLE_RATE, STEMS = 4, 44100, 8
FORMS = ("auto", "plain", "folded", "commuted")
TABLE_1 = ("nearest", "linear", "transposed")
INTERPOLATIONS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "nearest": ("nn.Upsample", nn.Upsample(scale_factor=STRIDE)),
    "linear": ("nn.Upsample", nn.Upsample(scale_factor=STRIDE, mode="linear")),
    "cubic": ("F.interpolate (bicubic)", lambda x: _bicubic(x)),
    "sinc": ("julius.resample_frac", lambda x: julius.resample_frac(x, 1, STRIDE)),
    "resample": ("julius.resample_frac", lambda x: julius.resample_frac(x, 1, STRIDE, 8, 1)),
}
FURTHER: dict[str, list[dict[str, Any]]] = {
    "nearest": [{"kernel_size": "mac_neutral"}],
    "linear": [{"kernel_size": "mac_neutral"}],
    "hold": [{"order": 0}, {"order": 2}],
    "resample": [{"side_kernel_size": 8}],
    "lifting": [{"kernel_size": 3}],
}
"""Settings that change what a layer costs, each measured as well."""
TORCH = {name: f"{words} + nn.Conv1d" for name, (words, _) in INTERPOLATIONS.items()}
TORCH["transposed"] = "nn.ConvTranspose1d"


@dataclass(frozen=True)
class Shape:
    """The input of one decoder layer, and its output channels."""

    channels: int
    level: int
    in_channels: int
    out_channels: int
    batch: int
    time: int


def demucs_shapes(channels: int, seconds: float, batch: int, depth: int = 6) -> list[Shape]:
    """The upsampling layers of the Demucs of reference [3], the deepest first."""
    time, outside, shapes = math.ceil(seconds * SAMPLE_RATE), STEMS, []
    for level in range(depth):
        time, inside = max(math.ceil((time - 8) / STRIDE) + 1, 4), channels * 2**level
        shapes.append(Shape(channels, level + 1, inside, outside, batch, time))
        outside = inside
    return shapes[::-1]


class TorchTransposed(nn.ConvTranspose1d):
    """torch's own layer, which can stand in a ``DemucsLike``."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 8, STRIDE)

    def output_length(self, time: int) -> int:
        """As :meth:`Upsampler.output_length`."""
        return (time - 1) * STRIDE + 8


class TorchInterpolation(nn.Conv1d):
    """Interpolation, then torch's convolution, which can stand in a ``DemucsLike``."""

    def __init__(self, name: str, in_channels: int, out_channels: int):
        taps = 1 if name == "resample" else 9
        super().__init__(in_channels, out_channels, taps, padding=taps // 2)
        self.upsample = INTERPOLATIONS[name][1]

    def forward(self, x: Tensor) -> Tensor:
        """Upsample, then convolve."""
        return super().forward(self.upsample(x))

    def output_length(self, time: int) -> int:
        """As :meth:`Upsampler.output_length`."""
        return time * STRIDE


def _bicubic(x: Tensor) -> Tensor:
    """torch has no cubic interpolation in one dimension."""
    size = (1, x.shape[-1] * STRIDE)
    return F.interpolate(x[:, :, None], size=size, mode="bicubic", align_corners=False)[:, :, 0]


def torch_layer(name: str, in_channels: int, out_channels: int) -> nn.Module:
    """What a user of torch would write in the place of our layer ``name``, one of ``TORCH``."""
    if name == "transposed":
        return TorchTransposed(in_channels, out_channels)
    return TorchInterpolation(name, in_channels, out_channels)


def our_layer(name: str, in_channels: int, out_channels: int, **settings: Any) -> nn.Module:
    """A layer of the package, of the length that Demucs and [1] Fig. 6 have."""
    if name == "transposed":
        settings |= {"kernel_size": 8, "trim": False}
    return layers.get(name)(in_channels, out_channels, STRIDE, **settings)


def candidates(name: str, shape: Shape) -> Iterator[tuple[str, nn.Module]]:
    """Variants of a layer, with the same weights, and their modules; torch's own is the first."""
    size = shape.in_channels, shape.out_channels
    weights = {}
    if name in TORCH:
        reference = torch_layer(name, *size)
        weights = reference.state_dict()
        yield TORCH[name], reference
    for form in FORMS if name in TABLE_1 else FORMS[:1]:
        has_forms = issubclass(layers.get(name), layers.PolyphaseUpsampler)
        module = our_layer(name, *size, **({"form": form} if has_forms else {}))
        module.load_state_dict(weights, strict=name in TORCH)
        yield form, module
    for settings in FURTHER.get(name, []):
        words = ", ".join(f"{key}={value}" for key, value in settings.items())
        yield words, our_layer(name, *size, **settings)


def forward(module: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    """A call without gradients, to time."""
    return torch.no_grad()(lambda: module(x))


def forward_backward(module: nn.Module, x: Tensor) -> Callable[[], None]:
    """A forward and a backward pass, to time; afterwards no gradients are held."""
    x = x.detach().requires_grad_()
    gradient = torch.randn_like(forward(module, x)())

    def step() -> None:
        module(x).backward(gradient)
        module.zero_grad()
        x.grad = None

    return step


def measured(
    name: str, shape: Shape, device: torch.device, dtype: str, rounds: int
) -> list[dict[str, Any]]:
    """One row for every variant of a layer at one shape."""
    number = getattr(torch, dtype)
    x = torch.randn(shape.batch, shape.in_channels, shape.time, device=device, dtype=number)
    modules = {variant: module.to(device, number) for variant, module in candidates(name, shape)}
    forwards = {variant: forward(module, x) for variant, module in modules.items()}
    steps = {variant: forward_backward(module, x) for variant, module in modules.items()}
    label = f"{shape.channels} channels, layer {shape.level}, {name}"
    forward_ms = measure.interleaved(forwards, rounds, device, label)
    step_ms = measure.interleaved(steps, rounds, device, label)
    rows = []
    for variant, module in modules.items():
        row: dict[str, Any] = {"layer": name, "variant": variant, **vars(shape), "dtype": dtype}
        if isinstance(module, layers.PolyphaseUpsampler):
            row["form"] = module.form_for(x)
        row |= {"forward_ms": forward_ms[variant], "step_ms": step_ms[variant]}
        row["peak_mib"] = measure.peak_mebibytes(steps[variant], device)
        if name in TORCH and variant in (TORCH[name], *FORMS):
            oracle = forwards[TORCH[name]]()
            row["difference"] = measure.relative_difference(forwards[variant](), oracle)
        rows.append(row)
    return rows


def run(
    device: torch.device,
    channels: int = 24,
    seconds: float = 5,
    batch: int = 2,
    dtype: str = "float32",
    rounds: int = 5,
    other_rounds: int = 1,
    depth: int = 6,
) -> list[dict[str, Any]]:
    """All layers at the six shapes.

    Args:
        device: Where they run.
        channels: Of the outermost encoder block of Demucs.
        seconds: Of audio at 44.1 kHz.
        batch: Segments.
        dtype: Of all numbers.
        rounds: Of the layers of Table 1, in every form.
        other_rounds: Of the other layers; 0 leaves them out.
        depth: Number of shapes.
    """
    torch.manual_seed(0)
    rows = []
    others = [name for name in layers.available() if name not in TABLE_1]
    for shape in demucs_shapes(channels, seconds, batch, depth):
        for name in [*TABLE_1, *(others if other_rounds else [])]:
            turns = rounds if name in TABLE_1 else other_rounds
            rows += measured(name, shape, device, dtype, turns)
        measure.free_memory(device)
    return rows
