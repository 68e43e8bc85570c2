"""Compute figures, and write each as a picture and as numbers."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import librosa
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from ..data.demo_songs import render_song
from ..errors import UsageError
from ..files import whole_or_nothing
from .spectrograms import finite
from .stacks import RATE, SECONDS

FIGURES = range(1, 11)


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
        music: What Fig. 6 is fed with beside noise: any file that librosa reads; a demo song if
            ``None``.
        seed: Of all weights and noise.
        progress: Whether to show a progress bar.

    Returns:
        The files.

    Raises:
        UsageError: For a figure that the paper does not have, or music that cannot be read.
    """
    unknown = sorted(set(numbers) - set(FIGURES))
    if unknown:
        raise UsageError(f"no figure {unknown[0]}: the paper has figures 1 to {FIGURES[-1]}")
    written = []
    for number in tqdm(sorted(set(numbers)), "figures", disable=not progress):
        drawing, arrays = _drawn(number, music, seed)
        picture = out / f"figure{number}.png"
        with whole_or_nothing(picture) as partial:
            drawing.savefig(partial, format="png")
        plt.close(drawing)
        table = out / f"figure{number}.json"
        content = {"figure": number, "seed": seed, "numbers": finite(arrays["numbers"])}
        with whole_or_nothing(table) as partial:
            partial.write_text(json.dumps(content, indent=2) + "\n")
        written += [picture, table]
    return written


def show(number: int, music: Path | None = None, seed: int = 0) -> dict[str, Any]:
    """Draw a figure in a notebook.

    Returns:
        What its module computed.
    """
    _, arrays = _drawn(number, music, seed)
    plt.show()
    return arrays


def _drawn(number: int, music: Path | None, seed: int) -> tuple[Figure, dict[str, Any]]:
    module = figure(number)
    settings: dict[str, Any] = {"seed": seed}
    if "music" in inspect.signature(module.compute).parameters:
        settings["music"] = music_at_4_khz(music)
    arrays = module.compute(**settings)
    with matplotlib.rc_context({"figure.dpi": 110, "font.size": 9}):
        drawing, axes = plt.subplots(*module.GRID, figsize=module.SIZE, layout="constrained")
        module.draw(axes, arrays)
    return drawing, arrays


def figure(number: int) -> ModuleType:
    """The module of one figure."""
    return import_module(f"{__package__}.figure{number}")


def music_at_4_khz(path: Path | None) -> np.ndarray:
    """Three seconds of music, ``(time,)``, mono, at 4 kHz.

    Raises:
        UsageError: If the file cannot be read, or holds less than half a second.
    """
    if path is None:
        stems = render_song(0, seconds=2 + SECONDS).values()
        song = np.sum(list(stems), axis=0).mean(1)
        music = librosa.resample(song, orig_sr=44100, target_sr=RATE)[RATE:-RATE]
    else:
        try:
            music, _ = librosa.load(path, sr=RATE, mono=True, duration=SECONDS)
        except Exception as error:  # librosa's backends each raise their own
            raise UsageError(
                f"{path}: cannot be read ({str(error) or type(error).__name__})"
            ) from None
    if len(music) < RATE // 2:
        raise UsageError(f"{path}: {len(music) / RATE:.2f} s, at least 0.5 s are needed")
    return music.astype(np.float64)
