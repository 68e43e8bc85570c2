"""The whole examination of a network: which layers make tones, at which frequencies, how loud.

Three questions, and the name of a result says which of them it answers:

- ``layers``: what each upsampling layer makes of a constant, from its weights alone;
- ``silence`` and ``near_silence``: what the whole network makes of silence (zeros, unless the
  network calls something else silence), and of that with noise at -80 dB;
- ``noise``: how far tones stand out of the noise floor, if white noise goes in.

The tones (in silence or, of a network that makes none there, in noise) are attributed to layers by
how far they fall if those of one layer are taken out of its output.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..artifacts import narrowness, prominence, prominence_threshold
from ..artifacts.checks import within
from ..artifacts.prominence import FAR
from ..dsp.spectra import decibels
from ..errors import UsageError
from .attribution import attributions
from .calls import UpsamplingCall
from .feed import Feed, Network, white_noise
from .grid import ToneGrid, grid_of, output_rates
from .onnx_file import OnnxNetwork
from .results import (
    LEAST_PROMINENCE_DB,
    LayerReport,
    NoiseReport,
    ProbeReport,
    ProbeSignals,
    SilenceReport,
)
from .silence import silence_for
from .state import undisturbed
from .trace import Change
from .unseen import remarks_on, unseen_factor
from .watch import upsampling_calls

NEAR_SILENCE_DB = -80.0

BINS_APART = 16
"""Bins from one predicted tone to the next that a spectrum needs to show the floor between them."""

ROUNDING = 1e-12
"""Tones of a smaller share of the output's power, its mean included, are float32's rounding."""

MOST_N_FFT = 16384
FALSE_ALARM = 1e-3
LEAST_ATTRIBUTION_DB = 1.0
"""A layer counts if the tones lose at least a fifth of their power without it."""

MOST_REPLICAS = 64
BEYOND_NOISE, SPREAD = 4.0, 3.0
"""Lines of so many times the power that noise could have on them are tones: its mean is known to so
many standard deviations."""

NOTHING_GROWS = (
    "no upsampling layer was seen, and no signal in the network gets longer in time "
    "(pass strides, or --strides, to look for tones at multiples of the sample rate over them)"
)
VARIES = (
    "no upsampling layer was seen, and the output's length depends on what the input is, so that "
    "it is unknown what gets longer (pass strides, or --strides, to look for their tones)"
)
ONE_LENGTH = (
    "no upsampling layer was seen, and the network takes inputs of one length only, so that it is "
    "unknown what gets longer in it (pass strides, or --strides, to look for their tones)"
)


def probe(
    network: Network | str | Path,
    sample_rate: float,
    input_shape: Sequence[int],
    seed: int = 0,
    strides: Sequence[int] = (),
    output: str | int | None = None,
    silence: float | None = None,
) -> ProbeReport:
    """Examine a network; see :class:`ProbeReport` for what comes out.

    Args:
        network: From a tensor of ``input_shape`` to audio, or to something that holds it (a tuple,
            a dictionary, a data class). It is run in evaluation mode, and left as it was. Or path
            of an ONNX file.
        sample_rate: Of its output, in Hz.
        input_shape: What it takes, the batch included, such as ``(1, 2, 441000)``; long enough for
            a few seconds of output.
        seed: Of the noise, and of random numbers that the network draws.
        strides: Further strides whose tones are looked for: multiples of the sample rate over each.
        output: Name of the output that is audio, such as ``"audio"`` or, in a tuple, its position;
            if ``None``, the one with the longest time axis.
        silence: Value that is silence in its input, such as -11.5 of a log-mel spectrogram. If
            ``None``: the network's attribute ``silence`` (a number, or a tensor for all frames or
            of one value for each channel); of frames of features what its ``encode`` makes of
            zeros, and -11.5 if it states as many mel bands; else zeros.

    Raises:
        UsageError: If nothing grows in the network and there are no ``strides``, it refuses the
            input, or gives no finite numbers or no signal; for a sample rate that is no number
            above 0, or a stride below 2.

    Example:
        >>> from asteroid_upsamplers import layers
        >>> report = probe(layers.Nearest(1, 1, stride=2), 8000, (1, 1, 40_000))
        >>> [layer.kind for layer in report.layers], report.silence.share_at_predicted_tones
        (['nearest'], 0.0)
    """
    return examine(network, sample_rate, input_shape, seed, strides, output, silence)[0]


def examine(
    network: Network | str | Path,
    sample_rate: float,
    input_shape: Sequence[int],
    seed: int = 0,
    strides: Sequence[int] = (),
    output: str | int | None = None,
    silence: float | None = None,
) -> tuple[ProbeReport, ProbeSignals]:
    """:func:`probe`, with the signals that it looked at."""
    within("sample_rate", sample_rate, 0)
    if strides and min(strides) < 2:
        raise UsageError(f"strides are {list(strides)}, but must be at least 2")
    output = None if output is None else str(output)
    if silence is not None and not math.isfinite(silence):
        raise UsageError(f"silence must be a finite number, not {silence}")
    run: Network = OnnxNetwork(Path(network)) if isinstance(network, (str, Path)) else network
    run = getattr(run, "_orig_mod", run)  # of a compiled one
    with undisturbed(run):
        feed = Feed(run, white_noise(run, tuple(input_shape), seed), seed, output)
        return examine_feed(feed, sample_rate, strides, silence)


def examine_feed(
    feed: Feed,
    sample_rate: float,
    strides: Sequence[int] = (),
    given: float | None = None,
    attribute: bool = True,
) -> tuple[ProbeReport, ProbeSignals]:
    """:func:`examine` for a network that is fed already, inside of :func:`undisturbed`.

    ``given`` is the value of silence; without ``attribute`` no tone is attributed to a layer, which
    saves a run of the network a layer.
    """
    calls = upsampling_calls(feed.trace, feed.shorter, feed.made_by)
    unseen = unseen_factor(feed, calls)
    factors = [*strides, *(f for f in (feed.factor, unseen) if f and f > 1)]
    if not calls and not factors:
        unknown = VARIES if feed.varies else ONE_LENGTH
        raise UsageError(NOTHING_GROWS if feed.shorter is not None else unknown)
    quiet = silence_for(feed, given)
    feed.silence = quiet.input
    noise, silence, whisper = feed.run(1), feed.run(0), feed.run(10 ** (NEAR_SILENCE_DB / 20))
    time = noise.shape[-1]
    rates = output_rates(calls, time, feed.change, sample_rate)
    grid = grid_of(calls, rates, sample_rate, factors)
    coarse = grid.for_length(min(time, silence.shape[-1], whisper.shape[-1]))
    in_silence = _silence(silence, coarse, quiet.words)
    in_noise = _noise(noise, grid)
    tones, places = _tones_to_attribute(silence, coarse, in_noise)

    def power_in(y: Tensor) -> float:
        return float(coarse.line_powers(y)[1][places].sum())

    def tone_power(changes: Mapping[int, Change]) -> float:
        return power_in(feed.run(tones == "noise", changes))

    levels: list[Any] = [None] * len(calls)
    left = None
    if attribute and places and calls:
        before = power_in(noise if tones == "noise" else silence)
        levels, left = attributions(calls, before, tone_power)
    layers = [
        _layer(call, rate, sample_rate, level)
        for call, rate, level in zip(calls, rates, levels, strict=True)
    ]
    report = ProbeReport(
        sample_rate,
        list(feed.noise.shape),
        layers,
        in_silence,
        _silence(whisper, coarse, f"{quiet.words}, and white noise of -80 dB"),
        in_noise,
        _worst(layers),
        tones,
        feed.factor,
        unseen,
        left,
    )
    remarks = [*filter(None, [quiet.remark]), *remarks_on(report, feed, grid, coarse)]
    return replace(report, remarks=remarks), ProbeSignals(silence, noise, calls)


def _tones_to_attribute(
    silence: Tensor, grid: ToneGrid, in_noise: NoiseReport | None
) -> tuple[str | None, list[int]]:
    """In which output there are tones, and at which frequencies of the grid."""
    power, lines = grid.line_powers(silence)
    middle = grid.middle(silence)
    together = float(lines.sum())
    # were the rest white noise, so much of it would fall on one frequency
    each = max(0.0, power - together) / (middle.shape[-1] - grid.period)
    beyond = together > BEYOND_NOISE * (grid.period + SPREAD * math.sqrt(grid.period)) * each
    beyond |= float(lines.max()) > BEYOND_NOISE * 2 * math.log(len(lines) / FALSE_ALARM) * each
    if beyond and together > ROUNDING * float(middle.square().mean()):
        return "silence", list(range(len(lines)))
    if in_noise is None:
        return None, []
    multiples = [tone["frequency_hz"] / grid.spacing for tone in in_noise.present]
    return "noise", [round(k) - 1 for k in multiples if abs(k - round(k)) < 1e-6]


def _worst(layers: Sequence[LayerReport]) -> list[str]:
    levels = {layer.group or layer.name: layer.attribution_db or 0.0 for layer in layers}
    worst = [name for name, level in levels.items() if level >= LEAST_ATTRIBUTION_DB]
    return sorted(worst, key=lambda name: -levels[name])


def _layer(
    call: UpsamplingCall, rate: float, sample_rate: float, attribution: float | None
) -> LayerReport:
    found = call.tones()
    levels: Sequence[float | None] = found.levels_db if found else [None] * (call.period // 2)
    tones = [
        {
            "frequency_hz": k * rate / call.period,
            "level_db": level,
            "replicas_hz": _replicas(k * rate / call.period, rate, sample_rate),
        }
        for k, level in enumerate(levels, 1)
    ]
    fraction = found.tonal_fraction if found else None
    return LayerReport(
        call.name, call.kind, call.stride, rate, fraction, tones, attribution, call.group
    )


def _replicas(frequency: float, rate: float, sample_rate: float) -> list[float]:
    """Where upsampling from ``rate`` to ``sample_rate`` repeats a frequency, the lowest first."""
    most = math.ceil(sample_rate / rate)
    images = {abs(m * rate + sign * frequency) for m in range(most) for sign in (-1, 1)}
    audible = sorted(image for image in images if rate / 2 < image <= sample_rate / 2 + 1e-6)
    return audible[:MOST_REPLICAS]


def _silence(y: Tensor, grid: ToneGrid, words: str) -> SilenceReport:
    power, lines = grid.line_powers(y)
    return SilenceReport(
        math.sqrt(power),
        float(decibels(lines.new_tensor(power))),
        float(lines.sum()) / power if power > 0 else 0.0,
        _loudest_first(grid, "level_db", decibels(lines)),
        words,
    )


def _noise(y: Tensor, grid: ToneGrid) -> NoiseReport | None:
    """``None`` if the output is too short to see the floor between the tones."""
    ends = y.shape[-1] // 8
    inner = y[:, ends : y.shape[-1] - ends]
    most = min(MOST_N_FFT, inner.shape[-1] // 4)
    grid = grid.coarsened(lambda period: BINS_APART * period <= most)
    n_fft = most // grid.period * grid.period
    if n_fft < BINS_APART * grid.period or n_fft // 2 <= 2 * FAR:
        return None
    spectrum = inner, grid.sample_rate, grid.frequencies, n_fft
    levels = prominence(*spectrum)
    # half of the false alarms are for the line at half the rate, whose power is less certain
    threshold = max(
        prominence_threshold(inner.shape[-1], n_fft, len(levels), FALSE_ALARM / 2),
        prominence_threshold(inner.shape[-1], n_fft, 1, FALSE_ALARM / 2, at_half_rate=True),
    )
    tones = _loudest_first(grid, "prominence_db", levels)
    least = max(threshold, LEAST_PROMINENCE_DB)
    lines = torch.minimum(levels, narrowness(*spectrum)) > least
    present = dict(zip(grid.frequencies, lines.tolist(), strict=True))
    for tone in tones:
        tone["present"] = present[tone["frequency_hz"]]
    power = (inner - inner.mean(-1, keepdim=True)).square().mean()
    return NoiseReport(float(decibels(power)), threshold, n_fft, tones)


def _loudest_first(grid: ToneGrid, name: str, levels: Tensor) -> list[dict[str, Any]]:
    pairs = zip(grid.frequencies, levels.tolist(), strict=True)
    tones = [{"frequency_hz": frequency, name: level} for frequency, level in pairs]
    return sorted(tones, key=lambda tone: -tone[name])
