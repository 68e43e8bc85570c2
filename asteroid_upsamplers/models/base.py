"""What the package's models share: files that load safely, and separation in stereo.

[3] Défossez et al., "Music source separation in the waveform domain", arXiv 1911.13254.
"""

from __future__ import annotations

import importlib
import math
import pickle
import zipfile
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from asteroid.models import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F
from torch.torch_version import TorchVersion

from ..dsp import mono_level
from ..errors import UsageError
from ..files import damage_of

torch.serialization.add_safe_globals([TorchVersion])
"""Asteroid's own files hold one, a string; its own loading reads them now, too."""


class PortableModel(BaseModel):
    """An Asteroid model whose files hold plain values and tensors only, and are never unpickled."""

    def serialize(self) -> dict[str, Any]:
        """As Asteroid's, but of plain values and tensors, so that it loads with ``weights_only``.

        Returns:
            ``model_name``, ``state_dict``, ``model_args`` and ``infos``.
        """
        package = super().serialize()
        versions = package["infos"]["software_versions"]
        package["infos"]["software_versions"] = {k: str(v) for k, v in versions.items()}
        return package

    @classmethod
    def from_pretrained(
        cls, pretrained_model_conf_or_path: dict | str | PathLike, *args: Any, **kwargs: Any
    ) -> BaseModel:
        """Build a model from what :meth:`serialize` gave, or from a file of it.

        Args:
            pretrained_model_conf_or_path: The dictionary, a path, or a name that Asteroid knows.
            *args: For the model's constructor.
            **kwargs: For the model's constructor; they go before the stored ones.

        Raises:
            UsageError: (a ``ValueError``) if the file is no model file, or holds pickled code,
                which is never run.
        """
        target = pretrained_model_conf_or_path
        if isinstance(target, (str, PathLike)) and Path(target).exists():
            target = load_package(target)
        return super().from_pretrained(target, *args, **kwargs)


class MusicSeparator(PortableModel):
    """An Asteroid model for music: multichannel in, one multichannel signal a source out.

    Differs from Asteroid's ``BaseModel`` in two more ways. ``separate`` gives what the network
    gives: it does not rescale the estimates to the mixture's level (which turns silence into NaN).
    All channels are kept.

    Args:
        sources: Names of the sources, in the order of the output.
        audio_channels: Channels of the input and of each source.
        sample_rate: In Hz.
        normalize: Whether the network was trained on music of level 1 (:func:`dsp.mono_level`). If
            so, ``separate`` divides the whole signal by its level and multiplies the estimates by
            it; ``forward`` never does.

    Shape:
        ``(batch, audio_channels, time)`` -> ``(batch, len(sources), audio_channels, time)``.
    """

    def __init__(
        self,
        sources: tuple[str, ...],
        audio_channels: int,
        sample_rate: float,
        normalize: bool = False,
    ):
        super().__init__(sample_rate=sample_rate, in_channels=audio_channels)
        self.sources = tuple(sources)
        self.normalize = normalize

    def check_shape(self, mixture: Tensor) -> None:
        """Refuse what is not ``(batch, audio_channels, time)`` with a sample at least.

        Raises:
            ValueError: With the shape that is needed.
        """
        if mixture.dim() != 3 or mixture.shape[1] != self.in_channels or mixture.shape[2] < 1:
            raise ValueError(
                f"mixture of shape {tuple(mixture.shape)}, "
                f"(batch, {self.in_channels}, time >= 1) is needed"
            )

    @property
    def upsampling_strides(self) -> tuple[int, ...]:
        """Of the layers that raise the sample rate, the last one last; none on spectrograms."""
        return ()

    @property
    def repeated_blocks(self) -> tuple[nn.Module, ...]:
        """The parts that run one after the other, where they hold most of the network.

        For what is done block by block to save memory; none if there are no such parts.
        """
        return ()

    def needed_context(self, time: int) -> tuple[int, int]:
        """Samples before and after ``time`` of them that :meth:`forward_with_context` needs.

        None, but in networks whose convolutions are not padded.
        """
        return 0, 0

    def forward_with_context(self, mixture: Tensor) -> Tensor:
        """The estimates for an excerpt of a longer signal, with real samples around it.

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
            wav: ``(batch, audio_channels, time)`` or ``(audio_channels, time)``.
            **kwargs: For :meth:`forward_wav`.

        Returns:
            ``(batch, n_src, audio_channels, time)``, or without ``batch`` if ``wav`` has none.
        """
        if wav.dim() not in (2, 3) or wav.shape[-2] != self.in_channels:
            raise UsageError(
                f"audio of shape {tuple(wav.shape)}: the model separates (batch, "
                f"{self.in_channels}, time) or ({self.in_channels}, time)"
            )
        device = next(self.parameters()).device
        batch = wav if wav.dim() == 3 else wav[None]
        estimates = self.forward_wav(batch.to(device), **kwargs).to(wav.device)
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


def load_package(path: str | PathLike) -> dict[str, Any]:
    """Read a file that ``torch.save(model.serialize(), path)`` wrote; never runs code in it.

    Raises:
        UsageError: If it is no such file, naming it and the reason.
    """
    path = Path(path)
    damage = damage_of(path) if zipfile.is_zipfile(path) else None
    if damage is not None:
        raise UsageError(f"{path}: not a model file (damaged: {damage})")
    try:
        package = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{path}: refused, it is no model file or holds pickled code, which is never run "
            f"({_first_line(error)})"
        ) from None
    except Exception as error:  # bytes of another kind make the unpickler stumble in many ways
        raise UsageError(f"{path}: not a model file ({_first_line(error)})") from None
    needed = {"model_name", "state_dict", "model_args"}
    if not isinstance(package, dict) or not needed <= package.keys():
        raise UsageError(
            f"{path}: not a model file: it needs {', '.join(sorted(needed))}"
            + (" (a training checkpoint: use best_model.pth)" if _is_checkpoint(package) else "")
        )
    return package


def load_model(path: str | PathLike) -> BaseModel:
    """The model in a file, of any class that Asteroid knows, in evaluation mode.

    Raises:
        UsageError: As :func:`load_package`, or if the settings or weights do not fit the class.
    """
    package = load_package(path)
    try:
        return PortableModel.from_pretrained(package).eval()
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"{path}: cannot build its model ({_first_line(error)})") from None


def _separation() -> ModuleType:
    """The room that cuts and reads files: built on the models, so it cannot be imported above."""
    return importlib.import_module("asteroid_upsamplers.separation")


def _is_checkpoint(package: Any) -> bool:
    return isinstance(package, dict) and "pytorch-lightning_version" in package


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
