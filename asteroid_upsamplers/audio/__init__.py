"""Audio files of any format: reading, resampling and writing them, whole or block by block."""

from .decoding import readable
from .ffmpeg import require_ffmpeg
from .reading import audio_info, read_audio, read_blocks, read_wav
from .resampling import resample_file
from .writing import write_wav, writing_wavs

__all__ = [
    "audio_info",
    "read_audio",
    "read_blocks",
    "read_wav",
    "readable",
    "require_ffmpeg",
    "resample_file",
    "write_wav",
    "writing_wavs",
]
