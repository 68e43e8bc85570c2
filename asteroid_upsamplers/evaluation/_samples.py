"""Samples of a file, read where they are wanted, so that a long song is never in memory whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..audio import audio_info, read_wav

BLOCK = 2**18


class FileSamples:
    """The samples ``(time, channel)`` of a wav or flac file; slices of it are float32 arrays.

    Args:
        path: The file.

    Raises:
        UsageError: If it cannot be read, here or when a slice is; or a slice has NaN or infinity.
    """

    ndim = 2

    def __init__(self, path: Path) -> None:
        info = audio_info(path)
        self.path, self.rate, self.shape = path, info.samplerate, (info.frames, info.channels)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, where: slice) -> np.ndarray:
        start, stop, _ = where.indices(len(self))
        return read_wav(self.path, start, max(start, stop)).T.numpy()


def blocks(signal: np.ndarray | FileSamples) -> Iterator[np.ndarray]:
    """A signal in consecutive blocks."""
    for start in range(0, len(signal), BLOCK):
        yield signal[start : start + BLOCK]
