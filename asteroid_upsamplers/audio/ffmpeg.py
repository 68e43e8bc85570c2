"""ffmpeg, which decodes what libsndfile does not, and without which musdb and museval stop."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files import tell_full_disk

FILES_ONLY = ("-protocol_whitelist", "file,subfile")
"""A file may be a playlist: nothing is fetched from elsewhere."""

HARMLESS = "non monotonically increasing dts"
"""What ffmpeg says of joined files, all of whose samples it decodes."""


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

    A duration that it only estimates from the bit rate is left out.

    Raises:
        UsageError: If it cannot read the file.
    """
    words = ["ffprobe", "-loglevel", "warning", *FILES_ONLY, "-select_streams", "a"]
    words += ["-show_streams", "-of", "json", f"file:{path.resolve()}"]
    result = _run(words, path)
    streams = json.loads(result.stdout)["streams"]
    if "Estimating duration" in result.stderr:
        streams = [
            {key: value for key, value in stream.items() if key != "duration"} for stream in streams
        ]
    return streams


def decode(
    path: Path,
    targets: Sequence[Path],
    codec: str,
    starts: Sequence[int] = (0,),
    options: Sequence[str] = (),
) -> str:
    """Decode the first audio streams of a file, each into a wav file, in one pass.

    Args:
        path: Any file that ffmpeg reads.
        targets: Where to write: the first stream into the first file, and so on. The rate and the
            number of channels are those of the stream.
        codec: ffmpeg's name for the format of the samples, such as ``pcm_s16le``.
        starts: Where each file begins of those that were joined to this one, in bytes.
        options: Of ffmpeg's demuxer.

    Returns:
        What did not decode, in ffmpeg's words; empty if everything did.

    Raises:
        UsageError: If the file cannot be decoded, or has fewer streams.
        OSError: If the disk is full.
    """
    words = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y"]
    where, stops = path.resolve(), [*starts[1:], path.stat().st_size]
    for start, stop in zip(starts, stops, strict=True):
        part = f"subfile,,start,{start},end,{stop},,:" if len(starts) > 1 else "file:"
        words += [*FILES_ONLY, *options, "-i", f"{part}{where}"]
    for stream, target in enumerate(targets):
        source = f"0:a:{stream}"
        if len(starts) > 1:
            inputs = "".join(f"[{number}:a:{stream}]" for number in range(len(starts)))
            words += ["-filter_complex", f"{inputs}concat=n={len(starts)}:v=0:a=1[{stream}]"]
            source = f"[{stream}]"
        words += ["-map", source, "-c:a", codec, "-bitexact", "-rf64", "auto"]
        words.append(f"file:{target.resolve()}")
    with tell_full_disk(targets[0], UsageError):
        return _reason(_run(words, path))


def _run(words: list[str], path: Path) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(words, capture_output=True, text=True, errors="replace")
    if result.returncode:
        reason = _reason(result).replace(f"file:{path.resolve()}: ", "")
        raise UsageError(f"{path}: not readable as audio ({reason or f'{words[0]} failed'})")
    return result


def _reason(result: subprocess.CompletedProcess[str]) -> str:
    """The last two lines of what ffmpeg said, without the names of its parts."""
    said = [line for line in result.stderr.splitlines() if HARMLESS not in line]
    return "; ".join(re.sub(r"^\[.* @ \w+\] ", "", line).strip() for line in said[-2:])
