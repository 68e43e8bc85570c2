"""Audio files of any format: reading, resampling and writing them, whole or block by block."""

from .ffmpeg import require_ffmpeg
from .streaming import read_blocks, readable, resample_file
from .wav import read_wav, write_wav, writing_wavs

__all__ = [
    "read_blocks",
    "read_wav",
    "readable",
    "require_ffmpeg",
    "resample_file",
    "write_wav",
    "writing_wavs",
]
