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
from .targets import (
    MOST_WAVEFORM_CHANNELS,
    is_model_file,
    is_onnx,
    load_network,
    rate_of,
    usual_shape,
)
from .text import describe_network, describe_recording

SHOWN_SECONDS = 120
"""Of a recording, in the picture and the sound of a page; all of it is measured."""

SECONDS = 6.0
"""Length of the test signal by default."""


class ProbeResult(NamedTuple):
    """A report, and the same as text."""

    report: ProbeReport | RecordingReport
    text: str


def run_probe(
    target: str,
    sample_rate: float | None = None,
    input_shape: Sequence[int] | None = None,
    seconds: float | None = None,
    settings: dict[str, Any] | None = None,
    strides: Sequence[int] | None = None,
    seed: int | None = None,
    output: str | None = None,
    silence: float | None = None,
    page: Path | None = None,
) -> ProbeResult:
    """Probe a model file, an ONNX file, a ``package.module:factory``, or a recording.

    Args:
        target: Path of an Asteroid model file, of an ONNX file or of a recording, or
            ``package.module:factory``, which is called with ``settings`` and gives a network.
        sample_rate: Of the network's output, in Hz; the network's own if ``None``.
        input_shape: Of the test signal, with the batch; if ``None`` one example of as many channels
            as the network says, or as its first convolution takes.
        seconds: Length of the test signal if ``input_shape`` is ``None``; by default 6.
        settings: Arguments of the factory, or values of an ONNX file's further inputs.
        strides: To look for in a recording, the usual ones if ``None``; in a network's output, in
            addition to those of its layers.
        seed: Of the noise that a network is given; by default 0.
        output: Name of the network's output that is audio; found by its length if ``None``.
        silence: Value that is silence in a network's input, see :func:`probe`.
        page: Where to write an HTML page; nowhere if ``None``.

    Raises:
        UsageError: For anything that the user can put right, in one line that names the target.
    """
    for name, value in {"seconds": seconds, "sample_rate": sample_rate}.items():
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"{name} must be a number above 0, not {value}")
    if silence is not None and not math.isfinite(silence):
        raise UsageError(f"silence must be a finite number, not {silence}")
    _refuse_strides(strides)
    path = Path(target)
    of_networks: dict[str, Any] = {
        "input_shape": input_shape,
        "seconds": seconds,
        "sample_rate": sample_rate,
    }
    of_networks |= {"settings": settings, "seed": seed, "output": output, "silence": silence}
    if path.is_file() and not is_model_file(target) and not is_onnx(target):
        _refuse(target, "is a recording", of_networks)
        return _probe_recording(path, strides or USUAL_STRIDES, page)
    if is_model_file(target):
        _refuse(target, "is a model file, which holds its settings", {"settings": settings})
    if input_shape:
        _refuse(target, "gets an input of the given shape", {"seconds": seconds})
    network = load_network(target, settings or {})
    rate, remarks = rate_of(network, sample_rate)
    shape = input_shape or usual_shape(network, rate, seconds or SECONDS)
    with _naming(target):
        settled = seed or 0, strides or (), output, silence
        try:
            report, signals = examine(network, rate, shape, *settled)
        except UsageError as error:
            if input_shape or shape[1:2] <= (MOST_WAVEFORM_CHANNELS,) or error.__cause__ is None:
                raise
            with _or_else(error):  # features may come last, as in transformers' vocoders
                turned = (shape[0], *reversed(shape[1:]))
                report, signals = examine(network, rate, turned, *settled)
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


def _refuse(target: str, why: str, options: dict[str, Any]) -> None:
    """Options that were given, but do not apply."""
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{target}: {why}: {', '.join(given)} cannot be used")


def _refuse_strides(strides: Sequence[int] | None) -> None:
    if strides is not None and (not strides or min(strides) < 2):
        raise UsageError(f"strides are {list(strides)}, but must be at least 2")


@contextmanager
def _or_else(first: UsageError) -> Iterator[None]:
    """If a second try fails, too, the first one's error is told."""
    try:
        yield
    except UsageError:
        raise first from first.__cause__


@contextmanager
def _naming(target: str) -> Iterator[None]:
    """Errors within begin with the target."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{target}: {error}") from error.__cause__
