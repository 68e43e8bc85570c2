"""Packed copies of training songs: all samples of a song in one memory-mapped file.

A random extract of four stems in stereo is then eight short stretches of memory, where wav files
must be opened and decoded. The samples are those of the files, bit for bit: 16-bit whole numbers
where all files of the set are, which is MUSDB18's format, else 32-bit floats.

``<folder>/<song>/samples.npy`` is an array ``(source, channel, time)``, ``song.json`` beside it has
the level of the song and a checksum.
"""

from __future__ import annotations

import json
import logging
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from ..audio import read_wav
from ..errors import UsageError
from ..files import LOCK, locked, whole_or_nothing
from .parallel import for_each
from .songs import SOURCES, Song

logger = logging.getLogger(__name__)

SAMPLES, ABOUT = "samples.npy", "song.json"
_BLOCK = 2**24
"""Bytes that a checksum is taken of at a time."""


@dataclass(frozen=True)
class PackedSong(Song):
    """A song whose packed copy is read instead of its files.

    Args:
        folder: Where the packed copy is; its name is the song's.
        frames: Length in samples.
        full_scale: What a sample of value 1 is in the copy: 32768 or 1.
        mixture_level: Level of the sum of all sources (:func:`dsp.mono_level`).
    """

    mixture_level: float = 1.0

    def level(self, sources: Sequence[str], block: int = 2**22) -> float:
        """As :meth:`Song.level`; that of all sources need not be measured again."""
        return self.mixture_level if tuple(sources) == SOURCES else super().level(sources, block)

    def _within(self, sources: Sequence[str], first: int, stop: int) -> Tensor:
        path = self.folder / SAMPLES
        try:
            samples = _mapped(path, path.stat().st_mtime_ns)
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: cannot be read ({error})") from None
        chosen: Any = slice(None)
        if tuple(sources) != SOURCES:
            chosen = [SOURCES.index(source) for source in sources]
        return torch.from_numpy(samples[chosen, :, first:stop])


def pack_songs(
    songs: Sequence[Song], folder: Path, verify: bool = False, progress: bool = True
) -> list[PackedSong]:
    """The packed copies of songs; those that are missing, damaged or older than the files are made.

    Several songs are packed at a time; an interrupted run goes on with those that are missing.
    Processes that start together wait for the first one.

    Args:
        songs: Songs of wav files.
        folder: Where the copies are.
        verify: Whether to take the checksums of copies that are there, which reads all of them.
        progress: Whether to show a progress bar.

    Raises:
        UsageError: If songs cannot be read, or the disk has no room for the copies.
    """
    files = [song.path(source) for song in songs for source in SOURCES]
    whole = all(soundfile.info(path).subtype == "PCM_16" for path in files)
    dtype = np.dtype(np.int16 if whole else np.float32)

    def missing() -> list[Song]:
        return [song for song in songs if not _is_packed(song, folder / song.name, dtype, verify)]

    if missing():
        with locked(folder.parent / LOCK, wait=True):
            todo = missing()
            _check_room(todo, folder, dtype)
            for_each(lambda song: _pack(song, folder, dtype), todo, "packing songs", None, progress)
    return [_packed(song, folder / song.name, dtype) for song in songs]


def _pack(song: Song, folder: Path, dtype: np.dtype) -> None:
    with whole_or_nothing(folder / song.name) as partial:
        partial.mkdir()
        checksum = 0
        channels = soundfile.info(song.path(SOURCES[0])).channels
        header = {"descr": dtype.str, "fortran_order": False}
        with (partial / SAMPLES).open("wb") as file:
            shape = (len(SOURCES), channels, song.frames)
            np.lib.format.write_array_header_1_0(file, {**header, "shape": shape})
            for source in SOURCES:
                planes = _read(song.path(source), song.frames, dtype).data.cast("B")
                checksum = zlib.crc32(planes, checksum)
                file.write(planes)
        if _checksum(partial / SAMPLES) != checksum:
            raise UsageError(f"{partial / SAMPLES}: reads back otherwise than it was written")
        about = {"crc32": checksum, "level": song.level(SOURCES), "sources": SOURCES}
        (partial / ABOUT).write_text(json.dumps(about))


def _read(path: Path, frames: int, dtype: np.dtype) -> np.ndarray:
    """``(channel, frames)``, one channel behind the other."""
    if dtype == np.float32:
        return read_wav(path, 0, frames).numpy()
    try:
        samples, _ = soundfile.read(path, frames, dtype="int16", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from None
    if len(samples) < frames:
        raise UsageError(f"{path}: cannot be read (truncated before sample {frames})")
    return np.ascontiguousarray(samples.T)


def _packed(song: Song, folder: Path, dtype: np.dtype) -> PackedSong:
    scale = 1.0 if dtype == np.float32 else 2.0**15
    return PackedSong(folder, song.frames, scale, _about(folder)["level"])


def _is_packed(song: Song, folder: Path, dtype: np.dtype, verify: bool) -> bool:
    path = folder / SAMPLES
    try:
        about = _about(folder)
        samples = np.load(path, mmap_mode="r")
        newest = max(song.path(source).stat().st_mtime_ns for source in SOURCES)
        fits = samples.dtype == dtype and samples.shape[-1] == song.frames
        if not fits or about["sources"] != list(SOURCES) or path.stat().st_mtime_ns < newest:
            return False
        if verify and _checksum(path) != about["crc32"]:
            logger.warning("%s: damaged (checksum), it is made anew", path)
            return False
    except (OSError, ValueError, KeyError):
        return False
    return True


def _about(folder: Path) -> dict[str, Any]:
    return json.loads((folder / ABOUT).read_text())


def _checksum(path: Path) -> int:
    """Of the samples, read from the file anew."""
    checksum = 0
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        while block := file.read(_BLOCK):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _check_room(songs: Sequence[Song], folder: Path, dtype: np.dtype) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    channels = [soundfile.info(song.path(SOURCES[0])).channels for song in songs]
    frames = sum(n * song.frames for n, song in zip(channels, songs, strict=True))
    needed, free = frames * len(SOURCES) * dtype.itemsize, shutil.disk_usage(folder).free
    if needed > free:
        raise UsageError(
            f"{folder}: packed songs need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; "
            "make room, or read the wav files with --packed false"
        )


@cache
def _mapped(path: Path, modified: int) -> np.ndarray:
    """Opened once a process; writable for torch, which would warn, but nothing reaches the file."""
    return np.load(path, mmap_mode="c")
