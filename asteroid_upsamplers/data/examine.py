"""What only the samples of a song tell: files that do not decode to their end, NaN, silence."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..audio import audio_info, read_blocks
from ..audio.layout import layout
from ..errors import UsageError
from ..files import whole_or_nothing
from .finding import Found
from .identity import is_unchanged, read_notes, stamp
from .parallel import failures
from .songs import MIXTURE, Song

logger = logging.getLogger(__name__)

NOTES = ".examined.json"
"""Which files were read to their end, and what was heard."""

SHORT_SECONDS = 5.0


def examine_songs(
    found: Found,
    wanted: Sequence[str],
    notes_dir: Path,
    jobs: int | None = None,
    progress: bool = True,
) -> None:
    """Move songs whose samples cannot be used from ``found.songs`` to ``found.problems``.

    Files of floating-point samples and flac files are read to their end, once: what was heard is
    noted, for as long as they stay the same. Of wav files of integers, whose length is checked
    already, nothing can be wrong but silence, and they are read until that ends.

    Args:
        found: Songs, opened.
        wanted: Names of the files of each song to read.
        notes_dir: Folder for the notes; nothing is noted where it cannot be written.
        jobs: Songs at a time; one a core if ``None``.
        progress: Whether to show a progress bar.
    """
    notes = read_notes(notes_dir / NOTES)
    before = dict(notes)
    silent: list[str] = []

    def examine(song: Song) -> None:
        quiet = [name for name in wanted if _is_silent(song.path(name), notes)]
        if MIXTURE in quiet or set(wanted) - {MIXTURE} <= set(quiet):
            raise UsageError(f"{song.folder}: silent throughout")
        silent.extend(f"{song.name}/{name}" for name in quiet)

    problems = failures(examine, found.songs, "examining songs", jobs, progress)
    if notes != before:
        with contextlib.suppress(OSError), whole_or_nothing(notes_dir / NOTES) as partial:
            partial.write_text(json.dumps(notes))
    for song, problem in problems.items():
        found.problems[found.entries[song.name]] = problem
    found.songs = [song for song in found.songs if song not in problems]
    if silent:
        names = ", ".join(sorted(silent)[:3]) + (", ..." if len(silent) > 3 else "")
        logger.warning("%s: %d files silent throughout: %s", found.folder, len(silent), names)


def _is_silent(path: Path, notes: dict[str, Any]) -> bool:
    """Whether all samples of a file are zero.

    Raises:
        UsageError: If it cannot be read to its end, or holds NaN or infinite samples.
    """
    info = audio_info(path)
    is_integer_wav = info.format in ("WAV", "WAVEX") and info.subtype not in ("FLOAT", "DOUBLE")
    if is_integer_wav:
        _check_layout(path)
        return not any(block.any() for block in read_blocks(path, SHORT_SECONDS))
    key = str(path.resolve())
    noted = notes.get(key, {})
    if not is_unchanged(path, noted):
        noted = stamp(path) | {"silent": True, "problem": None}
        try:
            _check_layout(path)
            for block in read_blocks(path):
                noted["silent"] &= not block.any()
        except UsageError as error:
            noted["problem"] = str(error)
        notes[key] = noted
    if noted["problem"]:
        raise UsageError(noted["problem"])
    return noted["silent"]


def _check_layout(path: Path) -> None:
    """Refuse files whose header is not true: songs are read at any place, as it says."""
    starts, missing = layout(path)
    if len(starts) > 1:
        raise UsageError(f"{path}: {len(starts)} joined files, the header states the first only")
    if missing > 0:
        raise UsageError(f"{path}: cut off, {missing} bytes of its samples are missing")
