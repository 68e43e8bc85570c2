"""Writing wav files, whole or block by block; a full disk is told in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from ..files import tell_full_disk

_WRITE_ERRORS = (soundfile.LibsndfileError, AssertionError)
"""What soundfile raises when not all could be written."""


WAV_LIMIT = 2**32 - 2**16
"""Bytes of samples that a wav file can hold, and room for its header."""


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


_ADD_PEAK_CHUNK = 0x1050
"""libsndfile's command for a chunk with the highest sample and the time of writing."""


@contextlib.contextmanager
def writing_wavs(
    paths: list[Path], sample_rate: int, channels: int, frames: int = 0
) -> Iterator[list[soundfile.SoundFile]]:
    """Open files of 32-bit float samples to be written block by block, and close them.

    Equal samples make equal files: the chunk in which libsndfile notes the time is left out.

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
        files = [
            stack.enter_context(
                soundfile.SoundFile(path, "w", sample_rate, channels, "FLOAT", format=form)
            )
            for path in paths
        ]
        for file in files if form == "WAV" else ():  # soundfile has no public name for this
            soundfile._snd.sf_command(file._file, _ADD_PEAK_CHUNK, soundfile._ffi.NULL, 0)
        yield files
