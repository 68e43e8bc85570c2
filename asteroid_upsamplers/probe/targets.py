"""What ``asteroid-upsamplers probe`` is pointed at: a model file, a factory, or a recording."""

from __future__ import annotations

import importlib
import math
import sys
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn.parameter import is_lazy

from ..errors import UsageError, one_line
from .feed import Network, cause_of
from .onnx_file import OnnxNetwork

MODEL_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".th")
PROGRAM_SUFFIXES = (".ts", ".jit", ".pt2")
"""Names of archives of TorchScript and torch.export, by which a user says that they are code."""

PROGRAMS = {"constants.pkl": "TorchScript", "archive_format": "torch.export"}
"""Files in such archives, and what wrote them."""

ONNX = ".onnx"
RATE_ATTRIBUTES = ("sample_rate", "samplerate", "sampling_rate")
MEL_ATTRIBUTES = ("n_mels", "num_mels", "n_mel_channels", "num_mel_bins", "n_mel", "model_in_dim")
CHANNEL_ATTRIBUTES = ("in_channels", "audio_channels", *MEL_ATTRIBUTES)
SETTINGS = ("config", "h", "hparams", "cfg", "args")
"""Where networks keep their settings."""

HOP_ATTRIBUTES = ("hop", "hop_length", "hop_size")
MOST_WAVEFORM_CHANNELS = 8
"""A network that takes more channels takes frames of features, not samples."""

FRAMES = 400
DEFAULT_RATE = 44100


def load_network(target: str, settings: dict[str, Any], torchscript: bool = False) -> Network:
    """The network of an Asteroid model file, of an ONNX file, or that a factory makes.

    Args:
        target: What the user named.
        settings: Arguments of the factory, or values of the ONNX file's further inputs.
        torchscript: Whether an archive of TorchScript or torch.export, which is code, is run
            whatever its name.
    """
    if is_onnx(target):
        return OnnxNetwork(Path(target), settings)
    if is_model_file(target):
        kind = _program(Path(target))
        if torchscript or _suffix(target) in PROGRAM_SUFFIXES:
            return _loaded(target, kind)
        if kind is not None:
            raise UsageError(
                f"{target}: is a {kind} program, which is code: pass --torchscript to run it, if "
                "you trust it"
            )
        # of the same rank, so imported here; it registers our models with Asteroid
        return importlib.import_module("asteroid_upsamplers.models").load_model(target)
    if ":" in target:
        return _built(target, settings)
    suffixes = ", ".join((*MODEL_SUFFIXES, *PROGRAM_SUFFIXES, ONNX))
    raise UsageError(
        f"{target}: no such file, and no package.module:factory; pass a model file ({suffixes}), "
        "a recording, or package.module:factory"
    )


def _program(path: Path) -> str | None:
    """Whose archive of code a file is; ``None`` if it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        return None
    return next((kind for name, kind in PROGRAMS.items() if name in names), None)


def _loaded(target: str, kind: str | None) -> Network:
    if not Path(target).is_file():
        raise UsageError(f"{target}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of how torch reads its own archives
            if kind == "torch.export":
                return torch.export.load(target).module()
            if kind == "TorchScript":
                return torch.jit.load(target, map_location="cpu")
    except Exception as error:  # whatever torch raises for a damaged archive
        raise UsageError(f"{target}: cannot be loaded: {one_line(error)}") from error
    raise UsageError(f"{target}: damaged, or no archive of torch.jit.save or torch.export.save")


def _suffix(target: str) -> str:
    return Path(target).suffix.lower()


def is_onnx(target: str) -> bool:
    """Whether a target is an ONNX file, by its name."""
    return _suffix(target) == ONNX and ":" not in target


def is_model_file(target: str) -> bool:
    """Whether a target is a model file, by its name, or by its beginning if it has another name."""
    path = Path(target)
    if path.suffix.lower() in (*MODEL_SUFFIXES, *PROGRAM_SUFFIXES):
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"  # as torch.save writes, and no recording


def rate_of(network: Network, sample_rate: float | None) -> tuple[float, list[str]]:
    """The rate as given or as the network states it, in Hz, and a remark if it is assumed."""
    rate = sample_rate or stated(network, RATE_ATTRIBUTES)
    if rate:
        return float(rate), []
    remark = f"the network states no sample rate: {DEFAULT_RATE} Hz assumed (--sample_rate)"
    return float(DEFAULT_RATE), [remark]


def _built(target: str, settings: dict[str, Any]) -> Network:
    module_name, _, factory_name = target.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # a factory in the folder that the command is called from
    try:
        factory = getattr(importlib.import_module(module_name), factory_name)
    except (Exception, SystemExit) as error:  # whatever a stranger's module raises
        raise UsageError(f"{target}: cannot be imported: {cause_of(error)}") from error
    try:
        network = factory(**settings)
    except (Exception, SystemExit) as error:  # whatever a stranger's factory raises
        raise UsageError(
            f"{target}: cannot be built with {settings or 'no settings'}: {cause_of(error)} "
            "(--settings)"
        ) from error
    if not callable(network):
        raise UsageError(f"{target}: gives a {type(network).__name__}, but must give a network")
    weights = network.parameters() if isinstance(network, nn.Module) else ()
    if any(is_lazy(weight) or weight.is_meta for weight in weights):
        raise UsageError(
            f"{target}: gives a network without weights (lazy, or on the device meta): run it "
            "once, or load them, in the factory"
        )
    return network


def usual_shape(network: Network, rate: float, seconds: float) -> tuple[int, ...]:
    """One example of samples or frames, of as many channels as the network seems to take."""
    if isinstance(network, OnnxNetwork):
        return network.shape(round(seconds * rate), FRAMES, MOST_WAVEFORM_CHANNELS)
    if isinstance(network, GraphModule):
        return _shape_of_program(network, round(seconds * rate))
    channels = stated(network, CHANNEL_ATTRIBUTES)
    if channels is None and isinstance(network, nn.Module):
        channels = next(filter(None, map(_taken_by, network.modules())), 1)
    time = round(seconds * rate)
    if channels and channels > MOST_WAVEFORM_CHANNELS:
        hop = stated(network, HOP_ATTRIBUTES)
        time = round(seconds * rate / hop) if hop else FRAMES
    return 1, int(channels or 1), time


def _shape_of_program(program: GraphModule, samples: int) -> tuple[int, ...]:
    """As torch.export noted it; the last free axis is time."""
    inputs = (n.meta["val"] for n in program.graph.nodes if n.op == "placeholder" and n.meta)
    value = next((v for v in inputs if isinstance(v, Tensor)), None)
    if value is None:
        raise UsageError("the program states no shape of its input (--input_shape)")
    sizes = [size if isinstance(size, int) else None for size in value.shape]
    frames = max((size or 1 for size in sizes[1:]), default=1) > MOST_WAVEFORM_CHANNELS
    free = [axis for axis, size in enumerate(sizes) if size is None]
    shape = [size or 1 for size in sizes]
    for axis in free[-1:]:
        shape[axis] = FRAMES if frames else samples
    return tuple(shape)


def _taken_by(module: Any) -> int | None:
    """Channels that a convolution takes; ``None`` for other modules."""
    if isinstance(module, (nn.Conv1d, nn.ConvTranspose1d)):
        return module.in_channels
    axis = {"Conv1d": 1, "ConvTranspose1d": 0}.get(getattr(module, "original_name", ""))
    weight = getattr(module, "weight", None)
    return None if axis is None or weight is None else weight.shape[axis]  # in TorchScript


def stated(network: object, names: Sequence[str]) -> float | None:
    """The first of these numbers that a network states itself, or in its settings."""
    values = (_of(owner, name) for owner in owners(network) for name in names)
    numbers = (v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool))
    return next((v for v in numbers if 0 < v < math.inf), None)


def owners(network: object) -> list[object]:
    """The network, its settings, and settings in them, such as those of transformers' models."""
    found = [network]
    for name in SETTINGS:
        settings = _of(network, name)
        if settings is None or isinstance(settings, Tensor) or callable(settings):
            continue
        inner = settings if isinstance(settings, Mapping) else getattr(settings, "__dict__", {})
        found += [
            settings,
            *(v for v in inner.values() if isinstance(v, Mapping) or hasattr(v, "__dict__")),
        ]
    return found


def _of(owner: object, name: str) -> Any:
    try:
        return owner.get(name) if isinstance(owner, Mapping) else getattr(owner, name, None)
    except Exception:  # a stranger's property
        return None
