"""Probe files of recordings: read them, and take strides and references from other files."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from ..audio import audio_info, read_wav, readable
from ..errors import UsageError
from .feed import Feed, white_noise
from .grid import output_rates
from .pictures import recording_pictures
from .recording import USUAL_STRIDES, RecordingReport, probe_blocks
from .reference import Blocks
from .state import undisturbed
from .targets import DEFAULT_RATE, RATE_ATTRIBUTES, load_network, stated, usual_shape
from .text import describe_recording
from .unseen import unseen_factor
from .watch import upsampling_calls

SHOWN_SECONDS = 120
"""Of a recording, in the picture and the sound of a page; all of it is measured."""


def probe_file(
    path: Path,
    strides: Sequence[int] | None,
    reference: Path | None,
    model: str | None,
    page: Path | None,
) -> tuple[RecordingReport, str]:
    """The report of a recording, and the same as text; see ``run_probe``."""
    with tempfile.TemporaryDirectory() as scratch:
        wav = readable(path, Path(scratch))
        info = audio_info(wav)
        found = list(strides or ())
        if model is not None:
            found = sorted({*found, *_strides_of(model, path, info.samplerate)})
        original = None
        if reference is not None:
            original = _opened(reference, path, info.samplerate, Path(scratch))
        settings = info.frames, info.samplerate, found or USUAL_STRIDES
        with _naming(wav, path):
            read = functools.partial(read_wav, wav)
            report = probe_blocks(read, *settings, reference=original)
        words = describe_recording(report, str(path))
        if page is not None:
            shown = read_wav(wav, 0, min(info.frames, SHOWN_SECONDS * info.samplerate))
            words.write(page, first=recording_pictures(report, shown))
    return report, str(words)


def _opened(reference: Path, path: Path, rate: int, scratch: Path) -> Blocks:
    folder = scratch / "reference"
    folder.mkdir()
    wav = readable(reference, folder)
    info = audio_info(wav)
    if info.samplerate != rate:
        raise UsageError(
            f"{reference}: is at {info.samplerate} Hz, but {path} at {rate} Hz: resample one"
        )

    def read(start: int, stop: int) -> Tensor:
        with _naming(wav, reference):
            return read_wav(wav, start, stop)

    return Blocks(read, info.frames)


def _strides_of(model: str, path: Path, rate: int) -> list[int]:
    """Samples of a network's output after which the tones of each of its layers repeat."""
    network = load_network(model, {})
    own = stated(network, RATE_ATTRIBUTES)
    if own and own != rate:
        raise UsageError(
            f"{path}: is at {rate} Hz, but {model} gives {own:g} Hz: its tones are at multiples of "
            "its own rate over each stride (probe what it gave before that was resampled)"
        )
    try:
        with undisturbed(network):
            noise = white_noise(network, usual_shape(network, own or DEFAULT_RATE, 1.0), 0)
            feed = Feed(network, noise, 0)
            calls = upsampling_calls(feed.trace, feed.shorter, feed.made_by)
            unseen = unseen_factor(feed, calls)
    except UsageError as error:
        raise UsageError(f"{model}: {error}") from error.__cause__
    rates = output_rates(calls, feed.output.shape[-1], feed.change, 1.0)
    periods = [call.period / share for call, share in zip(calls, rates, strict=True)]
    if unseen != 1 and feed.factor:
        periods.append(feed.factor)
    strides = [round(p) for p in periods if p >= 1.5 and abs(p - round(p)) < 1e-6]
    if not strides:
        raise UsageError(f"{model}: no upsampling layer was seen in it (--strides)")
    return strides


@contextmanager
def _naming(wav: Path, path: Path) -> Iterator[None]:
    """Errors name the file that the user named."""
    try:
        yield
    except UsageError as error:
        said = str(error)
        if said.startswith(f"{path}: "):
            raise
        raise UsageError(f"{path}: {said.removeprefix(f'{wav}: ')}") from error
