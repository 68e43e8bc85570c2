"""Reading and writing wav files; what can go wrong with them, in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from ..errors import UsageError
from ..files import tell_full_disk

_WRITE_ERRORS = (soundfile.LibsndfileError, AssertionError)
"""What soundfile raises when not all could be written."""


WAV_LIMIT = 2**32 - 2**16
"""Bytes of samples that a wav file can hold, and room for its header."""


def read_wav(path: Path, start: int = 0, stop: int | None = None) -> Tensor:
    """Samples ``start`` to ``stop`` of a file, in [-1, 1] for whole-number formats, else as stored.

    Args:
        path: Any file that soundfile reads.
        start: First sample.
        stop: One past the last sample; the end of the file if ``None``.

    Returns:
        ``(channels, time)``, float32.

    Raises:
        UsageError: If the file cannot be read, is truncated, or holds NaN or infinite samples.
    """
    try:
        samples, _ = soundfile.read(path, start=start, stop=stop, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from None
    if stop is not None and len(samples) < stop - start:
        raise UsageError(f"{path}: cannot be read (truncated before sample {stop})")
    if not np.isfinite(samples).all():
        raise UsageError(f"{path}: holds NaN or infinite samples")
    return torch.from_numpy(samples.T.copy())


def write_wav(path: Path, samples: np.ndarray, sample_rate: int, subtype: str) -> None:
    """Write ``samples``, of shape ``(time, channels)``, neither scaled, dithered nor clipped.

    Args:
        path: Where to write.
        samples: int16 for the subtype ``PCM_16``, float32 for ``FLOAT``.
        sample_rate: In Hz.
        subtype: libsndfile's name of the format of a sample.

    Raises:
        OSError: If the disk is full.
    """
    with tell_full_disk(path, *_WRITE_ERRORS):
        soundfile.write(path, samples, sample_rate, subtype=subtype, format="WAV")


@contextlib.contextmanager
def writing_wavs(
    paths: list[Path], sample_rate: int, channels: int, frames: int = 0
) -> Iterator[list[soundfile.SoundFile]]:
    """Open files of 32-bit float samples to be written block by block, and close them.

    Args:
        paths: Where to write.
        sample_rate: In Hz.
        channels: Of each file.
        frames: Their length if it is known: what does not fit into the 4 GiB of a wav file is
            written as RF64, which most programs that read wav read as well.

    Raises:
        OSError: If the disk is full.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(tell_full_disk(paths[0], *_WRITE_ERRORS))
        form = "WAV" if 4 * channels * frames < WAV_LIMIT else "RF64"
        yield [
            stack.enter_context(
                soundfile.SoundFile(path, "w", sample_rate, channels, "FLOAT", format=form)
            )
            for path in paths
        ]
