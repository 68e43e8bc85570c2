"""Stage 2: separate whole songs in overlapping chunks, in bounded memory."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile
import torch
from tqdm import tqdm

from ..data import MIXTURE, SOURCES, Song
from ..files import whole_or_nothing
from ..models import MusicSeparator
from .files import Chunking, Task, separate_file


@dataclass(frozen=True)
class Pace:
    """How fast songs were separated.

    Args:
        audio_seconds: What was separated.
        seconds: How long that took, reading and writing included.
    """

    audio_seconds: float
    seconds: float


def separate_songs(
    model: MusicSeparator,
    songs: Sequence[Song],
    output_dir: Path,
    chunking: Chunking | None = None,
    progress: bool = True,
) -> Pace:
    """Write ``output_dir/<song>/<source>.wav`` for every song; whole ones are kept.

    The estimates are 32-bit float, at the mixture's rate and level, not rescaled; for a model of
    another rate the mixture is resampled, and the estimates are resampled back.

    Args:
        model: The network, on the device it shall run on.
        songs: Songs with a mixture.
        output_dir: Folder of the estimates.
        chunking: Lengths of the chunks, shifts, and how many chunks at once.
        progress: Whether to show a progress bar, in seconds of audio.

    Returns:
        How fast the songs were separated that were not there.

    Raises:
        UsageError: If a mixture cannot be separated.
    """
    chunking = chunking or Chunking()
    todo = [song for song in songs if not (output_dir / song.name).is_dir()]
    lengths = [song.frames / soundfile.info(song.path(MIXTURE)).samplerate for song in todo]
    hidden = not progress or not todo
    start = time.perf_counter()
    with tqdm(None, "separating", sum(lengths), unit="s", unit_scale=True, disable=hidden) as bar:
        for song in todo:
            with whole_or_nothing(output_dir / song.name) as folder:
                folder.mkdir()
                outputs = [folder / f"{source}.wav" for source in model.sources]
                task = Task(song.path(MIXTURE), outputs)
                separate_file(model, task, outputs, chunking, bar)
    return Pace(sum(lengths), time.perf_counter() - start)


def mixture_as_estimates(songs: Sequence[Song], output_dir: Path) -> None:
    """The baseline: the mixture stands for every source. Links, or copies where there are none."""
    for song in songs:
        if (output_dir / song.name).is_dir():
            continue
        with whole_or_nothing(output_dir / song.name) as folder:
            folder.mkdir()
            for source in SOURCES:
                link = folder / f"{source}.wav"
                try:
                    os.symlink(song.path(MIXTURE).resolve(), link)
                except OSError:
                    shutil.copyfile(song.path(MIXTURE), link)


@contextlib.contextmanager
def on_best_device(model: MusicSeparator) -> Iterator[MusicSeparator]:
    """The model on a GPU where there is one, and back on the CPU afterwards."""
    try:
        yield model.to("cuda" if torch.cuda.is_available() else "cpu")
    finally:
        model.to("cpu")
