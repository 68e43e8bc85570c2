"""Files of any format as files whose header is true; this is the one place that decides how.

What a header states of a file's length is not believed: recorders break off, downloads are cut,
pipes do not know how long they will be, mp3 files need not state it, and joined files state the
length of the first. What decodes is what counts. Where that is less than was announced, one line
says so.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import soundfile

from ..errors import UsageError, printable
from .ffmpeg import audio_streams, decode
from .layout import Layout, layout
from .writing import writing_wavs

logger = logging.getLogger(__name__)

WIDTHS = {"PCM_S8": 1, "PCM_U8": 1, "ULAW": 1, "ALAW": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4}
WIDTHS |= {"FLOAT": 4, "DOUBLE": 8}
"""Bytes of a sample in the formats in which every seek is exact, if the file is not FLAC."""

CHUNKED = ("WAV", "WAVEX", "RF64", "AIFF")
LARGEST_HEADER = 2**16
"""In bytes, of formats whose chunks are not looked through."""

TOLERANCE = 0.25
"""In s. Encoders of lossy formats add up to so much silence, which decoders take away again."""


def readable(path: Path, scratch: Path) -> Path:
    """A file with the same sound whose length can be trusted and in which soundfile can seek.

    Args:
        path: Any file with sound in it; of several streams the first is taken.
        scratch: Folder for a decoded copy, 32-bit float with the rate and the channels of the file,
            where it is compressed or its header is wrong. ffmpeg decodes it; without ffmpeg,
            libsndfile does, if it reads the format.

    Returns:
        ``path`` itself or the copy.

    Raises:
        UsageError: If there is no such file, it cannot be read, or it has no samples.
    """
    _check_file(path)
    chunks, info, problem = layout(path), None, ""
    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError as error:
        problem = str(error)
    if info is not None and len(chunks.starts) == 1 and _is_exact(info, path):
        _warn_of_chunks(path, info, chunks)
        return path
    copy = scratch / "decoded.wav"
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        if info is None:
            raise UsageError(
                f"{path}: not readable as audio ({problem}); install ffmpeg to read more formats"
            )
        _decode_with_libsndfile(path, copy)
    else:
        _decode_with_ffmpeg(path, copy, chunks.starts, info)
    if soundfile.info(copy).frames == 0:
        raise UsageError(f"{path}: no samples; the file ends behind its header")
    return copy


def _check_file(path: Path) -> None:
    try:
        if not path.is_file():
            kind = "is a folder, must be" if path.is_dir() else "is not"
            raise UsageError(
                f"{path}: {f'{kind} an audio file' if path.exists() else 'no such file'}"
            )
        with path.open("rb") as file:
            if not file.read(1):
                raise UsageError(f"{path}: empty file")
        str(path).encode()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeEncodeError as error:
        raise UsageError(f"{path}: the name is not UTF-8; rename the file") from error


def _is_exact(info: Any, path: Path) -> bool:
    """Whether libsndfile reads all samples of the file, wherever it is asked to begin."""
    if info.frames == 0 or info.subtype not in WIDTHS or info.format == "FLAC":
        return False
    rest = path.stat().st_size - info.frames * info.channels * WIDTHS[info.subtype]
    return info.format in CHUNKED or rest < LARGEST_HEADER


def _warn_of_chunks(path: Path, info: Any, chunks: Layout) -> None:
    rate = info.samplerate * info.channels * WIDTHS[info.subtype]
    if chunks.missing * info.samplerate >= rate:
        announced = info.duration + chunks.missing / rate
        _warn(path, "the file is cut off", info.duration, announced)
    elif -chunks.missing / rate > TOLERANCE:
        logger.warning(
            "%s: %.1f s are read, as its header says; behind them are %d bytes that may be samples",
            printable(str(path)),
            info.duration,
            -chunks.missing,
        )


def _decode_with_ffmpeg(path: Path, copy: Path, starts: list[int], info: Any) -> None:
    streams = audio_streams(path)
    if not streams:
        raise UsageError(f"{path}: not readable as audio (no sound in it)")
    if len(streams) > 1:
        name = printable(str(path))
        logger.info("%s: %d audio streams, the first is read", name, len(streams))
    damage = decode(path, [copy], "pcm_f32le", starts)
    found = soundfile.info(copy)
    if found.frames == 0 and info is not None and info.format in CHUNKED[:3]:
        damage = decode(path, [copy], "pcm_f32le", starts, ["-ignore_length", "1"])
        found = soundfile.info(copy)
    announced = float(streams[0].get("duration", 0)) if len(starts) == 1 else 0.0
    if damage or announced > found.duration + TOLERANCE:
        _warn(path, damage or "the file is cut off", found.duration, announced)


def _decode_with_libsndfile(path: Path, copy: Path) -> None:
    """Decode from the start to where nothing more comes."""
    with soundfile.SoundFile(path) as file:
        rate, damage, frames = file.samplerate, "", 0
        with writing_wavs([copy], rate, file.channels) as (target,):
            try:
                while len(block := file.read(rate, dtype="float32", always_2d=True)):
                    target.write(block)
                    frames += len(block)
            except soundfile.LibsndfileError as error:
                damage = str(error)
        if file.format in ("MP3", "OGG"):
            damage = damage or "the header's length is believed; install ffmpeg to be sure"
    if damage:
        _warn(path, damage, frames / rate, 0.0)


def _warn(path: Path, reason: str, seconds: float, announced: float) -> None:
    of = f" of {announced:.1f} s announced" if announced > seconds else ""
    logger.warning("%s: %s; %.1f s%s are used", printable(str(path)), reason, seconds, of)
