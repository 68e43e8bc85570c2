"""A limit for the tones that a network makes, for its tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .differences import source_of
from .feed import Network
from .network import probe
from .results import ProbeReport
from .run import SECONDS
from .targets import load_network, rate_of, usual_shape
from .text import hertz

SHOWN = 8
"""Tones in a message."""


class LoudToneError(AssertionError):
    """A network makes louder tones than allowed, or it is unknown whether it does."""


def require_quiet(
    network: Network | str | Path,
    max_tone_db: float = -60.0,
    *,
    sample_rate: float | None = None,
    input_shape: Sequence[int] | None = None,
    seconds: float = SECONDS,
    max_prominence_db: float | None = None,
    allow_unknown: bool = False,
    **settings: Any,
) -> ProbeReport:
    """Probe a network, and refuse tones above a limit.

    Args:
        network: As of :func:`probe`, or what the command ``probe`` takes: name of a model file, of
            an ONNX file, or ``package.module:factory``.
        max_tone_db: The loudest tone that it may make of silence: the power of the tone, averaged
            over the channels of the output, in dB against 1 (a sinusoid of full scale has -3 dB).
            Those are the levels of ``report.silence.tones``.
        sample_rate: Of the output, in Hz; the network's own if ``None``.
        input_shape: With the batch; if ``None``, what the network states, for ``seconds``.
        seconds: Length of the test signals.
        max_prominence_db: How far a tone may stand out of the output for white noise, if that is to
            be looked at: networks without biases make their tones only of a signal.
        allow_unknown: Whether a network passes that makes something louder of silence which is at
            no frequency that was looked at, such as noise of its own.
        **settings: Of :func:`probe`, such as ``seed``.

    Returns:
        The report.

    Raises:
        LoudToneError: (an ``AssertionError``) naming layer, frequency and level of each tone.
        UsageError: As :func:`probe`, or for a limit that is no number.
    """
    for name, limit in {"max_tone_db": max_tone_db, "max_prominence_db": max_prominence_db}.items():
        if limit is not None and not math.isfinite(limit):
            raise UsageError(f"{name} must be a number of dB, not {limit}")
    if isinstance(network, (str, Path)):
        network = load_network(str(network), {})
    rate, remarks = rate_of(network, sample_rate)
    shape = input_shape or usual_shape(network, rate, seconds)
    report = probe(network, rate, shape, **settings)
    loud = _above(report, "silence", report.silence.tones, "level_db", max_tone_db)
    unknown = []
    if not loud and _besides(report) > max_tone_db:
        unknown.append(
            f"silence: {report.silence.rms_db:.1f} dB, of which most is at no frequency that was "
            "looked at (allow_unknown=True lets it pass)"
        )
    if max_prominence_db is not None:
        if report.noise is None:
            unknown.append("noise: the output is too short to see its tones")
        else:
            found = report.noise.present
            loud += _above(report, "noise", found, "prominence_db", max_prominence_db)
    if loud or (unknown and not allow_unknown):
        raise LoudToneError("\n".join([*loud, *unknown, *remarks, *report.remarks]))
    return report


def _besides(report: ProbeReport) -> float:
    """Power in silence that is at no predicted tone, in dB."""
    power = report.silence.rms**2 * (1 - report.silence.share_at_predicted_tones)
    return 10 * math.log10(power) if power > 0 else -math.inf


def _above(
    report: ProbeReport, place: str, tones: list[dict[str, float]], name: str, limit: float
) -> list[str]:
    content = report.to_dict()
    loud = [tone for tone in tones if tone[name] > limit]
    lines = [
        f"{place}: tone at {hertz(tone['frequency_hz'])} "
        f"({_maker(source_of(content, tone['frequency_hz']))}): "
        f"{tone[name]:.1f} dB, at most {limit:g} dB is allowed"
        for tone in loud[:SHOWN]
    ]
    more = len(loud) - len(lines)
    return [*lines, f"{place}: and {more} more"] if more else lines


def _maker(name: str | None) -> str:
    return "what makes it was not seen" if name is None else f"layer {name}"
