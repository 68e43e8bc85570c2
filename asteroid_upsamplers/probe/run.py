"""Probe a target from beginning to end: load it, examine it, describe it in words and on a page."""

from __future__ import annotations

import functools
import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UsageError
from .network import examine
from .pictures import network_pictures, recording_pictures
from .recording import USUAL_STRIDES, RecordingReport, probe_blocks
from .results import ProbeReport
from .targets import is_model_file, load_network, rate_of, usual_shape
from .text import describe_network, describe_recording

SHOWN_SECONDS = 120
"""Of a recording, in the picture and the sound of a page; all of it is measured."""


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
    for name, value in {"seconds": seconds, "sample_rate": sample_rate}.items():
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"{name} must be a number above 0, not {value}")
    path = Path(target)
    if path.is_file() and not is_model_file(target):
        return _probe_recording(path, strides or USUAL_STRIDES, page)
    network = load_network(target, settings or {})
    rate, remarks = rate_of(network, sample_rate)
    shape = input_shape or usual_shape(network, rate, seconds)
    with _naming(target):
        report, signals = examine(network, rate, shape, seed)
    report = replace(report, remarks=[*remarks, *report.remarks])
    words = describe_network(report, target)
    if page is not None:
        words.write(page, network_pictures(report, signals))
    return ProbeResult(report, str(words))


def _probe_recording(path: Path, strides: Sequence[int], page: Path | None) -> ProbeResult:
    from ..audio import audio_info, read_wav, readable

    with tempfile.TemporaryDirectory() as scratch:
        wav = readable(path, Path(scratch))
        info = audio_info(wav)
        try:
            read = functools.partial(read_wav, wav)
            report = probe_blocks(read, info.frames, info.samplerate, strides)
        except UsageError as error:
            raise UsageError(f"{path}: {str(error).removeprefix(f'{wav}: ')}") from error
        words = describe_recording(report, str(path))
        if page is not None:
            shown = read_wav(wav, 0, min(info.frames, SHOWN_SECONDS * info.samplerate))
            words.write(page, recording_pictures(report, shown))
    return ProbeResult(report, str(words))


@contextmanager
def _naming(target: str) -> Iterator[None]:
    """Errors within begin with the target."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{target}: {error}") from error.__cause__
