"""Finding the songs of a set, so that none is left out without a word.

Folders ``root/train/<song>`` and ``root/test/<song>`` with a file for each stem, wav or flac, in
upper or lower case; or MUSDB18's files ``<song>.stem.mp4`` in their place. Whatever else looks like
a song is named.
"""

from __future__ import annotations

import logging
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..audio import audio_info
from ..errors import UsageError
from .songs import MIXTURE, SOURCES, Song

logger = logging.getLogger(__name__)

STEMS = ".stem.mp4"
READ = (".wav", ".flac")
"""Endings of the files of a stem, in upper or lower case."""

_LOSSLESS = (".aif", ".aifc", ".aiff", ".alac", ".ape", ".au", ".caf", ".rf64", ".wave", ".wv")
_LOSSY = (".aac", ".m4a", ".mp3", ".mp4", ".oga", ".ogg", ".opus", ".wma")
AUDIO = (*READ, *_LOSSLESS, *_LOSSY)
"""Endings of what looks like a part of a song."""

NO_SONGS = f" (folders of wav or flac files, or {STEMS} files)"

WRONG_RATE = "Hz is needed"

OTHER_PROGRAMS = ("__MACOSX", "@eaDir", "@__thumb", "$RECYCLE.BIN", "System Volume Information")
"""Folders in which archives and storage devices keep files that have the names of the songs'."""


@dataclass
class Found:
    """The songs of a subset: those that can be used, and what is wrong with the others.

    Args:
        folder: Of the subset.
        entries: By name, the folder or ``.stem.mp4`` file of each song.
        problems: Of each entry that cannot be used, what is wrong.
        songs: Those that can be used.
    """

    folder: Path
    entries: dict[str, Path] = field(default_factory=dict)
    problems: dict[Path, str] = field(default_factory=dict)
    songs: list[Song] = field(default_factory=list)

    def usable(self, skip_bad_songs: bool) -> list[Song]:
        """The songs that can be used, which are counted and logged.

        Raises:
            UsageError: If there are none; or if some cannot be used, unless they are to be skipped.
        """
        refuse_problems([self], skip_bad_songs)
        return self.songs

    @property
    def count(self) -> int:
        """Songs, and what looks like one."""
        return len({*self.entries.values(), *self.problems})


def refuse_problems(subsets: Sequence[Found], skip_bad_songs: bool) -> None:
    """Log how many songs were found and are used, and refuse bad ones or say what is left out.

    Raises:
        UsageError: If a subset has no songs that can be used, or, unless they are to be skipped,
            some that cannot.
    """
    problems = [problem for found in subsets for problem in found.problems.values()]
    if skip_bad_songs:
        for problem in problems:
            logger.warning("left out: %s", problem)
    elif problems:
        if len(problems) > 3:
            for problem in problems:
                logger.error("%s", problem)
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        count = sum(found.count for found in subsets)
        raise UsageError(
            f"{len(problems)} of {count} songs: {'; '.join(problems[:3])}{more}; "
            "--skip_bad_songs leaves such songs out"
        )
    for found in subsets:
        if not found.songs:
            left_out = f" that can be used, of {found.count}" if found.problems else ""
            raise UsageError(f"{found.folder}: no songs{left_out or NO_SONGS}")
        logger.info("%s: %d songs found, %d used", found.folder, found.count, len(found.songs))


def find_songs(
    root: Path,
    subset: str,
    sample_rate: int | None = None,
    sources: Sequence[str] = SOURCES,
    channels: int = 2,
    skip_bad_songs: bool = False,
) -> list[Song]:
    """The songs in folders below ``root/subset``, by name, each checked by its files' headers.

    Args:
        root: Folder of the set.
        subset: ``"train"`` or ``"test"``; test songs need a mixture.
        sample_rate: The rate every file must have, in Hz; that of most songs if ``None``.
        sources: Names of the files every song must have.
        channels: The number of channels every file must have.
        skip_bad_songs: Whether to leave out (and name) songs that cannot be used.

    Raises:
        UsageError: If there are no songs, or if some do not fit, naming the files and why.
    """
    found = list_songs(root, subset)
    check_songs(found, found.entries, wanted_files(subset, sources), sample_rate, channels)
    return found.usable(skip_bad_songs)


def wanted_files(subset: str, sources: Sequence[str]) -> tuple[str, ...]:
    """The files, without their endings, that a song of a subset must have."""
    return (*sources, MIXTURE) if subset == "test" else tuple(sources)


def list_songs(root: Path, subset: str) -> Found:
    """What looks like a song in a subset, not opened yet."""
    found = Found(_subset_folder(root, subset))
    hidden = []
    for path in sorted(found.folder.iterdir()) if found.folder.is_dir() else ():
        is_stems = path.name.lower().endswith(STEMS)
        if path.name.startswith(".") or path.name in OTHER_PROGRAMS:
            hidden += [path] if _holds_audio(path) else []
        elif not path.exists():
            found.problems[path] = f"{path}: broken link"
        elif is_stems or path.is_dir():
            name = path.name[: -len(STEMS)] if is_stems and path.is_file() else path.name
            if name in found.entries:
                other = found.entries[name]
                found.problems[path] = f"{path}: {other.name} is the same song; keep one of them"
            else:
                found.entries[name] = path
        elif path.suffix.lower() in AUDIO:
            found.problems[path] = f"{path}: a single file; a song is a folder or a {STEMS} file"
    if hidden:
        names = ", ".join(path.name for path in hidden[:3]) + (", ..." if len(hidden) > 3 else "")
        logger.warning("%s: %d not read, as hidden: %s", found.folder, len(hidden), names)
    return found


def check_songs(
    found: Found,
    folders: dict[str, Path],
    wanted: Sequence[str],
    sample_rate: int | None,
    channels: int = 2,
) -> None:
    """Fill ``found.songs`` with the songs of some folders, and ``found.problems`` with the others.

    Args:
        found: To be filled; its problems are noted for the entries of the same names.
        folders: By name.
        wanted: Names of the files every song must have, without their endings.
        sample_rate: The rate every file must have, in Hz; that of most songs if ``None``.
        channels: The number of channels every file must have.
    """
    songs = {}
    for name, folder in folders.items():
        try:
            songs[name] = _open_song(folder, wanted, channels)
        except UsageError as error:
            found.problems[found.entries[name]] = str(error)
    if songs and sample_rate is None:
        sample_rate = statistics.mode(song.sample_rate for song in songs.values())
    for name, song in songs.items():
        if song.sample_rate == sample_rate:
            found.songs.append(song)
        else:
            found.problems[found.entries[name]] = (
                f"{song.folder}: {song.sample_rate} Hz, {sample_rate} {WRONG_RATE}"
            )


def stem_file(folder: Path, stem: str) -> Path:
    """The file of a stem in the folder of a song: wav or flac, in upper or lower case.

    Raises:
        UsageError: If there is none, or more than one.
    """
    paths = _paths_by_stem(folder).get(stem.casefold(), [])
    read = [path for path in paths if path.suffix.lower() in READ]
    if len(read) == 1:
        if not read[0].exists():
            raise UsageError(f"{read[0]}: broken link")
        return read[0]
    if read:
        names = " and ".join(path.name for path in read)
        raise UsageError(f"{folder}: {names} are one stem; keep one of them")
    hint = ""
    if paths:
        hint = f" ({paths[0].name} is neither wav nor flac)"
    elif any(_holds_audio(path) for path in folder.glob("*/")):
        hint = " (there are folders with audio; songs must lie right in train/ or test/)"
    elif not any(folder.glob("*")):
        hint = " (the folder is empty)"
    raise UsageError(f"{folder / stem}.wav: missing{hint}")


def looks_like_audio(path: Path) -> bool:
    """Whether the name of a file is that of audio."""
    return path.suffix.lower() in AUDIO


def _open_song(folder: Path, wanted: Sequence[str], channels: int) -> Song:
    files = {name: stem_file(folder, name) for name in wanted}
    infos = {name: audio_info(path) for name, path in files.items()}
    for name, info in infos.items():
        if info.channels != channels:
            raise UsageError(f"{files[name]}: {info.channels} channel(s), {channels} are needed")
        if info.frames == 0:
            raise UsageError(f"{files[name]}: no samples")
    for what, values in (
        ("length", {name: f"{info.frames} samples" for name, info in infos.items()}),
        ("sample rate", {name: f"{info.samplerate} Hz" for name, info in infos.items()}),
    ):
        if len(set(values.values())) > 1:
            listing = ", ".join(f"{name} {value}" for name, value in values.items())
            raise UsageError(f"{folder}: files differ in {what} ({listing})")
    first = infos[wanted[0]]
    return Song(folder, first.frames, channels, first.samplerate, files)


def with_other_stems(song: Song) -> Song:
    """A song with all files of its folder that fit to it, not only those that were asked for."""
    files = dict(song.files)
    for stem in sorted(_paths_by_stem(song.folder).keys() - {name.casefold() for name in files}):
        try:
            files |= _open_song(song.folder, (*song.files, stem), song.channels).files
        except UsageError:
            continue
    return replace(song, files=files)


def _paths_by_stem(folder: Path) -> dict[str, list[Path]]:
    """What looks like audio in a folder, by name in lower case without its ending."""
    paths: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if looks_like_audio(path) and not path.is_dir():
            paths.setdefault(path.stem.casefold(), []).append(path)
    return paths


def _subset_folder(root: Path, subset: str) -> Path:
    folders = [p for p in sorted(root.glob("*")) if p.is_dir() and p.name.lower() == subset]
    if len(folders) > 1:
        names = " and ".join(folder.name for folder in folders)
        raise UsageError(f"{root}: {names} are one subset; put their songs into one folder")
    return folders[0] if folders else root / subset


def _holds_audio(path: Path) -> bool:
    """Whether a file, or one somewhere in a folder, has the name of audio."""
    names = (name for _, _, files in os.walk(path) for name in files)
    return any(looks_like_audio(Path(name)) for name in ([path.name] if path.is_file() else names))
