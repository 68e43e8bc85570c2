"""Probe files of recordings: read them, and take strides and references from other files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from ..artifacts.detection import LEAST_TIME
from ..audio import audio_info, read_wav, readable
from ..errors import UsageError
from .feed import Feed, white_noise
from .grid import output_rates, repeats_of
from .pictures import recording_pictures
from .recording import USUAL_STRIDES, RecordingReport, probe_blocks
from .recording_text import describe_recording
from .reference import Blocks
from .state import undisturbed
from .targets import DEFAULT_RATE, RATE_ATTRIBUTES, load_network, stated, usual_shape
from .unseen import unseen_factor
from .watch import upsampling_calls

SHOWN_SECONDS = 120
"""Of a recording, in the picture and the sound of a page; all of it is measured."""


BAR = "{desc}: {percentage:3.0f} %|{bar}| {elapsed}, {remaining} left"
PASSES = 3
"""So often a recording is read at least: for its levels, its tones, and its quiet windows."""

SHOWN_AFTER = 2.0
"""Seconds after which there is a progress bar."""


def probe_file(
    path: Path,
    strides: Sequence[int] | None,
    reference: Path | None,
    model: str | None,
    page: Path | None,
) -> tuple[RecordingReport, str]:
    """The report of a recording, and the same as text; see ``run_probe``."""
    with tempfile.TemporaryDirectory() as scratch:
        recording, rate = _opened(path, Path(scratch) / "recording")
        found = list(strides or ())
        if model is not None:
            found = sorted({*found, *_strides_of(model, path, rate)})
        original = None
        if reference is not None:
            original, its_rate = _opened(reference, Path(scratch) / "reference")
            _refuse_reference(reference, original.time, its_rate, path, rate)
        settings = recording.time, rate, found or USUAL_STRIDES
        try:
            with _progress(recording) as read:
                report = probe_blocks(read, *settings, reference=original)
        except UsageError as error:
            if str(error).startswith((f"{path}: ", f"{reference}: ")):
                raise
            raise UsageError(f"{path}: {error}") from error
        words = describe_recording(report, str(path))
        if page is not None:
            shown = recording.read(0, min(recording.time, SHOWN_SECONDS * rate))
            words.write(page, first=recording_pictures(report, shown))
    return report, str(words)


def _opened(path: Path, scratch: Path) -> tuple[Blocks, int]:
    """A file of any format, whose errors name it, and its sample rate."""
    scratch.mkdir()
    wav = readable(path, scratch)
    info = audio_info(wav)

    def read(start: int, stop: int) -> Tensor:
        try:
            return read_wav(wav, start, stop)
        except UsageError as error:
            raise UsageError(f"{path}: {str(error).removeprefix(f'{wav}: ')}") from error

    return Blocks(read, info.frames), info.samplerate


def _refuse_reference(reference: Path, time: int, its_rate: int, path: Path, rate: int) -> None:
    if its_rate != rate:
        raise UsageError(f"{reference}: is at {its_rate} Hz, but {path} at {rate} Hz: resample one")
    if time < LEAST_TIME:
        raise UsageError(f"{reference}: has {time} samples, at least {LEAST_TIME} are needed")


@contextmanager
def _progress(recording: Blocks) -> Iterator[Callable[[int, int], Tensor]]:
    """Reads a recording, several times, with a bar if it takes long."""
    total = PASSES * recording.time
    with tqdm(total=total, desc="probing", bar_format=BAR, delay=SHOWN_AFTER, leave=False) as bar:

        def read(start: int, stop: int) -> Tensor:
            bar.total = max(bar.total or 0, bar.n + recording.time)  # there may be further passes
            bar.update(stop - start)
            return recording.read(start, stop)

        yield read


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
    strides = repeats_of(calls, rates, 1.0)
    if unseen != 1 and feed.factor and feed.factor > 1 and feed.factor.is_integer():
        strides.append(int(feed.factor))
    if not strides:
        raise UsageError(f"{model}: no upsampling layer was seen in it (--strides)")
    return strides
