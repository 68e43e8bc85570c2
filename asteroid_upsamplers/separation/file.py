"""Separate one audio file: any format, rate, channels and length, in bounded memory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
from asteroid.models import BaseModel
from tqdm import tqdm

from ..audio import read_blocks, read_wav, readable, resample_file, writing_wavs
from ..dsp import mono_level
from ..errors import UsageError, is_out_of_memory
from ..files import scratch_folder
from ..models import MusicSeparator
from .channels import SHORTEST, same_order, separator
from .chunks import no_context, separate_chunks
from .shifts import MAX_SHIFT, shift_averaged, shifted_context

SHORTEST_CHUNK = 0.05
"""In s. Shorter chunks would take hours."""


@dataclass(frozen=True)
class Chunking:
    """How a long signal is cut into chunks.

    Args:
        chunk: Length of a chunk in s, at least 0.05; ``math.inf`` for the whole file at once.
        overlap: Share of a chunk that it has in common with the next, 0 to 0.5.
        shifts: How many random delays each chunk is averaged over (:mod:`.shifts`); 0 for none.
        batch: How many chunks go through the network at once: more is faster on a GPU and needs
            more memory.

    Raises:
        UsageError: If one of them is out of range.
    """

    chunk: float = 10.0
    overlap: float = 0.25
    shifts: int = 0
    batch: int = 1

    def __post_init__(self) -> None:
        if not self.chunk >= SHORTEST_CHUNK:
            raise UsageError(f"chunk is {self.chunk} s, must be at least {SHORTEST_CHUNK} s")
        if not 0 <= self.overlap <= 0.5:
            raise UsageError(f"overlap is {self.overlap}, must be between 0 and 0.5 of a chunk")
        for name, value, least in (("shifts", self.shifts, 0), ("batch", self.batch, 1)):
            if not isinstance(value, int) or value < least:
                raise UsageError(f"{name} is {value}, must be an integer of at least {least}")


def separate_file(
    model: BaseModel,
    path: Path,
    outputs: Sequence[Path],
    chunking: Chunking | None = None,
    force_overwrite: bool = False,
    resample: bool = True,
    seed: int = 0,
    bar: tqdm | None = None,
) -> list[Path]:
    """Write the sources of one file as 32-bit float wav, with the file's rate and channels.

    Estimates are never rescaled: a model that was trained on music of level 1 gets the file divided
    by its level, and the estimates are multiplied by the same level.

    Args:
        model: Any Asteroid model from waveform to waveforms, in evaluation mode, on its device.
        path: The mixture, in any format that libsndfile or ffmpeg reads.
        outputs: A file for each source, in the model's order.
        chunking: How it is cut into chunks; :class:`Chunking` has the defaults.
        force_overwrite: Whether to replace outputs that exist, else they are kept.
        resample: Whether to resample a file whose rate is not the model's, and the estimates back.
        seed: Of the delays of the shift trick.
        bar: Progress bar in seconds of audio; its total grows where the file exceeds it.

    Returns:
        The outputs that were written.

    Raises:
        UsageError: If the file cannot be separated.
    """
    chunking = chunking or Chunking()
    kept = [output for output in outputs if output.exists() and not force_overwrite]
    if len(kept) == len(outputs):
        return []
    for output in outputs:
        if output.is_dir():
            raise UsageError(f"{path}: cannot be written to {output}, which is a folder")
    with scratch_folder(outputs[0].parent) as scratch, _naming(path, scratch, chunking):
        mixture, info = _mixture_at_rate(model, path, scratch, resample)
        if bar is not None:
            bar.total = max(bar.total or 0, bar.n + info.duration)
            bar.set_postfix_str(path.name)
        estimates = [scratch / f"{number}.wav" for number, _ in enumerate(outputs)]
        _separate_wav(model, mixture, estimates, chunking, seed, bar)
        made = dict(zip(outputs, estimates, strict=True))
        made = {output: made[output] for output in outputs if output not in kept}
        if info.samplerate != int(model.sample_rate):
            for output, estimate in made.items():
                made[output] = estimate.with_suffix(".resampled.wav")
                resample_file(estimate, made[output], info.samplerate, info.frames)
        for output, estimate in made.items():
            os.replace(estimate, output)
    return list(made)


@contextlib.contextmanager
def _naming(path: Path, scratch: Path, chunking: Chunking) -> Iterator[None]:
    """Errors name the file that the user named, whatever file in ``scratch`` they are about."""
    try:
        yield
    except UsageError as error:
        reason = str(error).removeprefix(f"{path}: ")
        if reason.startswith(str(scratch)):
            reason = reason.removeprefix(str(scratch)).partition(": ")[2]
        raise UsageError(f"{path}: {reason}") from error
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UsageError(
            f"{path}: the device is out of memory: lower batch ({chunking.batch} chunks) or "
            f"chunk ({chunking.chunk:g} s)"
        ) from error


def _mixture_at_rate(
    model: BaseModel, path: Path, scratch: Path, resample: bool
) -> tuple[Path, Any]:
    """A file that the model can read, and what soundfile says of it before it is resampled."""
    if not model.sample_rate:
        raise UsageError(
            f"the {type(model).__name__} states no sample rate; asteroid-register-sr writes one "
            "into its file"
        )
    mixture, rate, wanted = readable(path, scratch), int(model.sample_rate), model.in_channels or 1
    info = soundfile.info(mixture)
    if wanted != 1 and info.channels not in (1, wanted):
        raise UsageError(
            f"{path}: {info.channels} channels, must be 1 or {wanted}; mix it down first "
            f"(ffmpeg -i FILE -ac {wanted} OTHER.wav)"
        )
    if info.samplerate != rate:
        if not resample:
            raise UsageError(
                f"{path}: {info.samplerate} Hz, the model needs {rate} Hz or resample=True"
            )
        resample_file(mixture, scratch / "mixture.wav", rate)
        mixture = scratch / "mixture.wav"
    return mixture, info


def _separate_wav(
    model: BaseModel,
    mixture: Path,
    estimates: list[Path],
    chunking: Chunking,
    seed: int,
    bar: tqdm | None,
) -> None:
    """Separate a file of the model's rate into files of the same length and channels."""
    info = soundfile.info(mixture)
    rate = info.samplerate
    chunk = round(min(chunking.chunk * rate, info.frames))
    chunk = max(1 if isinstance(model, MusicSeparator) else SHORTEST, chunk)
    match = None if getattr(model, "sources", None) else same_order
    separate = separator(model, info.channels, match)
    context = getattr(model, "needed_context", no_context)
    if chunking.shifts:
        longest = round(MAX_SHIFT * rate)
        separate = shift_averaged(separate, chunking.shifts, longest, seed, match)
        context = shifted_context(context, longest)
    level = mono_level(read_blocks(mixture)) if getattr(model, "normalize", False) else 1.0
    blocks = separate_chunks(
        lambda x: separate(x / level) * level,
        lambda start, stop: read_wav(mixture, start, stop),
        info.frames,
        chunk,
        int(chunking.overlap * chunk),
        match,
        context,
        chunking.batch,
    )
    with writing_wavs(estimates, rate, info.channels, info.frames) as files:
        for block in blocks:
            if not block.isfinite().all():
                raise UsageError("the model gives NaN or infinite samples; nothing was written")
            for file, estimate in zip(files, block, strict=True):
                file.write(estimate.T.numpy())
            if bar is not None:
                seconds = block.shape[-1] / rate
                bar.total = max(bar.total or 0, bar.n + seconds)  # sums are rounded
                bar.update(seconds)
