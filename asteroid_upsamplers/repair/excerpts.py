"""What a repaired network is compared with the original on: excerpts of a user's files."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..audio import read_audio
from ..dsp import mono_level
from ..errors import UsageError, one_line
from ..probe.feed import LEAST_TIME, Feed
from ..probe.targets import MOST_WAVEFORM_CHANNELS

MOST_SECONDS = 600
"""Of each file, from its start."""

JUDGED_SECONDS = 60
"""Of the half that is held out, spread over it: outputs are kept in memory."""

ARRAYS = ".npy"
DEMO_SECONDS = 12.0
LEAST_DEMO_RATE = 8000


class Excerpt(NamedTuple):
    """An input of a network, the batch included, at the level that the network was trained on.

    Args:
        input: As the network takes it.
        level: What its output is multiplied by to be at the level of the file.
    """

    input: Tensor
    level: float = 1.0


class Excerpts(NamedTuple):
    """Two halves: what a method may look at, and what its result is judged on."""

    calibration: list[Excerpt]
    held_out: list[Excerpt]


def read_excerpts(paths: Sequence[Path], feed: Feed, rate: float) -> Excerpts:
    """Cut files into inputs of a network; of the second half up to a minute is held out.

    Args:
        paths: Files with sound at the rate and with the channels of the network's input; or, for
            any network, ``.npy`` files of what it takes: ``(channels, time)``.
        feed: The network, with an input of the longest wanted excerpt.
        rate: Of the network's input, in Hz.

    Raises:
        UsageError: Naming the file that cannot be read, or has another rate or shape.
    """
    signals = [_read(path, feed, rate) for path in paths]
    length = _excerpt_length([s.shape[-1] for s in signals], feed.noise.shape[feed.axis])
    if length * (feed.factor or 1) < LEAST_TIME:
        signals = []
    found = []
    for signal in signals:
        whole = signal[..., : signal.shape[-1] // max(1, length) * length]
        level = mono_level([signal]) if getattr(feed.network, "normalize", False) else 1.0
        parts = whole.split(length, -1) if whole.numel() else ()
        found += [Excerpt(_as_input(part / level, feed), level) for part in parts if part.any()]
    if len(found) < 2:
        names = ", ".join(map(str, paths))
        raise UsageError(f"{names}: silent or too short: two excerpts with sound are needed")
    half = len(found) // 2
    most = max(1, round(JUDGED_SECONDS * rate / length))
    return Excerpts(found[:half], found[half :: -(-(len(found) - half) // most)])


def _excerpt_length(lengths: Sequence[int], most: int) -> int:
    """The longest of which there are two, and with which at least half of all is used."""
    for length in sorted({min(n // k, most) for n in lengths for k in (1, 2)}, reverse=True):
        counts = [n // length for n in lengths] if length else []
        if sum(counts) > 1 and 2 * length * sum(counts) >= sum(lengths):
            return length
    return 0


def demo_excerpts(feed: Feed, rate: float) -> Excerpts | None:
    """Excerpts of a song that is rendered here; ``None`` for networks that take no such thing."""
    channels = _channels(feed)
    if channels > 2 or rate != int(rate) or rate < LEAST_DEMO_RATE:
        return None
    data = importlib.import_module("asteroid_upsamplers.data")  # of a higher rank
    with tempfile.TemporaryDirectory() as scratch:
        options = {"seconds": DEMO_SECONDS, "sample_rate": int(rate), "jobs": 1, "progress": False}
        data.render_demo_set(scratch, n_train=1, n_test=0, **options)
        signal, _ = read_audio(next(Path(scratch).glob("train/*/mixture.wav")))
        path = Path(scratch) / f"song{ARRAYS}"
        np.save(path, (signal if channels == 2 else signal.mean(0, keepdim=True)).numpy())
        return read_excerpts([path], feed, rate)


def _channels(feed: Feed) -> int:
    """Of the network's input: sizes of all axes but the batch and time."""
    shape = list(feed.noise.shape)
    del shape[feed.axis]
    return int(np.prod(shape[1:], dtype=int)) if shape else 1


def _as_input(part: Tensor, feed: Feed) -> Tensor:
    """``(channels, time)`` in the shape that the network takes."""
    others = list(feed.noise.shape)
    del others[feed.axis]
    return part.reshape(*[1, *others[1:]][: len(others)], -1).movedim(-1, feed.axis).to(feed.noise)


def _read(path: Path, feed: Feed, rate: float) -> Tensor:
    """``(channels, time)``, float32."""
    channels = _channels(feed)
    if path.suffix.lower() == ARRAYS:
        return _array(path, channels)
    if channels > MOST_WAVEFORM_CHANNELS:
        raise UsageError(
            f"{path}: the network takes {channels} features, no sound: pass {ARRAYS} files of "
            f"what it takes, ({channels}, frames)"
        )
    signal, own = read_audio(path)
    if own != rate:
        raise UsageError(
            f"{path}: {own} Hz, the network takes {rate:g} Hz: resample it first (ffmpeg -i FILE "
            f"-ar {rate:g} OTHER.wav)"
        )
    if len(signal) != channels:
        raise UsageError(
            f"{path}: {len(signal)} channel(s), the network takes {channels} (ffmpeg -i FILE -ac "
            f"{channels} OTHER.wav)"
        )
    return signal[:, : round(MOST_SECONDS * rate)]


def _array(path: Path, channels: int) -> Tensor:
    try:
        array = np.load(path, allow_pickle=False)
        if array.dtype.kind not in "fiu":
            raise ValueError(f"of {array.dtype}, must be real numbers")
        values = torch.from_numpy(array.astype(np.float32))
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise UsageError(f"{path}: cannot be read as an array ({one_line(error)})") from error
    signal = values.reshape(-1, values.shape[-1]) if values.numel() else values
    if signal.dim() != 2 or len(signal) != channels:
        raise UsageError(
            f"{path}: an array of shape {tuple(values.shape)}, must be ({channels}, time)"
        )
    if not signal.isfinite().all():
        raise UsageError(f"{path}: holds NaN or infinite numbers")
    return signal
