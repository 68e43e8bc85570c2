"""ffmpeg, which decodes what libsndfile does not, and without which musdb and museval stop."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError


def require_ffmpeg() -> None:
    """Check that ``ffmpeg`` and ``ffprobe`` are on the PATH.

    Raises:
        UsageError: If one of them is not, with how to install them.
    """
    missing = [program for program in ("ffmpeg", "ffprobe") if shutil.which(program) is None]
    if missing:
        raise UsageError(
            f"{' and '.join(missing)} not found on the PATH; musdb and museval need it: "
            "'apt-get install ffmpeg', 'brew install ffmpeg' or 'conda install ffmpeg'"
        )


def audio_streams(path: Path) -> list[dict[str, Any]]:
    """What ffprobe says of each audio stream: ``sample_rate``, ``channels``, ``duration``, ...

    Raises:
        UsageError: If it cannot read the file.
    """
    words = ["ffprobe", "-loglevel", "error", "-select_streams", "a", "-show_streams"]
    return json.loads(_run([*words, "-of", "json", str(path.resolve())], path))["streams"]


def decode(path: Path, targets: Sequence[Path], codec: str) -> None:
    """Decode the first audio streams of a file, each into a wav file, in one pass.

    Args:
        path: Any file that ffmpeg reads.
        targets: Where to write: the first stream into the first file, and so on. The rate and the
            number of channels are those of the stream.
        codec: ffmpeg's name for the format of the samples, such as ``pcm_s16le``.

    Raises:
        UsageError: If the file cannot be decoded, or has fewer streams.
    """
    words = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", "-i", str(path.resolve())]
    for stream, target in enumerate(targets):
        words += ["-map", f"0:a:{stream}", "-c:a", codec, "-bitexact", "-rf64", "auto"]
        words.append(str(target.resolve()))
    _run(words, path)


def _run(words: list[str], path: Path) -> str:
    result = subprocess.run(words, capture_output=True, text=True, errors="replace")
    if result.returncode:
        reasons = result.stderr.strip().splitlines() or [f"{words[0]} failed"]
        raise UsageError(f"{path}: not readable as audio ({reasons[-1]})")
    return result.stdout
