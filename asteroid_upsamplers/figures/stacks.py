"""Three upsamplers by two in a row, from 4 kHz to 32 kHz ([1] Figs. 6, 7, 8 and 10)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import layers
from ..artifacts import filtering, filtering_of_signal, stack_tones
from ..probe.spectrogram import FLOOR_DB, HOP, Panel, spectrogram

RATE, STRIDE, DEPTH, SECONDS = 4000, 2, 3, 3.0
LEVELS = range(1, DEPTH + 1)


@dataclass(frozen=True, eq=False)
class Stack:
    """Three layers; signals ``(time,)`` at 4, 8, 16, 32 kHz: the input and the layers' outputs."""

    signals: list[np.ndarray]
    layers: list[layers.Upsampler]

    def rate(self, level: int) -> int:
        """Sample rate of a signal in Hz."""
        return RATE * STRIDE**level

    def panel(self, level: int, lines: bool = False, center: bool = False) -> Panel:
        """The spectrogram of a signal; ``lines`` marks the multiples of 4 kHz that are there."""
        levels = self.line_levels(level).items() if lines else ()
        tones = [float(frequency) for frequency, db in levels if db > FLOOR_DB]
        return Panel(spectrogram(self.signals[level], center), self.rate(level), tones, center)

    def line_levels(self, level: int) -> dict[str, float]:
        """Multiples of 4 kHz by frequency: dB against the rms of the middle half of the signal."""
        period = self.rate(level) // RATE
        signal = self.signals[level]
        quarter = len(signal) // 4 // period * period
        middle = signal[quarter:-quarter]
        amplitudes = np.abs(np.fft.rfft(middle.reshape(-1, period).mean(0))) / period
        levels = 20 * np.log10(np.maximum(amplitudes / np.sqrt(np.mean(middle**2)), 1e-20))
        return {str(k * RATE): float(levels[k]) for k in range(1, period // 2 + 1)}


@torch.no_grad()
def run_stack(
    name: str, x: Tensor, seed: int = 0, interpolation_only: bool = False, **settings: Any
) -> Stack:
    """Feed a signal ``(time,)`` at 4 kHz through three layers of one channel and random weights.

    ``interpolation_only`` leaves out the convolutions of interpolating layers.
    """
    if interpolation_only:
        settings["kernel_size"] = 1
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        stack = [
            layers.get(name)(1, 1, stride=STRIDE, bias=False, **settings).double() for _ in LEVELS
        ]
    signals = [x]
    for layer in stack:
        if interpolation_only:
            nn.init.ones_(layer.weight)
        signals.append(layer(signals[-1][None, None])[0, 0])
    return Stack([signal.numpy() for signal in signals], stack)


def ones() -> Tensor:
    """Three seconds at 4 kHz."""
    return torch.ones(round(SECONDS * RATE), dtype=torch.float64)


def noise(seed: int) -> Tensor:
    """White noise of variance 1, three seconds at 4 kHz."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(round(SECONDS * RATE), generator=generator, dtype=torch.float64)


def interpolation(seed: int, music: np.ndarray) -> dict[str, Any]:
    """Fig. 6: nearest and linear interpolation with convolutions of length 9, random weights.

    They attenuate high frequencies, and make no tones of a constant. Inputs are white noise and
    ``music``, ``(time,)`` at 4 kHz.
    """
    names, inputs = ("nearest", "linear"), {"music": music, "white noise": noise(seed).numpy()}
    stacks = {
        (name, source): run_stack(name, torch.from_numpy(x), seed, kernel_size=9)
        for name in names
        for source, x in inputs.items()
    }
    numbers = {}
    for name in names:
        steady = run_stack(name, ones(), seed, kernel_size=9)
        for level in LEVELS:
            response = filtering(steady.layers[level - 1])
            middle = np.array_split(steady.signals[level], 3)[1]
            numbers[f"{name}, layer {level}"] = {
                "high_band_db": response.high_band_db,
                "valley_db": response.valleys_db[0],
                "variation_for_ones": float(np.ptp(middle) / np.abs(middle).max()),
            }
    panels = {
        f"{name}, layer {level}, {source}": stack.panel(level)
        for level in LEVELS
        for (name, source), stack in stacks.items()
    }
    return {"panels": panels, "numbers": numbers}


def subpixel(seed: int = 0) -> dict[str, Any]:
    """Fig. 7: three subpixel convolutions of length 3, fed with ones.

    Their tones are at 4, 8 and 16 kHz, and the replicas of these at 8, 12 and 16 kHz.
    """
    stack = run_stack("subpixel", ones(), seed)
    panels = {"input: ones at 4 kHz": stack.panel(0)}
    panels |= {f"layer {level}": stack.panel(level, lines=True) for level in LEVELS}
    numbers = {f"layer {level}": _lines(stack, level) for level in LEVELS}
    return {"panels": panels, "numbers": numbers}


def transposed_and_linear(seed: int = 0) -> dict[str, Any]:
    """Fig. 8: tones of transposed convolutions; attenuation by linear interpolation.

    Left: transposed convolutions of length 4, fed with ones. Right: linear interpolation without
    convolutions, fed with white noise: valleys at multiples of 4 kHz. torch's linear interpolation
    by two is the triangle's squared sinc times a cosine, as no output sample falls on an input
    sample. The numbers of nearest-neighbour interpolation are there for comparison.
    """
    transposed = run_stack("transposed", ones(), seed, kernel_size=4)
    linear, nearest = (
        run_stack(name, noise(seed), interpolation_only=True) for name in ("linear", "nearest")
    )
    panels, numbers = {}, {}
    for level in LEVELS:
        panels[f"transposed CNN: layer {level}"] = transposed.panel(level, lines=True)
        panels[f"linear: layer {level}"] = linear.panel(level)
        numbers[f"transposed CNN: layer {level}"] = _lines(transposed, level)
        numbers[f"linear: layer {level}"] = _valleys(linear, level)
        numbers[f"nearest: layer {level}"] = _valleys(nearest, level)
    return {"panels": panels, "numbers": numbers}


def centred_frames(seed: int = 0) -> dict[str, Any]:
    """Fig. 10: the spectrograms of Fig. 8 with and without centred frames.

    For ``center=True`` the signal is padded, which adds energy between the lines to the first and
    last frames. ``first_frame_off_lines_db`` is the level of that energy.
    """
    stack = run_stack("transposed", ones(), seed, kernel_size=4)
    panels, numbers = {}, {}
    for level in LEVELS:
        for center in (False, True):
            signal, title = stack.signals[level], f"layer {level}, center={center}"
            panels[title] = stack.panel(level, center=center)
            frames = panels[title].levels.shape[1]
            without_edges = spectrogram(signal[64:-64], center)  # those of the layers themselves
            numbers[title] = {
                "frames": frames,
                "seconds_after_the_last_frame": (len(signal) - frames * HOP) / stack.rate(level),
                "first_frame_off_lines_db": _off_lines(without_edges),
            }
    return {"panels": panels, "numbers": numbers}


def _lines(stack: Stack, level: int) -> dict[str, Any]:
    """Levels of the lines as measured, as the weights predict, and which the layer itself makes."""
    predicted = stack_tones(stack.layers, RATE)[level - 1]
    frequencies = [f"{frequency:g}" for frequency in predicted.frequencies_hz]
    return {
        "measured_db": stack.line_levels(level),
        "predicted_db": dict(zip(frequencies, predicted.levels_db, strict=True)),
        "own": dict(zip(frequencies, predicted.own, strict=True)),
    }


def _valleys(stack: Stack, level: int) -> dict[str, Any]:
    found = filtering_of_signal(torch.from_numpy(stack.signals[level])[None], STRIDE**level)
    return {
        "valleys_db": {f"{(k + 1) * RATE}": depth for k, depth in enumerate(found.valleys_db)},
        "high_band_db": found.high_band_db,
        "top_db": found.top_db,
    }


def _off_lines(levels: np.ndarray, spacing: int = 8) -> float:
    """Mean level of the first frame, more than ``spacing`` bins away from every line."""
    lines = levels[:, levels.shape[1] // 2] > -90
    near = np.convolve(lines, np.ones(2 * spacing + 1), mode="same") > 0
    return float(10 * np.log10(np.mean(10 ** (levels[~near, 0] / 10))))
