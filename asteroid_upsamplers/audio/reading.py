"""Reading audio files; this is the one place that decides what decodes a file."""

from __future__ import annotations

import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from scipy.io import wavfile
from torch import Tensor

from ..errors import UsageError
from .decoding import readable

BLOCK_SECONDS = 30
_FILTERING = threading.Lock()
"""Threads share the filters of warnings, so one at a time may change them."""


def read_wav(
    path: Path, start: int = 0, stop: int | None = None, out: Tensor | None = None
) -> Tensor:
    """Samples ``start`` to ``stop`` of a file, in [-1, 1] for integer formats, else as stored.

    Of wav files of 16- or 32-bit integers only the samples asked for are read, by mapping the file
    into memory; everything else is read by soundfile.

    Args:
        path: Any file that soundfile reads.
        start: First sample.
        stop: One past the last sample; the end of the file if ``None``.
        out: Where to put the samples, of the shape and type that is returned.

    Returns:
        ``(channels, time)``, float32.

    Raises:
        UsageError: If the file cannot be read, is truncated, or holds NaN or infinite samples.
    """
    mapped = None if stop is None else _mapped(path)
    if mapped is not None and stop is not None and stop <= len(mapped):
        integers = torch.from_numpy(mapped[start:stop].T)
        out = torch.empty(integers.shape) if out is None else out
        return torch.mul(integers, 0.5 ** (8 * mapped.itemsize - 1), out=out)
    try:
        decoded, _ = soundfile.read(path, start=start, stop=stop, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
    if stop is not None and len(decoded) < stop - start:
        raise UsageError(f"{path}: cannot be read (truncated before sample {stop})")
    if not np.isfinite(decoded).all():
        raise UsageError(f"{path}: holds NaN or infinite samples")
    samples = torch.from_numpy(decoded.T)
    return samples.contiguous() if out is None else out.copy_(samples)


def _mapped(path: Path) -> np.ndarray | None:
    """The samples ``(time, channels)`` of a wav file of integers, not read yet; else ``None``."""
    try:
        with _FILTERING, warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks that scipy skips
            _, samples = wavfile.read(path, mmap=True)
    except (OSError, ValueError):
        return None
    if samples.dtype not in (np.int16, np.int32):
        return None
    return samples.reshape(len(samples), -1)


def audio_info(path: Path) -> Any:
    """Rate, channels and length that the header of a file states: ``soundfile.info``.

    Raises:
        UsageError: If soundfile cannot read the file.
    """
    try:
        return soundfile.info(path)
    except (soundfile.LibsndfileError, OSError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error


def read_blocks(path: Path, seconds: float = BLOCK_SECONDS) -> Iterator[Tensor]:
    """The samples of a file in consecutive blocks ``(channels, time)``."""
    info = soundfile.info(path)
    step = max(1, round(seconds * info.samplerate))
    for start in range(0, info.frames, step):
        yield read_wav(path, start, min(start + step, info.frames))


def read_audio(path: Path) -> tuple[Tensor, int]:
    """All samples ``(channels, time)`` of a file of any format, and its sample rate in Hz.

    Raises:
        UsageError: If the file cannot be read.
    """
    with tempfile.TemporaryDirectory() as scratch:
        decoded = readable(path, Path(scratch))
        return read_wav(decoded), audio_info(decoded).samplerate
