"""Audio files at another sample rate, block by block, so that a long one need not be in memory."""

from __future__ import annotations

import math
from pathlib import Path

import julius
import soundfile

from ..errors import UsageError
from .reading import BLOCK_SECONDS, read_wav
from .writing import writing_wavs

LARGEST_RATIO = 10**7
"""Product of two rates over their common divisor: julius keeps some kernel taps for each unit."""


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
            f"{source}: {info.samplerate} Hz and {sample_rate} Hz have too small a common "
            "divisor to resample between them; use a usual rate, such as 44100 or 48000 Hz"
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
