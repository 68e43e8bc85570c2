"""Probe a target from beginning to end: load it, examine it, put it into words and on a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .network import examine
from .page import write_network_page, write_recording_page
from .recording import USUAL_STRIDES, RecordingReport, probe_recording
from .results import ProbeReport
from .targets import RecordingTarget, open_target
from .text import network_text, recording_text


@dataclass(frozen=True)
class ProbeResult:
    """A report, and the same as text."""

    report: ProbeReport | RecordingReport
    text: str


def run_probe(
    target: str,
    sample_rate: float | None = None,
    input_shape: Sequence[int] | None = None,
    seconds: float = 6.0,
    settings: dict[str, Any] | None = None,
    strides: Sequence[int] | None = None,
    seed: int = 0,
    page: Path | None = None,
) -> ProbeResult:
    """Probe a model file, a ``package.module:factory``, or a recording.

    Args:
        target: As :func:`open_target` takes it, like the next four.
        sample_rate: In Hz.
        input_shape: With the batch.
        seconds: Of a guessed input.
        settings: For a factory.
        strides: To look for in a recording; the usual ones if ``None``.
        seed: Of the noise.
        page: Where to write an HTML page; nowhere if ``None``.

    Raises:
        UsageError: For anything that the user can put right, in one line that names the target.
    """
    opened = open_target(target, sample_rate, input_shape, seconds, settings)
    try:
        if isinstance(opened, RecordingTarget):
            found = probe_recording(opened.signal, opened.sample_rate, strides or USUAL_STRIDES)
            if page is not None:
                write_recording_page(page, found, opened.signal, opened.name)
            return ProbeResult(found, recording_text(found, opened.name))
        report, signals = examine(opened.network, opened.sample_rate, opened.input_shape, seed)
    except UsageError as error:
        raise UsageError(f"{target}: {error}") from error.__cause__
    report = replace(report, remarks=[*opened.remarks, *report.remarks])
    if page is not None:
        write_network_page(page, report, signals, opened.name)
    return ProbeResult(report, network_text(report, opened.name))
