"""Pieces of data for self-distillation, and how far two of its signals are apart."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..artifacts import prominence
from ..errors import UsageError
from ..probe.state import undisturbed
from .inputs import received, signals
from .site import Site
from .sites import survey

PIECE = 2**14
"""Samples of output in a piece, about."""

N_FFTS = (2048, 1024, 512, 256)
AUDIBLE_DB = 2.0
"""Lines that stand out less are left to themselves."""

Pieces = list[tuple[Tensor, list[Tensor]]]
"""Inputs, and all signals that the network gives for them."""


def spectral_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of samples, and of magnitudes and their logarithms, ``(..., time)``.

    Signals of a standard deviation near 1: magnitudes below a thousandth of that of white noise
    count as the same. Each of the resolutions that the signals are long enough for counts alike.
    """
    losses = [F.l1_loss(estimate, target)]
    for n_fft in (n for n in N_FFTS if n <= target.shape[-1]):
        window = torch.hann_window(n_fft, device=target.device, dtype=target.dtype)
        size = float(window.square().sum().sqrt())
        mine, other = (
            torch.stft(y.reshape(-1, y.shape[-1]), n_fft, n_fft // 4, window=window, center=False,
                       return_complex=True).abs() / size
            for y in (estimate, target)
        )  # fmt: skip
        losses.append(F.l1_loss(mine, other))
        losses.append(F.l1_loss((mine + 1e-3).log(), (other + 1e-3).log()))
    return torch.stack(losses).mean()


def without_lines(y: Tensor, frequencies: Sequence[float]) -> Tensor:
    """A signal without what is at given frequencies, in cycles per sample, and in two bins around.

    Args:
        y: ``(..., time)``.
        frequencies: From 0 to a half.
    """
    if not frequencies:
        return y
    spectrum = torch.fft.rfft(y)
    for frequency in frequencies:
        bin_ = round(frequency * y.shape[-1])
        spectrum[..., max(1, bin_ - 1) : bin_ + 2] = 0
    return torch.fft.irfft(spectrum, y.shape[-1])


def amplitudes(y: Tensor, tones: Sequence[float]) -> Tensor:
    """``(tones,)``, complex: what signals ``(..., time)`` hold at frequencies, on average."""
    time = torch.arange(y.shape[-1], device=y.device, dtype=torch.float64)
    turns = torch.tensor(tones, device=y.device, dtype=torch.float64)[:, None] * time
    wave = torch.polar(torch.ones_like(turns), -2 * math.pi * turns).to(torch.complex64)
    return (wave @ y.reshape(-1, y.shape[-1]).mT.to(wave)).mean(1) / y.shape[-1]


def _prominent(outputs: Sequence[Tensor], period: int) -> list[float]:
    """Which multiples of ``1 / period`` stand out of the noise, in cycles per sample."""
    y = torch.cat([y.reshape(-1, y.shape[-1])[:1] for y in outputs], -1)
    n_fft = min(16384, 2 ** int(math.log2(y.shape[-1])) // 2)
    if n_fft < max(64, 16 * period):  # tones and what lies between cannot be told apart
        return []
    tones = [k / period for k in range(1, period // 2 + 1)]
    levels = prominence(y, 1.0, tones, n_fft)
    return [tone for tone, level in zip(tones, levels.tolist(), strict=True) if level > AUDIBLE_DB]


def period_of(network: nn.Module, sites: Sequence[Site], x: Tensor) -> int:
    """Samples of output that all predicted tones repeat after: a frame of the slowest layer."""
    modules = list(dict.fromkeys(site.module for site in (*sites, *survey(network).sites)))
    frames: dict[int, int] = {}
    received(network, modules, [x], lambda n, y: frames.update({n: y.shape[-1]}), all_needed=False)
    with undisturbed(network):
        samples = signals(network, x)[0].shape[-1]
    seen = [round(samples / number) for number in frames.values()]
    return max(seen + [site.stride for site in sites])  # functions are not seen


def checksum(tensors: Sequence[Tensor]) -> int:
    """Tells inputs and weights from others."""
    found = 0
    for tensor in tensors:
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        found = zlib.crc32(flat.view(torch.uint8).numpy().tobytes(), found)
    return found


def cut(
    teacher: nn.Module, inputs: Sequence[Tensor], period: int, length: int, most: int, seed: int
) -> tuple[Pieces, tuple[list[float], Tensor]]:
    """Cut inputs into pieces, and run the teacher on as many as can be used.

    Returns:
        The pieces in a random order, without lines; the frequencies of these, and what they were.
    """
    with undisturbed(teacher):
        factor = signals(teacher, inputs[0])[0].shape[-1] / inputs[0].shape[-1]
        size = max(1, round(length / factor)) if length else 0
        parts = []
        for x in inputs:
            whole = not size or x.shape[-1] <= size
            parts += [x] if whole else [p for p in x.split(size, -1) if p.shape[-1] == size]
        order = torch.randperm(len(parts), generator=torch.Generator().manual_seed(seed)).tolist()
        try:
            outputs = [[y.clone() for y in signals(teacher, parts[k])] for k in order[:most]]
        except UsageError as error:
            cut_along = "pieces are cut along the last axis of an input: piece=0 takes inputs whole"
            raise UsageError(f"{error} ({cut_along})" if size else str(error)) from error
        pieces = list(zip((parts[k] for k in order), outputs, strict=False))
        tones = _prominent([y[0] for _, y in pieces], period)
        mean = torch.stack([amplitudes(y[0], tones) for _, y in pieces]).mean(0)
    return [(x, [without_lines(y[0], tones), *y[1:]]) for x, y in pieces], (tones, mean)
