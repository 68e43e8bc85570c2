"""The whole examination of a network: which of its layers make tones, which, and how loud.

Three questions, and which of them an answer belongs to is in its name:

- ``layers``: what each upsampling layer makes of a constant, from its weights alone;
- ``silence`` and ``near_silence``: what the whole network makes of zeros, and of noise at -80 dB;
- ``noise``: how far tones stand out of the noise floor, if white noise goes in.

How far the tones fall if those of one layer are taken out of its output names the layers to blame:
the tones in silence, or, of a network that is silent then, those that stand out in noise.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ..artifacts.filtering import filtering
from ..artifacts.prominence import FAR, prominence, prominence_threshold
from ..artifacts.silence import line_powers
from ..artifacts.system import like
from ..errors import UsageError
from .calls import UpsamplingCall, watching
from .results import LayerReport, NoiseReport, ProbeReport, ProbeSignals, SilenceReport

NEAR_SILENCE_DB = -80.0

APART = 16
"""Bins from one predicted tone to the next that a spectrum needs to see the floor between them."""

ROUNDING = 1e-12
"""Tones of a smaller share of the output's power, its mean included, are float32's rounding."""

MOST_N_FFT = 16384
FALSE_ALARM = 1e-3


@torch.no_grad()
def probe(
    network: Callable[[Tensor], Tensor],
    sample_rate: float,
    input_shape: Sequence[int],
    seed: int = 0,
) -> ProbeReport:
    """Examine a network; see :class:`ProbeReport` for what comes out.

    Args:
        network: From a tensor of ``input_shape`` to ``(..., time)``; set to evaluation, and back.
        sample_rate: Of its output, in Hz.
        input_shape: What it takes, the batch included, such as ``(1, 2, 441000)``; long enough for
            a few seconds of output.
        seed: Of the noise.

    Raises:
        UsageError: If the network has no upsampling layer, refuses the input, or gives no finite
            numbers or no signal.

    Example:
        >>> from asteroid_upsamplers import layers
        >>> report = probe(layers.Nearest(1, 1, stride=2), 8000, (1, 1, 40_000))
        >>> [layer.kind for layer in report.layers], report.silence.share_at_predicted_tones
        (['nearest'], 0.0)
    """
    return examine(network, sample_rate, input_shape, seed)[0]


@torch.no_grad()
def examine(
    network: Callable[[Tensor], Tensor],
    sample_rate: float,
    input_shape: Sequence[int],
    seed: int = 0,
) -> tuple[ProbeReport, ProbeSignals]:
    """:func:`probe`, with the signals it looked at."""
    training = network.training if isinstance(network, nn.Module) else False
    if isinstance(network, nn.Module):
        network.eval()
    try:
        return _examine(network, sample_rate, tuple(input_shape), seed)
    finally:
        if isinstance(network, nn.Module):
            network.train(training)


def _examine(
    network: Callable[[Tensor], Tensor], sample_rate: float, shape: tuple[int, ...], seed: int
) -> tuple[ProbeReport, ProbeSignals]:
    generator = torch.Generator().manual_seed(seed)
    noise_in = (2 * torch.rand(shape, generator=generator) - 1).to(like(network, torch.float32))
    with watching(network) as calls:
        noise = _run(network, noise_in)
    if not calls:
        raise UsageError(
            "no upsampling layer was seen: no transposed convolution, interpolation, subpixel "
            "shuffle or layer of this package ran (what is compiled or scripted cannot be watched)"
        )
    silence = _run(network, torch.zeros_like(noise_in))
    rates = _rates(calls, noise.shape[-1], sample_rate)
    total = _grid(calls, rates, sample_rate)
    steady, stride = _steady(silence, total)
    remarks = []
    if stride < total:
        remarks.append(
            f"the output has {silence.shape[-1]} samples, too few for the tones of the deeper "
            f"layers: only multiples of {sample_rate / stride:g} Hz were looked at in silence"
        )
    power, lines = line_powers(steady, stride)
    whisper = _steady(_run(network, 10 ** (NEAR_SILENCE_DB / 20) * noise_in), stride)[0]
    in_noise = _noise(noise, sample_rate, total, remarks)
    blamed_for, places = "silence", list(range(len(lines)))
    if float(lines.sum()) <= ROUNDING * float(steady.square().mean()):
        standing = in_noise.standing() if in_noise else []
        blamed_for, places = "noise", [round(f * stride / sample_rate) - 1 for f in standing]
    x = torch.zeros_like(noise_in) if blamed_for == "silence" else noise_in
    blames = _blames(network, x, len(calls), stride, places)
    layers = [
        _layer(call, rate, sample_rate, rates[index + 1 :], blame)
        for index, (call, rate, blame) in enumerate(zip(calls, rates, blames, strict=True))
    ]
    report = ProbeReport(
        sample_rate,
        list(shape),
        layers,
        _silence(power, lines, sample_rate / stride),
        _silence(*line_powers(whisper, stride), sample_rate / stride),
        in_noise,
        _blamed(layers),
        blamed_for,
        remarks,
    )
    filters = {call.name: call.as_filters() for call in calls}
    responses = {name: filtering(found) for name, found in filters.items() if found is not None}
    return report, ProbeSignals(silence, noise, responses)


def _run(network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The output as ``(channels, time)``; what can go wrong in one line."""
    shape = tuple(x.shape)
    try:
        y = network(x)
    except Exception as error:  # whatever a stranger's network raises
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(
            f"the network refused an input of shape {shape}: {reason} "
            "(pass another with input_shape, or --input_shape)"
        ) from error
    while isinstance(y, (tuple, list)) and y:
        y = y[0]
    if not isinstance(y, Tensor) or not y.is_floating_point() or y.dim() < 1 or not y.numel():
        raise UsageError(f"the network gives no signal for an input of shape {shape}")
    if not torch.isfinite(y).all():
        raise UsageError(f"the network gives infinities or NaN for an input of shape {shape}")
    return y.detach().double().cpu().reshape(-1, y.shape[-1])


def _rates(calls: list[UpsamplingCall], time: int, sample_rate: float) -> list[float]:
    """The rate of each layer's output: the network's over a product of later layers' strides.

    Borders make lengths inexact, so the nearest of the possible products is taken.
    """
    rates = []
    for index, call in enumerate(calls):
        later = [other.stride for other in calls[index + 1 :]]
        products = {1}
        for stride in later:
            products |= {product * stride for product in products}
        ratio = time / call.time
        distance = {product: abs(math.log(ratio / product)) for product in products}
        best = min(products, key=lambda product: distance[product])
        factor = best if distance[best] < 0.3 else ratio
        rates.append(sample_rate / factor)
    return rates


def _grid(calls: list[UpsamplingCall], rates: list[float], sample_rate: float) -> int:
    """Every predicted tone and replica is a multiple of the output rate over this."""
    ratios = [sample_rate * call.stride / rate for call, rate in zip(calls, rates, strict=True)]
    whole = [round(ratio) for ratio in ratios if abs(ratio - round(ratio)) < 1e-6]
    return math.lcm(*whole) if whole else calls[-1].stride


def _steady(y: Tensor, total: int) -> tuple[Tensor, int]:
    """The middle of a signal, a multiple of the grid's period long; a coarser grid if too short."""
    stride = total
    while stride > 2 and y.shape[-1] // 2 < 2 * stride:
        stride = _coarser(stride)
    length = y.shape[-1] // 2 // stride * stride
    start = (y.shape[-1] - length) // 2
    return y[:, start : start + length], stride


def _coarser(stride: int) -> int:
    """Without its least prime factor."""
    return stride // next(k for k in itertools.count(2) if stride % k == 0)


def _blames(
    network: Callable[[Tensor], Tensor], x: Tensor, count: int, stride: int, places: list[int]
) -> list[float | None]:
    """By how many dB the lines at ``places`` in the output for ``x`` fall without each layer's own
    tones."""
    if not places:
        return [None] * count

    def tones() -> float:
        return float(line_powers(_steady(_run(network, x), stride)[0], stride)[1][places].sum())

    before = tones()
    blames: list[float | None] = []
    for number in range(count):

        def remove(index: int, call: UpsamplingCall, y: Tensor, number: int = number) -> Tensor:
            return _without_tones(y, call.stride) if index == number else y

        with watching(network, remove):
            left = tones()
        blames.append(400.0 if left <= 0 else 10 * math.log10(before / left))
    return blames


def _without_tones(y: Tensor, stride: int) -> Tensor:
    """Take what repeats with the stride, but not the mean, out of the last dimension."""
    inner = y[..., y.shape[-1] // 4 : y.shape[-1] - y.shape[-1] // 4]
    whole = inner[..., : inner.shape[-1] // stride * stride]
    if not whole.shape[-1]:
        return y
    means = whole.unflatten(-1, (-1, stride)).mean(-2)
    pattern = (means - means.mean(-1, keepdim=True)).roll(y.shape[-1] // 4 % stride, -1)
    repeats = -(-y.shape[-1] // stride)
    return y - pattern.repeat(*[1] * (y.dim() - 1), repeats)[..., : y.shape[-1]]


def _layer(
    call: UpsamplingCall, rate: float, sample_rate: float, later: list[float], blame: float | None
) -> LayerReport:
    tones = call.tones()
    levels = tones.levels_db if tones is not None else [None] * (call.stride // 2)
    found = []
    for k, level in enumerate(levels, 1):
        frequency = k * rate / call.stride
        images = {abs(m * rate + sign * frequency) for m in range(64) for sign in (-1, 1)}
        above = [image for image in images if rate / 2 < image <= sample_rate / 2 + 1e-6]
        found.append(
            {
                "frequency_hz": frequency,
                "level_db": level,
                "replicas_hz": sorted(above)[:64] if later else [],
            }
        )
    fraction = tones.tonal_fraction if tones is not None else None
    return LayerReport(call.name, call.kind, call.stride, rate, fraction, found, blame)


def _silence(power: float, lines: Tensor, spacing: float) -> SilenceReport:
    levels = [10 * math.log10(line) if line > 0 else -400.0 for line in lines.tolist()]
    tones = [
        {"frequency_hz": (k + 1) * spacing, "level_db": level} for k, level in enumerate(levels)
    ]
    return SilenceReport(
        math.sqrt(power),
        10 * math.log10(power) if power > 0 else -400.0,
        float(lines.sum()) / power if power > 0 else 0.0,
        sorted(tones, key=lambda tone: -tone["level_db"]),
    )


def _noise(noise: Tensor, sample_rate: float, total: int, remarks: list[str]) -> NoiseReport | None:
    time = noise.shape[-1]
    quarter = time // 8
    inner = noise[:, quarter : time - quarter]
    longest = inner.shape[-1] // 4
    grid = total
    while grid > 2 and APART * grid > min(MOST_N_FFT, longest):
        grid = _coarser(grid)
    n_fft = max(APART, min(MOST_N_FFT, longest) // grid) * grid
    if n_fft > longest or n_fft // 2 <= 2 * FAR:
        remarks.append(
            f"the output has {time} samples, too few to see tones in noise: a longer input_shape "
            "shows them"
        )
        return None
    frequencies = [k * sample_rate / grid for k in range(1, grid // 2 + 1)]
    levels = prominence(inner, sample_rate, frequencies, n_fft)
    tones = [
        {"frequency_hz": frequency, "prominence_db": float(level)}
        for frequency, level in zip(frequencies, levels, strict=True)
    ]
    power = float(inner.square().mean())
    length = inner.shape[-1]  # half of the alarms for the line at half the rate, which is less sure
    threshold = max(
        prominence_threshold(length, n_fft, len(frequencies), FALSE_ALARM / 2),
        prominence_threshold(length, n_fft, 1, FALSE_ALARM / 2, at_half_rate=True),
    )
    return NoiseReport(
        10 * math.log10(power) if power > 0 else -400.0,
        threshold,
        n_fft,
        sorted(tones, key=lambda tone: -tone["prominence_db"]),
    )


def _blamed(layers: list[LayerReport]) -> list[str]:
    """Layers whose absence takes a fifth of the tones' power away, the worst first."""
    worst = [layer for layer in layers if layer.blame_db is not None and layer.blame_db >= 1]
    return [layer.name for layer in sorted(worst, key=lambda layer: -(layer.blame_db or 0))]
