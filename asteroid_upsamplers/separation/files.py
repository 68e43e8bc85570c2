"""Separate the files and folders that a user names."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import soundfile
import torch
from asteroid.models import BaseModel
from tqdm import tqdm

from ..errors import UsageError
from ..files import is_leftover
from ..models import load_model
from .channels import source_names
from .file import Chunking, separate_file

logger = logging.getLogger(__name__)

MORE_FORMATS = ("aac", "aif", "m4a", "mka", "mkv", "mov", "mp4", "opus", "webm", "wma")
AUDIO_SUFFIXES = {f".{name.lower()}" for name in (*soundfile.available_formats(), *MORE_FORMATS)}
"""What is taken from a folder; a file that is named is tried whatever its name."""


def separate_files(
    model: BaseModel,
    paths: Sequence[Path],
    output_dir: Path | None = None,
    force_overwrite: bool = False,
    chunk: float = 10.0,
    overlap: float = 0.25,
    progress: bool = True,
    shifts: int = 0,
    batch: int = 1,
) -> list[Path]:
    """Write ``<name>_<source>.wav`` for every file: 32-bit float, not rescaled.

    Outputs have the rate, length and channels of the file, whatever the model works with: it is
    resampled there and back; a model for one channel separates each of them; for a model for more a
    mono file is copied to all of them. Sources without names are called ``est1``, ``est2`` and so
    on; such models give them in any order, which is aligned between chunks and channels.

    Args:
        model: Any Asteroid model from waveform to waveforms, on its device; it is set to evaluation
            mode.
        paths: Files, and folders, which are searched for audio.
        output_dir: Where to write; beside the file if ``None``.
        force_overwrite: Whether to replace files that exist, else they are kept.
        chunk, overlap, shifts, batch: As :class:`Chunking` takes them.
        progress: Whether to show a progress bar, in seconds of audio.

    Returns:
        The files that were written.

    Raises:
        UsageError: If a path cannot be used, two outputs would have one name, or, after all others
            are separated, if some files could not be.
    """
    chunking = Chunking(chunk, overlap, shifts, batch)
    model.eval()
    tasks = _plan(paths, source_names(model), output_dir)
    written: list[Path] = []
    problems: list[UsageError] = []
    with tqdm(desc="separating", unit="s", unit_scale=True, disable=not progress) as bar:
        for path, outputs in tasks.items():
            try:
                made = separate_file(model, path, outputs, chunking, force_overwrite, bar=bar)
            except UsageError as error:
                if len(tasks) == 1:
                    raise
                logger.error("%s", error)
                problems.append(error)
                continue
            if not made:
                logger.info("%s: separated already (-f separates it again)", path)
            written += made
    if problems:
        raise UsageError(f"{len(problems)} of {len(tasks)} files could not be separated, see above")
    return written


def load_on_device(path: Path, device: str | None = None) -> BaseModel:
    """The model in a file, on a device: a GPU if there is one and none is named.

    Args:
        path: File of any Asteroid model.
        device: As torch names it, such as ``cuda:0``.

    Raises:
        UsageError: If the file is no model file, or there is no such device.
    """
    model = load_model(path)
    try:
        return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {device}: {str(error).splitlines()[0]}") from error


def output_paths(path: Path, names: Sequence[str], output_dir: Path | None) -> list[Path]:
    """``<name>_<source>.wav`` for each source, beside the file if ``output_dir`` is ``None``."""
    folder = path.parent if output_dir is None else output_dir
    return [folder / f"{path.stem}_{name}.wav" for name in names]


def _plan(
    paths: Sequence[Path], names: Sequence[str], output_dir: Path | None
) -> dict[Path, list[Path]]:
    """The outputs of every file that is named or found in a folder.

    Raises:
        UsageError: If a path does not exist, a folder has no audio, or two files have one output.
    """
    tasks: dict[Path, list[Path]] = {}
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: no such file")
        files = [path] if path.is_file() else _audio_in(path)
        found = {file: output_paths(file, names, output_dir) for file in files}
        if path.is_dir():  # what an earlier run wrote is no mixture
            estimates = {output for outputs in found.values() for output in outputs}
            found = {file: found[file] for file in files if file not in estimates}
        if not found:
            raise UsageError(f"{path}: no audio files in this folder")
        tasks |= found
    owners: dict[Path, Path] = {}
    for path, outputs in tasks.items():
        other = owners.setdefault(outputs[0], path)
        if other != path:
            raise UsageError(
                f"{other} and {path} would both write {outputs[0]}; separate them into different "
                "folders"
            )
    return tasks


def _audio_in(folder: Path) -> list[Path]:
    def is_audio(path: Path) -> bool:
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        return path.is_file() and path.suffix.lower() in AUDIO_SUFFIXES and not hidden

    return [path for path in sorted(folder.rglob("*")) if is_audio(path) and not is_leftover(path)]
