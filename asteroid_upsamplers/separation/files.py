"""Separate the files and folders that a user names."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Sequence
from pathlib import Path

import soundfile
import torch
from asteroid.models import BaseModel
from tqdm import tqdm

from ..errors import DISK_TROUBLE, UsageError, one_line, printable
from ..models import load_model
from .channels import source_names
from .devices import visible_gpus
from .file import Chunking, separate_file

logger = logging.getLogger(__name__)

MORE_FORMATS = "3gp aac ac3 aif amr ape dsf m4a m4b mka mkv mov mp2 mp4 oga opus tta webm wma wv"
AUDIO_SUFFIXES = {
    f".{name.lower()}" for name in (*soundfile.available_formats(), *MORE_FORMATS.split())
}
"""What is taken from a folder; a file that is named is tried whatever its name."""


class SomeFailedError(UsageError):
    """Some of several files could not be separated.

    Args:
        message: As of any :class:`UsageError`.
        written: What was written of the others.
    """

    def __init__(self, message: str, written: list[Path]):
        super().__init__(message)
        self.written = written


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
        UsageError: If two outputs would have one name, or an output would replace a file that is to
            be separated.
        SomeFailedError: After all others are separated, if some files could not be.
    """
    chunking = Chunking(chunk, overlap, shifts, batch)
    model.eval()
    tasks, problems = _plan(paths, source_names(model), output_dir)
    total = len(tasks) + len(problems)
    if len(problems) == total == 1:
        raise UsageError(problems[0])
    for problem in problems:
        logger.error("%s", printable(problem))
    written: list[Path] = []
    with tqdm(desc="separating", unit="s", unit_scale=True, disable=not progress, delay=1) as bar:
        for path, outputs in tasks.items():
            try:
                made = separate_file(model, path, outputs, chunking, force_overwrite, bar=bar)
            except Exception as error:  # whatever a file, a disk or a stranger's model raises
                disk = isinstance(error, OSError) and error.errno in DISK_TROUBLE
                if total == 1 and (disk or isinstance(error, UsageError)):
                    raise
                if total == 1:
                    raise UsageError(_problem(path, error)) from error
                problems.append(_problem(path, error))
                logger.error("%s", printable(problems[-1]))
                continue
            if not made:
                logger.info("%s: separated already (-f separates it again)", path)
            written += made
    if problems:
        message = f"{len(problems)} of {total} files could not be separated, see above"
        raise SomeFailedError(message, written)
    return written


def _problem(path: Path, error: Exception) -> str:
    """One line on what went wrong with a file."""
    if isinstance(error, UsageError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{path}: {error.strerror}"
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{where.filename}, line {where.lineno}"
    return f"{path}: {type(error).__name__}: {one_line(error)} ({place})"


def load_on_device(path: Path, device: str | None = None) -> BaseModel:
    """The model in a file, on a device: a GPU if there is one and none is named.

    Args:
        path: File of any Asteroid model.
        device: As torch names it, such as ``cuda:0``.

    Raises:
        UsageError: If the file is no model file, or there is no such device.
    """
    device = ("cuda" if visible_gpus() else "cpu") if device is None else device
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:  # NotImplementedError is a RuntimeError
        reason = one_line(error)
        raise UsageError(f"device {device!r} is not to be had here: {reason}") from error
    return load_model(path).to(device)


def output_paths(path: Path, names: Sequence[str], output_dir: Path | None) -> list[Path]:
    """``<name>_<source>.wav`` for each source, beside the file if ``output_dir`` is ``None``."""
    folder = path.parent if output_dir is None else output_dir
    return [folder / f"{path.stem}_{name}.wav" for name in names]


def _plan(
    paths: Sequence[Path], names: Sequence[str], output_dir: Path | None
) -> tuple[dict[Path, list[Path]], list[str]]:
    """The outputs of every file that is named or found in a folder, and folders without audio.

    Raises:
        UsageError: If two files have one output, or an output is a file to be separated.
    """
    tasks: dict[Path, list[Path]] = {}
    problems = []
    for path in paths:
        is_folder = os.path.isdir(path)  # False where Path.is_dir raises: names that are too long
        files = _audio_in(path) if is_folder else [path]
        found = {file: output_paths(file, names, output_dir) for file in files}
        if is_folder:  # what an earlier run wrote is no mixture
            estimates = {_place(output) for outputs in found.values() for output in outputs}
            found = {file: found[file] for file in files if _place(file) not in estimates}
        if not found:
            problems.append(f"{path}: no audio files in this folder")
        tasks |= found
    tasks = {path: tasks[path] for path in {_place(path): path for path in tasks}.values()}
    inputs = {_place(path): path for path in tasks}
    owners: dict[Path, Path] = {}
    for path, outputs in tasks.items():
        for output in outputs:
            place = _place(output)
            if place in inputs:
                raise UsageError(
                    f"{inputs[place]} is to be separated, and is where a source of {path} would be "
                    "written to; leave it out, or write to another folder"
                )
            other = owners.setdefault(place, path)
            if other != path:
                raise UsageError(
                    f"{other} and {path} would both write {output}; separate them into different "
                    "folders"
                )
    return tasks, problems


def _place(path: Path) -> Path:
    """The same for all ways to write the same path; a link is not the file that it points to."""
    return path.parent.resolve() / path.name


def _audio_in(folder: Path) -> list[Path]:
    """What looks like audio by its name; other files are counted, and hidden ones ignored."""

    def stop(error: OSError) -> None:
        raise UsageError(f"{error.filename}: cannot be read ({error.strerror})") from error

    found: list[Path] = []
    others: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=stop):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(parent, name) for name in names if not name.startswith(".")):
            (found if path.suffix.lower() in AUDIO_SUFFIXES else others).append(path)
    if others:
        example = min(others).relative_to(folder)
        words = "%s: left out %d file(s) whose names are not those of audio, such as %s"
        logger.info(words, folder, len(others), printable(str(example)))
    return sorted(found)
