"""Writing songs that are rendered from MIDI, in the layout of MUSDB18-HQ, each once.

Beside its wav files every song has ``song.json``, which says what it was made of: a song is kept as
long as this stays the same.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from tqdm.contrib.concurrent import process_map

from ..audio import write_wav
from ..errors import UsageError
from ..files import LOCK, locked, whole_or_nothing, write_json
from .finding import list_songs
from .identity import read_notes
from .midi_render import default_soundfont, load_soundfont, render_midi
from .parallel import cores
from .songs import MIXTURE, SOURCES

logger = logging.getLogger(__name__)

NOTES = "song.json"
RENDERER = 1
"""Counted up when other samples come of the same MIDI file."""


@dataclass(frozen=True)
class Order:
    """A song to be rendered.

    Args:
        folder: Where its files go.
        midi: Content of the MIDI file.
        soundfont: The SF2 file.
        seed: How it is mixed.
        sample_rate: In Hz.
        seconds: Length; that of the piece if ``None``.
        longest: Seconds of the piece that are read at most.
    """

    folder: Path
    midi: bytes
    soundfont: Path
    seed: int
    sample_rate: int
    seconds: float | None
    longest: float

    def notes(self) -> dict[str, Any]:
        """What ``song.json`` holds."""
        return {
            "renderer": RENDERER,
            "midi": hashlib.sha256(self.midi).hexdigest(),
            "soundfont": soundfont_digest(self.soundfont),
            "seed": self.seed,
            "sample_rate": self.sample_rate,
            "seconds": self.seconds,
            "longest": self.longest,
        }


@functools.lru_cache
def soundfont_digest(path: Path) -> str:
    """The SHA-256 of a soundfont that can be played.

    Raises:
        UsageError: If it cannot.
    """
    return hashlib.sha256(load_soundfont(path)).hexdigest()


def usable_soundfont(path: Path | None) -> Path:
    """The soundfont of that path, or the default one, tried out.

    Raises:
        UsageError: If it cannot be played.
    """
    path = default_soundfont() if path is None else path
    soundfont_digest(path)
    return path


def require_at_least(least: float, **settings: float) -> None:
    """Refuse settings that are too small.

    Raises:
        UsageError: Naming the first of them.
    """
    for name, value in settings.items():
        if not least <= value < math.inf:
            raise UsageError(f"{name} is {value}: must be at least {least}")


def check_root(root: Path, wanted: Collection[Path]) -> None:
    """Refuse a folder with songs that were not rendered here, and count those from before.

    Args:
        root: Of the set.
        wanted: Folders of the songs that are to be there.

    Raises:
        UsageError: If it is a file, cannot be made, or has a song of somebody else's.
    """
    if root.is_file():
        raise UsageError(f"root is {root}, which is a file: must be a folder or not exist yet")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:  # such as below /proc
        raise UsageError(f"root is {root}: no folder can be made there") from error
    found = [path for part in ("train", "test") for path in list_songs(root, part).entries.values()]
    for path in found:
        names = {file.name for file in path.glob("[!.]*")}
        ours = NOTES in names or re.fullmatch(r"Demo - \d{3,}", path.name)
        if not ours or not names <= {NOTES, *(f"{name}.wav" for name in (MIXTURE, *SOURCES))}:
            raise UsageError(f"{path}: not a song rendered here; choose a folder without others")
    others = len(set(found) - set(wanted))
    if others:
        logger.warning("%s: %d more songs are there, from before", root, others)


def render_songs(
    root: Path, orders: Sequence[Order], jobs: int | None, progress: bool
) -> dict[Path, str]:
    """Render the songs that are not there yet, several at a time.

    Args:
        root: Of the set.
        orders: All its songs.
        jobs: Number of processes; one a core if ``None``.
        progress: Whether to show a progress bar.

    Returns:
        Of each song that cannot be rendered, by its folder, what is wrong.

    Raises:
        OSError: If the disk is full.
    """
    with locked(root / LOCK, wait=True):
        todo = [order for order in orders if not _is_whole(order)]
        if not todo:
            return {}
        jobs = min(cores() if jobs is None else jobs, len(todo))
        results = process_map(
            _write_song, todo, max_workers=jobs, chunksize=1, desc="songs", disable=not progress
        )
    return {order.folder: why for order, why in zip(todo, results, strict=True) if why}


def _write_song(order: Order) -> str | None:
    """Write the files of a song; says why it cannot be rendered."""
    try:
        stems = render_midi(
            order.midi,
            load_soundfont(order.soundfont),
            order.seed,
            order.sample_rate,
            order.seconds,
            order.longest,
        )
    except UsageError as error:
        return str(error)
    mixture = np.stack(list(stems.values())).sum(axis=0, dtype=np.int16)
    with whole_or_nothing(order.folder) as partial:
        partial.mkdir()
        for name, audio in {MIXTURE: mixture, **stems}.items():
            write_wav(partial / f"{name}.wav", audio, order.sample_rate, subtype="PCM_16")
        write_json(partial / NOTES, order.notes())
    return None


def _is_whole(order: Order) -> bool:
    if read_notes(order.folder / NOTES) != order.notes():
        return False
    try:
        infos = [soundfile.info(order.folder / f"{name}.wav") for name in (MIXTURE, *SOURCES)]
    except soundfile.LibsndfileError:
        return False
    return len({info.frames for info in infos}) == 1
