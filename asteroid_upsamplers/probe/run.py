"""Probe a target from beginning to end: load it, examine it, describe it in words and on a page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UsageError
from .network import examine
from .pictures import network_pictures
from .recording import RecordingReport
from .results import ProbeReport
from .targets import (
    MOST_WAVEFORM_CHANNELS,
    is_model_file,
    is_onnx,
    load_network,
    rate_of,
    usual_shape,
)
from .text import describe_network

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
    reference: Path | None = None,
    model: str | None = None,
    page: Path | None = None,
    torchscript: bool | None = None,
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
        reference: Of a recording: file of what the network was given or should have given, whose
            tones are not the network's.
        model: Of a recording: target whose layers' strides are looked for, too.
        page: Where to write an HTML page; nowhere if ``None``.
        torchscript: Whether an archive of ``torch.jit.save`` or ``torch.export.save``, which is
            code, is run whatever its name; those called ``.ts``, ``.jit`` and ``.pt2`` always are.

    Raises:
        UsageError: For anything that the user can put right, in one line that names the target.
    """
    for name, value in {"seconds": seconds, "sample_rate": sample_rate}.items():
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"{name} must be a number above 0, not {value}")
    _refuse_strides(strides)
    path = Path(target)
    of_networks: dict[str, Any] = {
        "input_shape": input_shape,
        "seconds": seconds,
        "sample_rate": sample_rate,
    }
    of_networks |= {"settings": settings, "seed": seed, "output": output, "silence": silence}
    of_networks |= {"torchscript": torchscript}
    if path.is_file() and not is_model_file(target) and not is_onnx(target):
        _refuse(target, "is a recording", of_networks)
        from .recorded import probe_file  # which needs audio libraries

        return ProbeResult(*probe_file(path, strides, reference, model, page))
    _refuse(target, "is no recording", {"reference": reference, "model": model})
    if is_model_file(target):
        _refuse(target, "is a model file, which holds its settings", {"settings": settings})
    else:
        _refuse(target, "is no archive of torch", {"torchscript": torchscript})
    if input_shape:
        _refuse(target, "gets an input of the given shape", {"seconds": seconds})
    network = load_network(target, settings or {}, bool(torchscript))
    rate, remarks = rate_of(network, sample_rate)
    shape = input_shape or usual_shape(network, rate, seconds or SECONDS)
    with _naming(target):
        settled = seed or 0, strides or (), output, silence
        try:
            report, signals = examine(network, rate, shape, *settled)
        except UsageError as error:
            if (
                input_shape
                or max(shape[1:2], default=0) <= MOST_WAVEFORM_CHANNELS
                or error.__cause__ is None
            ):
                raise
            with _or_else(error):  # features may come last, as in transformers' vocoders
                turned = (shape[0], *reversed(shape[1:]))
                report, signals = examine(network, rate, turned, *settled)
    report = replace(report, remarks=[*remarks, *report.remarks])
    words = describe_network(report, target)
    if page is not None:
        first, *others = network_pictures(report, signals)
        words.write(page, others, [first])
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
    """If a second try is refused, too, the first one's error is told."""
    try:
        yield
    except UsageError as second:
        if second.__cause__ is None:  # it took the input
            raise
        raise first from first.__cause__


@contextmanager
def _naming(target: str) -> Iterator[None]:
    """Errors within begin with the target."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{target}: {error}") from error.__cause__
