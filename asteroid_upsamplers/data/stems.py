"""MUSDB18's ``.stem.mp4`` files: one AAC stream each for the mixture and the four stems."""

from __future__ import annotations

import logging
from pathlib import Path

import soundfile

from ..audio.ffmpeg import audio_streams, decode
from ..errors import UsageError
from .songs import MIXTURE, SOURCES

logger = logging.getLogger(__name__)

STREAMS = (MIXTURE, *SOURCES)
"""The audio streams of a stem file, in their order (musdb's ``stem_ids``)."""

AAC_FRAME = 1024


def decode_stems(folder: Path, path: Path, sample_rate: int) -> None:
    """Write a stem file's streams to 16-bit files ``<folder>/<stream>.wav``, as musdb decodes them.

    Raises:
        UsageError: If the file is damaged, or not such a file in stereo and of that sample rate.
    """
    streams = audio_streams(path)
    if len(streams) != len(STREAMS):
        raise UsageError(f"{path}: {len(streams)} audio streams, {len(STREAMS)} are needed")
    for stream in streams:
        if int(stream["sample_rate"]) != sample_rate:
            raise UsageError(f"{path}: {stream['sample_rate']} Hz, {sample_rate} Hz is needed")
        if stream["channels"] != 2:
            raise UsageError(f"{path}: {stream['channels']} channel(s), 2 are needed")
    expected = round(float(streams[0].get("duration", 0)) * sample_rate)
    targets = [folder / f"{name}.wav" for name in STREAMS]
    damage = decode(path, targets, "pcm_s16le")
    if damage:
        logger.warning("%s: damaged (%s)", path, damage)
    lengths = [soundfile.info(target).frames for target in targets]
    if max(lengths) > min(lengths) or abs(min(lengths) - expected) > 2 * AAC_FRAME:
        raise UsageError(f"{path}: truncated, {min(lengths)} of {expected} samples decode")
