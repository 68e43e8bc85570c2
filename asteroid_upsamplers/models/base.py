"""What the package's models for music share: separation of all channels, at any level.

[3] Défossez et al., "Music source separation in the waveform domain", arXiv 1911.13254.
"""

from __future__ import annotations

import importlib
import math
import numbers
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..blocks.arguments import at_least
from ..dsp import mono_level
from ..errors import UsageError
from ..files import file_names
from ..layers.settings import flag
from .portable import PortableModel


class MusicSeparator(PortableModel):
    """An Asteroid model for music: multichannel in, one multichannel signal a source out.

    ``separate`` differs from Asteroid's: it gives what the network gives and does not rescale the
    estimates to the mixture's level (which turns silence into NaN), and it keeps all channels.

    Args:
        sources: Names of the sources, in the order of the output; files are named after them
            (:func:`..files.file_names`).
        audio_channels: Channels of the input and of each source.
        sample_rate: In Hz.
        normalize: Whether the network was trained on music of level 1 (:func:`dsp.mono_level`). If
            so, ``separate`` divides the whole signal by its level and multiplies the estimates by
            it; ``forward`` never does.

    Raises:
        UsageError: (a ``ValueError``) for an impossible setting.

    Shape:
        ``(batch, audio_channels, time)`` -> ``(batch, len(sources), audio_channels, time)``.
    """

    sources: tuple[str, ...]
    normalize: bool

    def __init__(
        self,
        sources: Sequence[str],
        audio_channels: int,
        sample_rate: float,
        normalize: bool = False,
    ):
        name = type(self).__name__
        at_least(name, 1, audio_channels=audio_channels)
        names = file_names(f"{name}: sources", sources)
        if not isinstance(sample_rate, numbers.Real) or not 0 < sample_rate < math.inf:
            raise UsageError(f"{name}: sample_rate is {sample_rate}, must be a number above 0")
        super().__init__(sample_rate=sample_rate, in_channels=audio_channels)
        self.sources = names
        self.normalize = flag(name, "normalize", normalize)

    def check_shape(self, mixture: Tensor) -> None:
        """Refuse what is not ``(batch, audio_channels, time)`` with at least one sample.

        Raises:
            ValueError: With the shape that is needed.
        """
        if mixture.dim() != 3 or mixture.shape[1] != self.in_channels or mixture.shape[2] < 1:
            raise ValueError(
                f"mixture of shape {tuple(mixture.shape)}, must be (batch, {self.in_channels}, "
                "time) with at least one sample"
            )

    @property
    def upsampling_strides(self) -> tuple[int, ...]:
        """Factors of the layers that raise the sample rate, in order; none on spectrograms."""
        return ()

    @property
    def repeated_blocks(self) -> tuple[nn.Module, ...]:
        """The parts that run one after the other, where they hold most of the network.

        For what is done block by block to save memory; none if there are no such parts.
        """
        return ()

    def needed_context(self, time: int) -> tuple[int, int]:
        """Samples before and after a segment of ``time`` that :meth:`forward_with_context` needs.

        0, but in networks whose convolutions are not padded.
        """
        return 0, 0

    def forward_with_context(self, mixture: Tensor) -> Tensor:
        """The estimates for a segment of a longer signal, with real samples around it.

        Args:
            mixture: ``(batch, audio_channels, before + time + after)``, see :meth:`needed_context`.

        Returns:
            ``(batch, n_src, audio_channels, time)``, or longer: what fits the network's levels.
        """
        return self(mixture)

    def forward_wav(self, wav: Tensor, shifts: int = 0, seed: int = 0) -> Tensor:
        """The network for whole signals at any level.

        Args:
            wav: ``(batch, audio_channels, time)``.
            shifts: How many random delays of up to 0.5 s the estimates are averaged over
                (:mod:`..separation.shifts`; [3] takes 10), for as many times the work; 0 for none.
            seed: Of the delays.

        Returns:
            ``(batch, n_src, audio_channels, time)``.
        """
        levels = wav.new_ones(len(wav))
        if self.normalize:
            levels = wav.new_tensor([mono_level([signal]) for signal in wav])
        network: Callable[[Tensor], Tensor] = self
        if shifts:
            separation = _separation()
            longest = round(separation.MAX_SHIFT * self.sample_rate)
            network = separation.shift_averaged(self, shifts, longest, seed)
            wav = F.pad(wav, (longest, longest))
        estimates = network(wav / levels[:, None, None])
        return estimates * levels[:, None, None, None]

    @torch.no_grad()
    def torch_separate(self, wav: Tensor, **kwargs: Any) -> Tensor:
        """The estimates of the network, on the device of ``wav``, neither rescaled nor mixed down.

        Args:
            wav: ``(batch, audio_channels, time)`` or ``(audio_channels, time)``, of real numbers of
                any precision.
            **kwargs: For :meth:`forward_wav`.

        Returns:
            ``(batch, n_src, audio_channels, time)``, or without ``batch`` if ``wav`` has none, of
            the type of ``wav``.

        Raises:
            UsageError: For audio of another shape or type, without samples, or with NaN.
        """
        if wav.dim() not in (2, 3) or wav.shape[-2] != self.in_channels:
            raise UsageError(
                f"audio of shape {tuple(wav.shape)}: the model separates (batch, "
                f"{self.in_channels}, time) or ({self.in_channels}, time)"
            )
        if not wav.is_floating_point():
            raise UsageError(f"audio of {wav.dtype}: must be real numbers, between -1 and 1")
        if not wav.numel():
            raise UsageError(f"audio of shape {tuple(wav.shape)}: no samples")
        if not wav.isfinite().all():
            raise UsageError("the audio holds NaN or infinite samples")
        batch = wav if wav.dim() == 3 else wav[None]
        estimates = self.forward_wav(batch.to(next(self.parameters())), **kwargs).to(wav)
        if not estimates.isfinite().all():
            raise UsageError("the model gives NaN or infinite samples")
        return estimates if wav.dim() == 3 else estimates[0]

    def numpy_separate(self, wav: np.ndarray, **kwargs: Any) -> np.ndarray:
        """:meth:`torch_separate` for arrays."""
        return self.torch_separate(torch.from_numpy(wav), **kwargs).numpy()

    def file_separate(
        self,
        filename: str | PathLike,
        output_dir: str | PathLike | None = None,
        force_overwrite: bool = False,
        resample: bool = False,
        **kwargs: Any,
    ) -> None:
        """Separate a file into ``<name>_<source>.wav``, 32-bit float, at the file's own rate.

        The estimates are never rescaled: never normalise what is later scored.

        Args:
            filename: Any format that libsndfile or ffmpeg reads, with the model's number of
                channels, or mono.
            output_dir: Where to write; beside the file if ``None``.
            force_overwrite: Whether to replace files that exist, else they are kept.
            resample: Whether to resample a file with another rate, and the estimates back.
            **kwargs: ``seed`` of the shift trick, and what :class:`..separation.Chunking` takes; if
                no ``chunk`` is given, the whole file goes through the network at once.

        Raises:
            UsageError: If the file cannot be separated.
        """
        separation = _separation()
        seed = kwargs.pop("seed", 0)
        chunking = separation.Chunking(**{"chunk": math.inf, **kwargs})
        path, folder = Path(filename), None if output_dir is None else Path(output_dir)
        outputs = separation.output_paths(path, separation.source_names(self), folder)
        separation.separate_file(self, path, outputs, chunking, force_overwrite, resample, seed)

    def separate(self, wav: Any, **kwargs: Any) -> Any:
        """:meth:`torch_separate`, :meth:`numpy_separate` or :meth:`file_separate`, by type."""
        if isinstance(wav, Tensor):
            return self.torch_separate(wav, **kwargs)
        if isinstance(wav, np.ndarray):
            return self.numpy_separate(wav, **kwargs)
        return self.file_separate(wav, **kwargs)


def _separation() -> ModuleType:
    """The room that cuts and reads files: built on the models, so it cannot be imported above."""
    return importlib.import_module("asteroid_upsamplers.separation")
