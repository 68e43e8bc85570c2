"""What ``asteroid-upsamplers probe`` is pointed at: a model file, a factory, or a recording."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
from torch import Tensor, nn

from ..audio import read_wav
from ..errors import UsageError
from ..models import load_model

MODEL_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".th")
RATE_ATTRIBUTES = ("sample_rate", "samplerate", "sampling_rate")
CHANNEL_ATTRIBUTES = ("in_channels", "audio_channels", "n_mels")
MOST_WAVEFORM_CHANNELS = 8
"""A network that takes more channels takes frames of features, not samples."""

FRAMES = 400
DEFAULT_RATE = 44100


@dataclass(frozen=True, eq=False)
class NetworkTarget:
    """A network, and how to feed it.

    Args:
        name: As the user gave it.
        network: In evaluation mode.
        sample_rate: Of its output, in Hz.
        input_shape: With the batch.
        remarks: What had to be assumed.
    """

    name: str
    network: Callable[[Tensor], Tensor]
    sample_rate: float
    input_shape: tuple[int, ...]
    remarks: list[str]


@dataclass(frozen=True, eq=False)
class RecordingTarget:
    """A recording: its name, samples ``(channels, time)``, and sample rate in Hz."""

    name: str
    signal: Tensor
    sample_rate: int


def open_target(
    target: str,
    sample_rate: float | None = None,
    input_shape: Sequence[int] | None = None,
    seconds: float = 6.0,
    settings: dict[str, Any] | None = None,
) -> NetworkTarget | RecordingTarget:
    """Find out what a target is, and load it.

    Args:
        target: Path of an Asteroid model file or of a recording, or ``package.module:factory``,
            which is called with ``settings`` and gives a network.
        sample_rate: Of the network's output, in Hz; the network's own if ``None``.
        input_shape: With the batch; guessed if ``None``: one example of as many channels as the
            network says or its first convolution takes.
        seconds: Length of a guessed input.
        settings: For a factory.

    Raises:
        UsageError: If there is no such thing, or it cannot be loaded.
    """
    path = Path(target)
    if path.suffix in MODEL_SUFFIXES:
        if not path.is_file():
            raise UsageError(f"{target}: no such file")
        network: Any = load_model(path)
    elif path.is_file():
        return RecordingTarget(target, read_wav(path), _rate_of(path))
    elif ":" in target:
        network = _built(target, settings or {})
    else:
        raise UsageError(
            f"{target}: no such file, and no package.module:factory; allowed are a model file "
            f"({', '.join(MODEL_SUFFIXES)}), a recording, or package.module:factory"
        )
    remarks = []
    rate = sample_rate or _attribute(network, RATE_ATTRIBUTES)
    if not rate:
        rate = DEFAULT_RATE
        remarks.append(f"the network states no sample rate: {rate} Hz assumed (--sample_rate)")
    shape = tuple(input_shape) if input_shape else _guessed_shape(network, rate, seconds)
    return NetworkTarget(target, network, float(rate), shape, remarks)


def _rate_of(path: Path) -> int:
    return int(soundfile.info(path).samplerate)


def _built(target: str, settings: dict[str, Any]) -> Any:
    module_name, _, factory_name = target.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # a factory in the folder that the command is called from
    try:
        module = importlib.import_module(module_name)
        factory = getattr(module, factory_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"{target}: {error}") from None
    try:
        network = factory(**settings)
    except Exception as error:  # whatever a stranger's factory raises
        reason = str(error).splitlines()[0] if str(error) else ""
        raise UsageError(
            f"{target}: cannot be built with {settings or 'no settings'}: "
            f"{type(error).__name__}: {reason} (--settings)"
        ) from error
    if not callable(network):
        raise UsageError(f"{target}: gives a {type(network).__name__}, a network is needed")
    return network.eval() if isinstance(network, nn.Module) else network


def _attribute(network: Any, names: Sequence[str]) -> Any:
    values = (getattr(network, name, None) for name in names)
    return next((v for v in values if isinstance(v, (int, float)) and v > 0), None)


def _guessed_shape(network: Any, rate: float, seconds: float) -> tuple[int, ...]:
    channels = _attribute(network, CHANNEL_ATTRIBUTES)
    if channels is None and isinstance(network, nn.Module):
        first = (m for m in network.modules() if isinstance(m, (nn.Conv1d, nn.ConvTranspose1d)))
        channels = next((m.in_channels for m in first), None)
    channels = int(channels or 1)
    if channels > MOST_WAVEFORM_CHANNELS:
        hop = _attribute(network, ("hop", "hop_length", "hop_size"))
        return (1, channels, round(seconds * rate / hop) if hop else FRAMES)
    return (1, channels, round(seconds * rate))
