"""Run a network on audio that comes from a pipe, and send what it gives into another."""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import torch
from asteroid.models import BaseModel
from tqdm import tqdm

from ..errors import UsageError
from .streaming import ModelStream, stream

logger = logging.getLogger(__name__)

BLOCK = 2**16
"""Bytes that are taken at once, at most: what has come, so that a fast source costs little."""

WAV_SAMPLES = {(1, 16): ("<i2", 2**15), (1, 32): ("<i4", 2**31), (3, 32): ("<f4", 1)}
"""Of a wav's code and bits: how numpy reads its samples, and what full scale is."""

UNKNOWN_SIZE = 0x7FFF0000
"""From so many bytes up, and at 0, the size in a wav header is what programs write to a pipe."""

OTHER_FORMATS = (b"RF64", b"RIFX", b"FORM", b"fLaC", b"OggS", b"ID3")
LOUDEST = 1e6
FLOATS = "32-bit floats (ffmpeg -i FILE -f f32le -ac CHANNELS -ar RATE - makes them)"


def separate_live(
    model: BaseModel, source: BinaryIO, sink: BinaryIO, progress: bool = True
) -> None:
    """Read audio as it comes, and write the estimates as soon as they are certain.

    Both are raw little-endian 32-bit floats with the channels interleaved, or both are wav. The
    output has the channels of all sources side by side: those of the first source first.

    Args:
        model: Any network that :func:`stream` takes, on its device; its frames are what comes.
        source: Where the input comes from.
        sink: Where the output goes, unbuffered.
        progress: Whether to show the seconds that were written and the real-time factor, which is
            the time of the work over that of the audio.

    Raises:
        UsageError: For a network that cannot run live; for input of another format, rate or number
            of channels, that ends within a frame, or that is no audio.
    """
    if not model.sample_rate:
        raise UsageError(
            f"the {type(model).__name__} states no sample rate; asteroid-register-sr writes one "
            "into its file"
        )
    live, rate = stream(model), int(model.sample_rate)
    head = source.read(4)
    if head.startswith(OTHER_FORMATS):
        raise UsageError(f"standard input begins with {head!r}: must be wav or raw {FLOATS}")
    is_wav, kind, scale, size = head == b"RIFF", "<f4", 1, UNKNOWN_SIZE
    if is_wav:
        head = b""
        kind, scale, size = _wav_format(source, live.in_channels, rate)
    width, working, written = live.in_channels * np.dtype(kind).itemsize, 0.0, 0
    with tqdm(desc="separating", unit="s", unit_scale=True, disable=not progress) as bar:
        for block in _blocks(source, head, width, size):
            begin = time.perf_counter()
            y = _estimates(live, block, kind, scale)
            working += time.perf_counter() - begin
            if is_wav and not written:
                _write(sink, _wav_header(y.shape[1], rate))
                is_wav = False
            _write(sink, y.tobytes())
            written += len(y)
            bar.update(len(y) / rate)
            factor = working * rate / max(1, written)
            bar.set_postfix_str(f"real-time factor {factor:.2g}", refresh=False)
    words = "%.1f s of audio in %.1f s of work: real-time factor %.2g; latency %d samples"
    logger.info(words, written / rate, working, factor, live.latency)


def _blocks(source: BinaryIO, head: bytes, width: int, size: int) -> Iterator[bytes | None]:
    """Whole frames of ``width`` bytes as they come; at the end ``None``.

    Raises:
        UsageError: After the end, if there was no frame, or the last one or the file is cut short.
    """
    rest, got, read = head, len(head), getattr(source, "read1", source.read)
    while block := read(min(BLOCK, size - got) if size < UNKNOWN_SIZE else BLOCK):
        got += len(block)
        rest += block
        whole = len(rest) // width * width
        yield rest[:whole]
        rest = rest[whole:]
    if got < width:
        raise UsageError(f"standard input: no audio, {got} bytes of a frame of {width}")
    yield None
    if rest:
        raise UsageError(
            f"standard input ends within a frame, after {len(rest)} of its {width} bytes: raw "
            f"input must be {FLOATS} with all channels of the model interleaved"
        )
    if size < UNKNOWN_SIZE and got < size:
        raise UsageError(f"standard input: the wav ends after {got} of {size} bytes")


def _estimates(live: ModelStream, block: bytes | None, kind: str, scale: int) -> np.ndarray:
    """``(samples, channels of all sources)`` for a block of frames, or for the end, ``None``."""
    if block is None:
        y = live.flush()
    else:
        frames = np.frombuffer(block, kind).reshape(-1, live.in_channels)
        x = torch.from_numpy(frames.T.astype(np.float32)) / scale
        loudest = float(x.abs().max()) if x.numel() else 0.0
        if not loudest <= LOUDEST:
            raise UsageError(f"standard input holds samples of {loudest:g}: must be {FLOATS}")
        y = live.push(x[None].to(next(live.model.parameters())))
    if not y.isfinite().all():
        raise UsageError("the model gives NaN or infinite samples")
    return np.ascontiguousarray(y.flatten(0, -2).float().cpu().numpy().T, "<f4")


def _wav_format(source: BinaryIO, channels: int, rate: int) -> tuple[str, int, int]:
    """How the samples are stored, what full scale is, and their bytes; ``RIFF`` was read before."""
    found = None
    _exactly(source, 8)
    while True:
        name, size = struct.unpack("<4sI", _exactly(source, 8))
        if name == b"data" and found:
            return *found, size or UNKNOWN_SIZE
        content = _exactly(source, size + size % 2)
        if name != b"fmt " or size < 16:
            continue
        code, has, at, _, _, bits = struct.unpack("<HHIIHH", content[:16])
        if code == 0xFFFE and size >= 26:  # an extensible header names it later
            code = struct.unpack("<H", content[24:26])[0]
        found = WAV_SAMPLES.get((code, bits))
        if found is None:
            raise UsageError(
                f"standard input: wav with {bits} bits of format {code}, must have 16- or 32-bit "
                f"integers or be raw {FLOATS}"
            )
        if (has, at) != (channels, rate):
            raise UsageError(
                f"standard input has {has} channels at {at} Hz, the model needs {channels} at "
                f"{rate} Hz (ffmpeg -i FILE -f wav -ac {channels} -ar {rate} - makes them)"
            )


def _exactly(source: BinaryIO, size: int) -> bytes:
    found = source.read(size)
    if len(found) < size:
        raise UsageError("standard input ends within the header of a wav")
    return found


def _wav_header(channels: int, rate: int) -> bytes:
    """Of 32-bit floats, of a size that is not known yet."""
    most, width = 0xFFFFFFFF, 4 * channels
    form = struct.pack("<HHIIHH", 3, channels, rate, rate * width, width, 32)
    return (
        struct.pack("<4sI4s4sI", b"RIFF", most, b"WAVE", b"fmt ", 16)
        + form
        + struct.pack("<4sI", b"data", most)
    )


def _write(sink: BinaryIO, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[sink.write(left) :]
