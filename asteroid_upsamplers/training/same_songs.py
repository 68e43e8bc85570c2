"""An experiment is trained on the same songs from its first epoch to its last.

Its folder notes the songs: their names, lengths, and a few samples of each stem, which cost next to
no reading. So a set may be moved, or be flac instead of wav, and its copies may be made again by
another program; other recordings of the same names and lengths, and MUSDB18-HQ in the place of
MUSDB18's compressed stems, are other songs.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from ..data import Song, cores, list_songs, read_notes, songs_at_rate, split_validation
from ..errors import UsageError
from ..files import write_json
from .checkpoints import BEST_MODEL, CHECKPOINTS
from .schema import Config

SONGS = "train_songs.json"
"""In the folder of an experiment: the songs it is trained and validated on."""

PLACES, SAMPLES = 8, 4
"""Where a stem is looked at, spread over its length, and how many samples there."""

TOLERANCE = 1e-3
"""Decoders round differently, by less than this; full scale is 1."""

Notes = dict[str, Any]


def check_same_songs(conf: Config, exp_dir: Path) -> Notes:
    """Refuse to go on, or to be finished, with other songs than those that were trained on.

    Returns:
        What :func:`save_songs` is to note; nothing where no songs are there, as a finished
        experiment needs none.

    Raises:
        UsageError: Naming the first song that differs; or if songs cannot be used.
    """
    data = conf["data"]
    root = Path(data["musdb18_dir"])
    if not list_songs(root, "train").entries:
        return {}
    songs = songs_at_rate(  # the set's own rate: what is finished needs no resampled copies
        root,
        Path(data["wav_dir"]),
        "train",
        sources=data["sources"],
        skip_bad_songs=data["skip_bad_songs"],
    )
    with ThreadPoolExecutor(cores()) as pool:
        looks = pool.map(lambda song: _look(song, data["sources"]), songs)
        notes = {song.name: look for song, look in zip(songs, looks, strict=True)}
    for song in split_validation(songs)[1]:
        notes[song.name]["subset"] = "validation"
    begun = (exp_dir / BEST_MODEL).exists() or any((exp_dir / CHECKPOINTS).glob("*.ckpt"))
    before = read_notes(exp_dir / SONGS) if begun else {}
    if not all(isinstance(note, dict) for note in before.values()):
        before = {}  # damaged
    difference = _difference(before, notes) if before else None
    if difference:
        raise UsageError(
            f"{exp_dir} was trained on other songs than those of {root} ({difference}): choose "
            "another --tag, or put the songs back"
        )
    return before or notes


def save_songs(notes: Notes, exp_dir: Path) -> None:
    """Keep what :func:`check_same_songs` gave with the experiment."""
    if notes and notes != read_notes(exp_dir / SONGS):
        write_json(exp_dir / SONGS, notes, indent=None)


def _look(song: Song, sources: list[str]) -> Notes:
    """What is noted of a song."""
    last = max(0, song.frames - SAMPLES)
    starts = [round((place + 0.5) * last / PLACES) for place in range(PLACES)]
    parts = [song.read(sources, start, SAMPLES).flatten(1) for start in starts]
    values = torch.cat(parts, 1).double().mul(1e4).round().div(1e4).tolist()
    return {
        "subset": "train",
        "samples": song.frames,
        "sample_rate": song.sample_rate,
        "stems": dict(zip(sources, values, strict=True)),
    }


def _difference(before: Notes, now: Notes) -> str | None:
    """The first one, in words."""
    for name in sorted(before.keys() ^ now.keys()):
        return f"{name} is {'missing' if name in before else 'new'}"
    for name in sorted(now):
        for key in ("samples", "sample_rate", "subset"):
            was, is_now = (notes[name].get(key) for notes in (before, now))
            if was != is_now:
                return f"{name}: {key.replace('_', ' ')} {was} -> {is_now}"
        stems = before[name].get("stems", {})
        for stem, values in now[name]["stems"].items():
            was, is_now = torch.tensor(stems.get(stem, [])), torch.tensor(values)
            if was.shape != is_now.shape or (was - is_now).abs().max() > TOLERANCE:
                return f"{name}: {stem} sounds different"
    return None
