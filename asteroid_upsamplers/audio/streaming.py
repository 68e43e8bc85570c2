"""Audio files of any format and rate, block by block, so that a long one need not be in memory."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import julius
import soundfile
from torch import Tensor

from ..errors import UsageError
from .wav import read_wav, writing_wavs

BLOCK_SECONDS = 30
LARGEST_RATIO = 10**7
"""Product of two rates over their common divisor: julius keeps some kernel taps for each unit."""


def readable(path: Path, scratch: Path) -> Path:
    """``path`` itself if libsndfile reads it, else a copy that ffmpeg decodes into ``scratch``.

    Args:
        path: Any file with sound in it; of several streams ffmpeg takes the first.
        scratch: Folder for the copy: 32-bit float, with the rate and the channels of the file.

    Raises:
        UsageError: If there is no such file, or neither can read it.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    try:
        soundfile.info(path)
    except soundfile.LibsndfileError as error:
        reason = str(error)
    else:
        return path
    if shutil.which("ffmpeg") is None:
        raise UsageError(f"{path}: not readable as audio ({reason}); with ffmpeg more formats are")
    decoded = scratch / "decoded.wav"
    words = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", "-i", str(path.resolve())]
    words += ["-map", "0:a:0", "-c:a", "pcm_f32le", "-rf64", "auto", str(decoded)]
    result = subprocess.run(words, capture_output=True, text=True, errors="replace")
    if result.returncode:
        words = result.stderr.strip().splitlines() or ["ffmpeg failed"]
        raise UsageError(f"{path}: not readable as audio ({words[-1]})")
    return decoded


def read_blocks(path: Path, seconds: float = BLOCK_SECONDS) -> Iterator[Tensor]:
    """The samples of a file in consecutive blocks ``(channels, time)``."""
    info = soundfile.info(path)
    step = max(1, round(seconds * info.samplerate))
    for start in range(0, info.frames, step):
        yield read_wav(path, start, min(start + step, info.frames))


def resample_file(
    source: Path,
    target: Path,
    sample_rate: int,
    frames: int | None = None,
    block_seconds: float = BLOCK_SECONDS,
) -> None:
    """Write ``source`` anew at another rate, as ``julius.resample_frac`` does for the whole of it.

    Args:
        source: A file that soundfile reads.
        target: Where to write, 32-bit float.
        sample_rate: In Hz.
        frames: Length of the result, at most that of ``source`` at the new rate, rounded up.
        block_seconds: Length of what is resampled at a time.

    Raises:
        UsageError: If ``source`` cannot be read.
    """
    info = soundfile.info(source)
    divisor = math.gcd(info.samplerate, sample_rate)
    old, new = info.samplerate // divisor, sample_rate // divisor
    if old * new > LARGEST_RATIO:
        raise UsageError(
            f"{source.name}: {info.samplerate} Hz and {sample_rate} Hz have too small a common "
            "divisor to resample between them; allowed are the usual rates"
        )
    resampler = julius.ResampleFrac(info.samplerate, sample_rate)
    context = 2 + math.ceil(resampler.zeros / resampler.rolloff / min(old, new))
    step = max(1, round(block_seconds * info.samplerate / old))
    if frames is None:
        frames = -(-info.frames * new // old)
    with writing_wavs([target], sample_rate, info.channels, frames) as (file,):
        for start in range(0, -(-info.frames // old), step):  # in groups of `old` samples
            before = min(context, start)
            first, last = (start - before) * old, (start + step + context) * old
            samples = read_wav(source, first, min(last, info.frames))
            resampled = resampler(samples, full=True)[:, before * new :]
            length = min(step * new, frames - start * new)
            file.write(resampled[:, : max(0, length)].T.numpy())
