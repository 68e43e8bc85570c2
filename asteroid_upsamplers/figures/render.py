"""Compute figures, and write each as a picture and as numbers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import librosa
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from ..audio import readable
from ..data import render_song
from ..errors import UsageError
from ..files import whole_or_nothing, write_json
from . import networks, ones, stacks


@dataclass(frozen=True)
class PaperFigure:
    """A figure of [1]: title, function from a seed (and music) to arrays, rows and columns."""

    title: str
    compute: Callable[..., dict[str, Any]]
    grid: tuple[int, int]
    needs_music: bool = False


FIGURES = {
    1: PaperFigure(
        "untrained networks, white noise in (red marks: the last layer's tones)",
        networks.initial_networks,
        (2, 2),
    ),
    2: PaperFigure("transposed convolution without overlap, ones in", ones.no_overlap, (1, 1)),
    3: PaperFigure("partial overlap, ones in (red: edge effects)", ones.partial_overlap, (1, 1)),
    4: PaperFigure("full overlap, ones in (red: edge effects)", ones.full_overlap, (1, 1)),
    5: PaperFigure("transposed convolutions of ones (red: edge effects)", ones.overlaps, (4, 1)),
    6: PaperFigure("interpolation by two and convolution", stacks.interpolation, (3, 4), True),
    7: PaperFigure("subpixel convolutions by two, ones in (red: tones)", stacks.subpixel, (2, 2)),
    8: PaperFigure(
        "transposed convolutions by two, ones in (red: tones); "
        "linear interpolation by two, white noise in",
        stacks.transposed_and_linear,
        (3, 2),
    ),
    9: PaperFigure(
        "modified networks, white noise in (red marks: the last layer's tones, if any stands out)",
        networks.modified_networks,
        (1, 2),
    ),
    10: PaperFigure(
        "transposed convolutions as in Fig. 8; spectrograms without and with padding",
        stacks.centred_frames,
        (3, 2),
    ),
}


def render_figures(
    numbers: Sequence[int],
    out: Path,
    music: Path | None = None,
    seed: int = 0,
    progress: bool = True,
) -> list[Path]:
    """Write ``figure<N>.png`` and ``figure<N>.json`` for each number.

    Args:
        numbers: From 1 to 10.
        out: Folder for the files.
        music: Input of Fig. 6 beside noise: any audio file; a demo song if ``None``.
        seed: Of all weights and noise.
        progress: Whether to show a progress bar.

    Returns:
        The files.

    Raises:
        UsageError: For a figure that the paper does not have, or music that cannot be read.
    """
    unknown = sorted(set(numbers) - set(FIGURES))
    if unknown:
        raise UsageError(f"no figure {unknown[0]}: the paper has figures 1 to {len(FIGURES)}")
    written = []
    for number in tqdm(sorted(set(numbers)), "figures", disable=not progress):
        drawing, arrays = draw_figure(number, music, seed)
        picture, table = (out / f"figure{number}{ending}" for ending in (".png", ".json"))
        with whole_or_nothing(picture) as partial:
            drawing.savefig(partial, format="png")
        plt.close(drawing)
        content = {"figure": number, "seed": seed, "numbers": arrays["numbers"]}
        write_json(table, content)
        written += [picture, table]
    return written


def show(number: int, music: Path | None = None, seed: int = 0) -> dict[str, Any]:
    """Draw a figure in a notebook.

    Returns:
        What was computed for it; ``numbers`` holds plain values.
    """
    _, arrays = draw_figure(number, music, seed)
    plt.show()
    return arrays


def draw_figure(
    number: int, music: Path | None = None, seed: int = 0
) -> tuple[Figure, dict[str, Any]]:
    """The drawing of a figure, and what was computed for it."""
    figure = FIGURES[number]
    arrays = figure.compute(seed, *([music_at_4_khz(music)] if figure.needs_music else []))
    rows, columns = figure.grid
    size = ({1: 7.0, 2: 11.0, 4: 17.0}[columns], min(3.4 * rows, 9.5))
    with matplotlib.rc_context({"figure.dpi": 110, "font.size": 9}):
        drawing, axes = plt.subplots(
            rows, columns, figsize=size, layout="constrained", squeeze=False
        )
        (draw_panels if "panels" in arrays else ones.draw_outputs)(axes, arrays)
        drawing.suptitle(f"Fig. {number}: {figure.title}")
    return drawing, arrays


def draw_panels(axes: np.ndarray, arrays: dict[str, Any]) -> None:
    """Draw ``arrays["panels"]`` (spectrograms by title) row by row."""
    for place, (title, panel) in zip(axes.flat, arrays["panels"].items(), strict=True):
        panel.draw(place)
        place.set_title(title, fontsize="medium")


def music_at_4_khz(path: Path | None) -> np.ndarray:
    """Three seconds of music, ``(time,)``, mono, at 4 kHz.

    Raises:
        UsageError: If the file cannot be read, or holds less than half a second.
    """
    rate, seconds = stacks.RATE, stacks.SECONDS
    if path is None:
        stems = render_song(0, seconds=2 + seconds).values()
        song = np.sum(list(stems), axis=0).mean(1)
        music = librosa.resample(song, orig_sr=44100, target_sr=rate)[rate:-rate]
    else:
        with tempfile.TemporaryDirectory() as scratch:
            wav = readable(path, Path(scratch))
            music, _ = librosa.load(wav, sr=rate, mono=True, duration=seconds)
    if len(music) < rate // 2:
        raise UsageError(f"{path}: {len(music) / rate:.2f} s long, at least 0.5 s are needed")
    return music.astype(np.float64)
