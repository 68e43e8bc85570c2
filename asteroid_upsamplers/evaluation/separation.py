"""Stage 2: separate whole songs in overlapping chunks, in bounded memory."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ..data import MIXTURE, SOURCES, Song
from ..data.audio import writing_wavs
from ..dsp import separate_chunks
from ..files import whole_or_nothing
from ..models import MusicSeparator


def separate_songs(
    model: MusicSeparator,
    songs: Sequence[Song],
    output_dir: Path,
    chunk: float = 10.0,
    overlap: float = 0.25,
    progress: bool = True,
) -> None:
    """Write ``output_dir/<song>/<source>.wav`` for every song; whole ones are kept.

    The estimates are 32-bit float, at the model's rate and the mixture's level, not rescaled.

    Args:
        model: The network, on the device it shall run on.
        songs: Songs with a mixture.
        output_dir: Folder of the estimates.
        chunk: Length of a chunk in s.
        overlap: Share of a chunk that it has in common with the next, up to 0.5.
        progress: Whether to show a progress bar, in seconds of audio.

    Raises:
        UsageError: If a mixture cannot be read.
    """
    rate = int(model.sample_rate)
    frames = round(chunk * rate)
    todo = [song for song in songs if not (output_dir / song.name).is_dir()]
    total = sum(song.frames for song in todo) // rate
    with tqdm(total=total, desc="separating", unit="s", disable=not progress or not todo) as bar:
        for song in todo:
            with whole_or_nothing(output_dir / song.name) as folder:
                folder.mkdir()
                paths = [folder / f"{source}.wav" for source in model.sources]
                with writing_wavs(paths, rate, model.in_channels) as files:
                    for block in _estimates(model, song, frames, int(overlap * frames)):
                        for file, estimate in zip(files, block, strict=True):
                            file.write(estimate.T.numpy())
                        bar.update(block.shape[-1] // rate)


def _estimates(model: MusicSeparator, song: Song, chunk: int, overlap: int) -> Iterator[Tensor]:
    level = song.level((MIXTURE,)) if model.normalize else 1.0
    device = next(model.parameters()).device

    def read(start: int, stop: int) -> Tensor:
        return song.read((MIXTURE,), start, stop - start)[0]

    @torch.no_grad()
    def separate(mixture: Tensor) -> Tensor:
        return model(mixture.to(device) / level).cpu() * level

    yield from separate_chunks(separate, read, song.frames, chunk, overlap)


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
