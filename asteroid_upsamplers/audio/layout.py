"""Where the samples of a file really are, whatever its header states of their number."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Literal, NamedTuple

UNKNOWN = 0x7FFFF000
"""Sizes of samples from here on, and 0, are what programs write that did not know the length."""

FLAC = b"fLaC\x00\x00\x00\x22"


class Layout(NamedTuple):
    """What the chunks of a file say.

    Args:
        starts: Where each file begins of those that were joined, in bytes; one for most files.
        missing: Bytes that the last header announces and the file does not have; negative if the
            file has so many that belong to no chunk.
    """

    starts: list[int]
    missing: int = 0


def layout(path: Path) -> Layout:
    """Look through the chunks of a wav, aiff or flac file; of others nothing is known."""
    if path.stat().st_size < 12:
        return Layout([0])
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content[:4] in (b"RIFF", b"RF64", b"FORM"):
            return _chunks(content)
        starts, found = [0], content.find(FLAC, 1) if content[:4] == FLAC[:4] else -1
        while found > 0:
            starts.append(found)
            found = content.find(FLAC, found + 1)
        return Layout(starts)


def _chunks(content: mmap.mmap) -> Layout:
    """Go from chunk to chunk: a joined file is one more chunk with the first one's name."""
    order: Literal["big", "little"] = "big" if content[:4] == b"FORM" else "little"
    starts, at, long = [], 0, 0
    while at + 8 <= len(content):
        name = content[at : at + 4]
        length = int.from_bytes(content[at + 4 : at + 8], order)
        samples = name in (b"data", b"SSND")
        if samples and length == 2**32 - 1:
            length = long
        if name == content[:4]:
            starts.append(at)
            at += 12
        elif samples and not 0 < length < UNKNOWN and not long:
            return Layout(starts)
        elif not samples and (not _is_name(name) or at + 8 + length > len(content)):
            break
        else:
            if name == b"ds64":  # of RF64, whose sizes need more than four bytes
                long = int.from_bytes(content[at + 16 : at + 24], order)
            at += 8 + length + length % 2
    odd = abs(at - len(content)) <= 1  # some leave out the last chunk's padding
    return Layout(starts, 0 if odd else at - len(content))


def _is_name(name: bytes) -> bool:
    return name.isascii() and name.decode("ascii").isprintable()
