"""Probe a target from beginning to end: load it, examine it, describe it in words and on a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UsageError
from .network import examine
from .pictures import network_pictures, recording_pictures
from .recording import USUAL_STRIDES, RecordingReport, probe_recording
from .results import ProbeReport
from .style import Section, write_page
from .targets import NetworkTarget, RecordingTarget, open_target
from .text import Description, describe_network, describe_recording


class ProbeResult(NamedTuple):
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
        target: Path of an Asteroid model file or of a recording, or ``package.module:factory``,
            which is called with ``settings`` and gives a network.
        sample_rate: Of the network's output, in Hz; the network's own if ``None``.
        input_shape: Of the test signal, with the batch; if ``None`` one example of as many channels
            as the network says, or as its first convolution takes.
        seconds: Length of the test signal if ``input_shape`` is ``None``.
        settings: Arguments of the factory.
        strides: To look for in a recording; the usual ones if ``None``.
        seed: Of the noise that a network is given.
        page: Where to write an HTML page; nowhere if ``None``.

    Raises:
        UsageError: For anything that the user can put right, in one line that names the target.
    """
    opened = open_target(target, sample_rate, input_shape, seconds, settings)
    try:
        if isinstance(opened, RecordingTarget):
            found = _probe_recording(opened, target, strides or USUAL_STRIDES)
        else:
            found = _probe_network(opened, target, seed)
    except UsageError as error:
        raise UsageError(f"{target}: {error}") from error.__cause__
    report, words, pictures = found
    if page is not None:
        sections = [*words.sections, *pictures()]
        write_page(page, words.title, sections, words.summary, words.text, words.notes)
    return ProbeResult(report, str(words))


Found = tuple[ProbeReport | RecordingReport, Description, Callable[[], list[Section]]]


def _probe_network(opened: NetworkTarget, name: str, seed: int) -> Found:
    report, signals = examine(opened.network, opened.sample_rate, opened.input_shape, seed)
    report = replace(report, remarks=[*opened.remarks, *report.remarks])
    return report, describe_network(report, name), partial(network_pictures, report, signals)


def _probe_recording(opened: RecordingTarget, name: str, strides: Sequence[int]) -> Found:
    report = probe_recording(opened.signal, opened.sample_rate, strides)
    pictures = partial(recording_pictures, report, opened.signal)
    return report, describe_recording(report, name), pictures
