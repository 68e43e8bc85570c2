"""Separate anybody's files: any format, rate, channels and length, by any Asteroid model."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile
import torch
from asteroid.losses import PITLossWrapper, pairwise_mse
from asteroid.models import BaseModel
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from ..audio import read_blocks, read_wav, readable, resample_file, writing_wavs
from ..dsp import mono_level
from ..errors import UsageError, is_out_of_memory
from ..files import is_leftover, scratch_folder
from ..models import MAX_SHIFT, MusicSeparator, load_model
from .chunks import no_context, separate_chunks
from .shifts import shift_averaged, shifted_context

logger = logging.getLogger(__name__)

MORE_FORMATS = ("aac", "aif", "m4a", "mka", "mkv", "mov", "mp4", "opus", "webm", "wma")
AUDIO_SUFFIXES = {f".{name.lower()}" for name in (*soundfile.available_formats(), *MORE_FORMATS)}
"""What is taken from a folder; a file that is named is tried whatever its name."""

SHORTEST = 1024
"""Samples; less than a network may need for a frame is filled up with silence."""


@dataclass(frozen=True)
class Chunking:
    """How a long signal is taken apart.

    Args:
        chunk: Length in s of what is separated at a time.
        overlap: Share of a chunk that it has in common with the next, up to 0.5.
        shifts: Over how many random delays each chunk is averaged; 0 for none.
        batch: How many chunks go through the network at once: more is faster on a GPU and needs
            more memory.

    Raises:
        UsageError: If one of them makes no sense.
    """

    chunk: float = 10.0
    overlap: float = 0.25
    shifts: int = 0
    batch: int = 1

    def __post_init__(self) -> None:
        if not (self.chunk > 0 and 0 <= self.overlap <= 0.5):
            raise UsageError(
                f"chunk {self.chunk} s and overlap {self.overlap}: allowed is a chunk above 0 and "
                "an overlap from 0 to 0.5"
            )
        if self.shifts < 0:
            raise UsageError(f"shifts is {self.shifts}, allowed is 0 and up")
        if self.batch < 1:
            raise UsageError(f"batch is {self.batch}, allowed is 1 and up")


@dataclass(frozen=True)
class Task:
    """A file, and where its sources go.

    Args:
        path: The mixture.
        outputs: A wav file for each source.
    """

    path: Path
    outputs: list[Path]


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

    Files have the rate, length and channels of the mixture, whatever the model works with: it is
    resampled there and back; a model for one channel separates each of them; for a model for two a
    mono file is doubled. Sources without names are called ``est1``, ``est2`` and so on; as their
    order is the model's whim, that of every chunk and channel is matched with the one before.

    Args:
        model: Any Asteroid model from waveform to waveforms, on the device it shall run on.
        paths: Files, and folders, which are searched for audio.
        output_dir: Where to write; beside the files if ``None``.
        force_overwrite: Whether to replace files that exist, else they are kept.
        chunk: Length in s of what is separated at a time.
        overlap: Share of a chunk that it has in common with the next, up to 0.5.
        progress: Whether to show a progress bar, in seconds of audio.
        shifts: Over how many random delays to average each chunk (:mod:`..dsp.shifts`); 0 for none.
        batch: How many chunks go through the network at once: more is faster on a GPU and needs
            more memory.

    Returns:
        The files that were written.

    Raises:
        UsageError: If nothing is to be found, outputs would overwrite one another, or, after all
            others are separated, if some files could not be.
    """
    chunking = Chunking(chunk, overlap, shifts, batch)
    if not model.sample_rate:
        raise UsageError(
            f"the {type(model).__name__} states no sample rate; asteroid-register-sr writes one "
            "into its file"
        )
    model.eval()
    tasks = plan(paths, source_names(model), output_dir)
    written, problems = [], []
    with tqdm(desc="separating", unit="s", unit_scale=True, disable=not progress) as bar:
        for task in tasks:
            missing = [path for path in task.outputs if force_overwrite or not path.exists()]
            if not missing:
                logger.info("%s: separated already (-f separates it again)", task.path)
                continue
            try:
                separate_file(model, task, missing, chunking, bar)
                written += missing
            except UsageError as error:
                logger.error("%s", error)
                problems.append(task.path)
    if problems:
        raise UsageError(f"{len(problems)} of {len(tasks)} files could not be separated, see above")
    return written


def load_on_device(path: Path, device: str | None = None) -> BaseModel:
    """The model in a file, on a device: a GPU if there is one and none is named.

    Raises:
        UsageError: If the file is no model file, or there is no such device.
    """
    model = load_model(path)
    try:
        return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {device}: {str(error).splitlines()[0]}") from None


def plan(paths: Sequence[Path], sources: Sequence[str], output_dir: Path | None) -> list[Task]:
    """Find the files, and the outputs of each.

    Raises:
        UsageError: If a path does not exist, a folder has no audio, or two files have one output.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = [
                p
                for p in sorted(path.rglob("*"))
                if p.is_file() and p.suffix.lower() in AUDIO_SUFFIXES and not _is_hidden(p, path)
            ]
            made = {_output(p, source, output_dir) for p in inside for source in sources}
            inside = [p for p in inside if p not in made]
            if not inside:
                raise UsageError(f"{path}: no audio files in this folder")
            found |= dict.fromkeys(inside)
        elif path.exists():
            found[path] = None
        else:
            raise UsageError(f"{path}: no such file")
    tasks = [Task(p, [_output(p, source, output_dir) for source in sources]) for p in found]
    owners: dict[Path, Path] = {}
    for task in tasks:
        other = owners.setdefault(task.outputs[0], task.path)
        if other != task.path:
            raise UsageError(
                f"{other} and {task.path} would both write {task.outputs[0]}; separate them into "
                "different folders"
            )
    return tasks


@torch.no_grad()
def source_names(model: BaseModel) -> list[str]:
    """The names that the model gives its sources, else ``est1``, ``est2`` and so on."""
    names = getattr(model, "sources", None)
    if names:
        return list(names)
    parameter = next(model.parameters())
    silence = torch.zeros(1, model.in_channels or 1, 8 * SHORTEST).to(parameter)
    return [f"est{i + 1}" for i in range(model.forward_wav(silence).shape[1])]


def _is_hidden(path: Path, folder: Path) -> bool:
    return is_leftover(path) or any(p.startswith(".") for p in path.relative_to(folder).parts)


def _output(path: Path, source: str, output_dir: Path | None) -> Path:
    return (output_dir or path.parent) / f"{path.stem}_{source}.wav"


def separate_file(
    model: BaseModel, task: Task, missing: Sequence[Path], chunking: Chunking, bar: tqdm
) -> None:
    """Separate one file, as :func:`separate_files` does.

    Args:
        model: As there.
        task: The file and its outputs, in the order of the model's sources.
        missing: Which outputs to write.
        chunking: How.
        bar: Moved on by seconds of audio, and made longer where they are more than it expects.

    Raises:
        UsageError: If the file cannot be separated.
    """
    with scratch_folder(task.outputs[0]) as scratch:
        mixture = readable(task.path, scratch)
        info = soundfile.info(mixture)
        rate = int(model.sample_rate)
        if info.samplerate != rate:
            resample_file(mixture, scratch / "mixture.wav", rate)
            mixture = scratch / "mixture.wav"
        estimates = [scratch / output.name for output in task.outputs]
        bar.total = max(bar.total or 0, bar.n + info.frames / info.samplerate)
        bar.set_postfix_str(task.path.name)
        try:
            _separate_wav(model, task.path, mixture, estimates, chunking, bar)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise UsageError(
                f"{task.path}: the device is out of memory: lower batch ({chunking.batch} chunks) "
                f"or chunk ({chunking.chunk:g} s)"
            ) from None
        for output, estimate in zip(task.outputs, estimates, strict=True):
            if output not in missing:
                continue
            if info.samplerate != rate:
                back = estimate.with_suffix(".resampled.wav")
                resample_file(estimate, back, info.samplerate, info.frames)
                estimate = back
            os.replace(estimate, output)


def _separate_wav(
    model: BaseModel,
    name: Path,
    mixture: Path,
    estimates: list[Path],
    chunking: Chunking,
    bar: tqdm,
) -> None:
    """Separate a file of the model's rate into files of the same length and channels."""
    info = soundfile.info(mixture)
    rate = info.samplerate
    frames = max(1 if isinstance(model, MusicSeparator) else SHORTEST, round(chunking.chunk * rate))
    match = None if getattr(model, "sources", None) else _same_order
    separate = _separator(model, name, info.channels, match)
    context = getattr(model, "needed_context", no_context)
    if chunking.shifts:
        longest = round(MAX_SHIFT * rate)
        generator = torch.Generator().manual_seed(0)
        separate = shift_averaged(
            separate, chunking.shifts, longest, generator, match, own_delays=True
        )
        context = shifted_context(context, longest)
    level = mono_level(read_blocks(mixture)) if getattr(model, "normalize", False) else 1.0
    blocks = separate_chunks(
        lambda x: separate(x / level) * level,
        lambda start, stop: read_wav(mixture, start, stop),
        info.frames,
        frames,
        int(chunking.overlap * frames),
        match,
        context,
        chunking.batch,
    )
    with writing_wavs(estimates, rate, info.channels, info.frames) as files:
        for block in blocks:
            for file, estimate in zip(files, block, strict=True):
                file.write(estimate.T.numpy())
            bar.update(block.shape[-1] / rate)


def _separator(
    model: BaseModel,
    name: Path,
    channels: int,
    match: Callable[[Tensor, Tensor], Tensor] | None,
) -> Callable[[Tensor], Tensor]:
    """``(n, channels, time)`` -> ``(n, n_src, channels, time)``, for the channels of a file.

    Raises:
        UsageError: If the model cannot do with them.
    """
    wanted = model.in_channels or 1
    if wanted not in (1, channels) and channels != 1:
        raise UsageError(
            f"{name}: {channels} channels, the model separates {wanted}; allowed are {wanted} or 1"
        )
    parameter = next(model.parameters())

    @torch.no_grad()
    def network(x: Tensor) -> Tensor:
        if isinstance(model, MusicSeparator):
            return model.forward_with_context(x.to(parameter)).float().cpu()
        time = x.shape[-1]
        x = F.pad(x, (0, max(0, SHORTEST - time))).to(parameter)
        return model.forward_wav(x)[..., :time].float().cpu()

    def each_channel(x: Tensor) -> Tensor:
        y = network(x.reshape(-1, 1, x.shape[-1])).flatten(1, -2)
        return torch.stack([in_one_order(rows) for rows in y.split(channels)])

    def in_one_order(rows: Tensor) -> Tensor:
        first = rows[0]
        others = [row if match is None else match(first, row) for row in rows[1:]]
        return torch.stack([first, *others], 1)

    def together(x: Tensor) -> Tensor:
        y = network(x.expand(-1, wanted, -1))
        y = y if y.dim() == 4 else y[:, :, None].expand(-1, -1, channels, -1)
        return y if channels == wanted else y.mean(2, keepdim=True)

    return each_channel if wanted == 1 else together


def _same_order(reference: Tensor, estimates: Tensor) -> Tensor:
    """``estimates`` in the order that is nearest to ``reference``, where both have samples.

    Args:
        reference: ``(n_src, ..., time)``.
        estimates: ``(n_src, ..., time)``, with at least as many samples.
    """
    head = estimates[..., : reference.shape[-1]].reshape(1, len(estimates), -1)
    pairs = pairwise_mse(head, reference.reshape(1, len(reference), -1))
    _, order = PITLossWrapper.find_best_perm(pairs)
    return estimates[order[0]]
