"""Files of the ``demucs`` package's first two generations, read as :class:`DemucsLike` models.

[3] Défossez et al., "Music source separation in the waveform domain", arXiv 1911.13254.

Only tensors and plain values are read: nothing of the package is needed, and nothing in a file is
run. Files of later releases are read, too, where they hold such a network.

The output is that of the package's release 4.1.0. The releases that these files come from (v1, v2)
did not pad the convolutions of length 3 in the decoder but put more zeros around the signal; theirs
differs near the ends, and elsewhere by what it makes that the same frames begin some samples later.
"""

from __future__ import annotations

import gzip
import io
import math
import pickle
import pickletools
import re
import textwrap
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UsageError
from ..files import tell_full_disk, whole_or_nothing
from .demucs_like import DemucsLike

SOURCES = ("drums", "bass", "other", "vocals")
"""Of the official models, in their order."""


def load_demucs_checkpoint(path: str | PathLike, resample: bool | None = None) -> DemucsLike:
    """Read a checkpoint of Demucs v1 or v2 ([3]), gzipped or not; never runs code in it.

    A file is a state dict, or one with the settings of its network. A state dict alone is taken for
    one of the official v2 models: stride 4, 44100 Hz, ReLUs, no normalisation. Sources without
    names are ``drums``, ``bass``, ``other`` and ``vocals`` if there are four, else ``source1`` and
    so on. Weights in half precision become float32.

    Args:
        path: Such as ``demucs-e07c671f.th`` or ``light_extra.th.gz``.
        resample: Whether the network works at twice the sample rate. ``None``: as the file's
            settings say, and for a state dict alone as all official v2 models do, which is yes.

    Returns:
        The model in evaluation mode, with ``encoder_context=0`` and transposed convolutions.

    Raises:
        UsageError: (a ``ValueError``) if the file is no such checkpoint, holds pickled code or
            other classes, or a network that ``DemucsLike`` cannot be: with quantized weights, GELUs
            or further layers, other than two LSTM layers, another growth than 2 or context than 3
            samples, or ``normalize=True`` (which there is a part of the network, and takes the mean
            away too).
    """
    path = Path(path)
    try:
        stated, state = _unpack(_read(path))
        _check_stated(stated, resample)
        state = _checked(state)
        found = _found(state)
        _check_found(found, stated)
        settings = {name: found[name] for name in _SHAPES}
        if stated:
            settings |= {"stride": stated["stride"], "sample_rate": stated["samplerate"]}
            resample = stated["resample"]
        model = DemucsLike(
            **settings,
            sources=_names(stated.get("sources"), found["sources"]),
            encoder_context=0,
            resample=resample is None or bool(resample),
        )
        _fill(model, state)
    except UsageError as error:
        line = " ".join(str(error).split())  # a file's words may have several
        raise UsageError(f"{path}: {line}") from None
    return model.eval()


def convert_demucs_checkpoint(
    checkpoint: str | PathLike,
    path: str | PathLike,
    resample: bool | None = None,
    force_overwrite: bool = False,
) -> Path:
    """Write the model of :func:`load_demucs_checkpoint` as a file that Asteroid loads by name.

    Args:
        checkpoint: A file of Demucs v1 or v2.
        path: The model file to write, whole or not at all.
        resample: See :func:`load_demucs_checkpoint`.
        force_overwrite: Whether to replace a file that exists.

    Returns:
        ``path``.

    Raises:
        UsageError: If the checkpoint cannot be read, or ``path`` exists.
    """
    path = Path(path)
    if path.is_dir():
        raise UsageError(f"{path}: a folder, allowed is the name of a file")
    if path.exists() and not force_overwrite:
        raise UsageError(f"{path}: exists already, allowed is a new file (-f replaces it)")
    package = load_demucs_checkpoint(checkpoint, resample).serialize()
    with whole_or_nothing(path) as partial, tell_full_disk(partial, RuntimeError):
        torch.save(package, partial)
    return path


class _Inert:
    """Stands for a class that a file names: takes any arguments and any state, keeps none."""

    def __new__(cls, *args: Any) -> _Inert:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


class _EarlyDemucs(_Inert):
    """``demucs.model.Demucs``, of v1 and v2."""


class _LaterDemucs(_Inert):
    """``demucs.demucs.Demucs``, from v3 on."""


_CLASSES: dict[str, type[_Inert]] = {
    "demucs.model.Demucs": _EarlyDemucs,
    "demucs.demucs.Demucs": _LaterDemucs,
    "argparse.Namespace": _Inert,  # how v2 was trained, with the paths
    "pathlib.PosixPath": _Inert,
    "pathlib.WindowsPath": _Inert,
}

_COMMON: dict[str, Any] = {
    "audio_channels": 2,
    "channels": 64,
    "depth": 6,
    "rewrite": True,
    "glu": True,
    "rescale": 0.1,
    "kernel_size": 8,
    "stride": 4,
    "growth": 2,
    "lstm_layers": 2,
    "context": 3,
    "samplerate": 44100,
}
_V1: dict[str, Any] = {**_COMMON, "sources": 4, "upsample": False, "resample": False}
_V2: dict[str, Any] = {
    **_COMMON,
    "sources": 4,
    "resample": True,
    "normalize": False,
    "segment_length": None,
}
_LATER: dict[str, Any] = {
    **_COMMON,
    "sources": 4,
    "lstm_layers": 0,
    "context": 1,
    "gelu": True,
    "norm_starts": 4,
    "norm_groups": 4,
    "dconv_mode": 1,
    "dconv_depth": 2,
    "dconv_comp": 4,
    "dconv_attn": 4,
    "dconv_lstm": 4,
    "dconv_init": 1e-4,
    "normalize": True,
    "resample": True,
    "segment": 40,
}
"""What a generation's constructor takes, and what it does without it."""

_ONLY = {
    "upsample": False,
    "rewrite": True,
    "glu": True,
    "gelu": False,
    "growth": 2,
    "lstm_layers": 2,
    "dconv_mode": 0,
    "normalize": False,
    "context in samples": 3,
}
"""All that DemucsLike can be."""

_SHAPES = ("channels", "depth", "audio_channels", "kernel_size")

_NO_CHECKPOINT = "not a checkpoint of Demucs v1 or v2"

_KEY = re.compile(
    r"(encoder|decoder)\.\d+\.[023]\.(weight|bias)"
    r"|lstm\.lstm\.(weight|bias)_(ih|hh)_l\d+(_reverse)?|lstm\.linear\.(weight|bias)"
)


def _read(path: Path) -> Any:
    """The content of a file, with tensors, plain values and the classes of ``_CLASSES`` only."""
    try:
        content = path.read_bytes()
        file = io.BytesIO(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
        del content  # gigabytes
        if file.read(4) != b"PK\x03\x04":
            _unmark_classes(file)
        file.seek(0)
        stubs: list[Any] = [(stub, name) for name, stub in _CLASSES.items()]
        with torch.serialization.safe_globals(stubs):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        raise UsageError(
            f"refused, it holds {named[1] if named else 'pickled code'}, which is never run; "
            f"allowed are tensors, plain values and {', '.join(_CLASSES)}"
        ) from None
    except Exception as error:  # bytes of another kind make the unpickler stumble in many ways
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UsageError(f"{_NO_CHECKPOINT} ({reason})") from None


def _unmark_classes(file: io.BytesIO) -> None:
    """Make classes readable in the format that torch wrote before 1.6.

    There a network's class is a persistent id, of the class and its source code, and
    ``weights_only`` reads those of storages only. Changing one byte makes it a tuple in a tuple:
    ``(("module", class, file, source),)``.
    """
    file.seek(0)
    marks: list[Any] = []
    in_module = False
    for _ in range(4):  # a magic number, a version, the system, the content
        for opcode, argument, position in pickletools.genops(file):
            if opcode.name == "BINPERSID":
                marks += [position] if in_module else []
                in_module = False
            elif isinstance(argument, str) and argument == "module":
                in_module = True
    with file.getbuffer() as buffer:
        for position in marks:
            buffer[position : position + 1] = pickle.TUPLE1


def _unpack(content: Any) -> tuple[dict[str, Any], Any]:
    """The settings that a file states, with their defaults (none if none), and its state dict."""
    if isinstance(content, tuple) and len(content) == 4:
        klass, args, kwargs, state = content
    elif isinstance(content, dict) and {"klass", "args", "kwargs", "state"} <= content.keys():
        klass, args, kwargs, state = (content[key] for key in ("klass", "args", "kwargs", "state"))
    elif isinstance(content, dict):
        return {}, content
    else:
        raise UsageError(f"{_NO_CHECKPOINT}: a state dict is needed, or one with its settings")
    match klass:
        case (("module", marked, _, _),):
            klass = marked
    if klass is _LaterDemucs:
        defaults = _LATER
    elif klass is _EarlyDemucs:
        defaults = _V1 if isinstance(content, tuple) else _V2
    else:
        raise UsageError(f"{_NO_CHECKPOINT}: it holds another class than Demucs")
    if not isinstance(args, (tuple, list)) or len(args) > 1 or not isinstance(kwargs, dict):
        raise UsageError(f"{_NO_CHECKPOINT}: allowed is one setting without a name, the sources")
    unknown = sorted(str(name) for name in kwargs.keys() - defaults.keys())
    if unknown:
        allowed = ", ".join(sorted(defaults))
        raise UsageError(f"settings {', '.join(unknown)}, allowed are {allowed}")
    stated: dict[str, Any] = {**defaults, **kwargs, **({"sources": args[0]} if args else {})}
    for name in stated.keys() & {*_ONLY, *_SHAPES, "stride", "context", "samplerate", "resample"}:
        if not isinstance(stated[name], (bool, int, float)):
            raise UsageError(f"{name} is {stated[name]!r:.50}, allowed is a number")
    context = stated.pop("context")
    stated["context in samples"] = 2 * context + 1 if defaults is _LATER else context
    return stated, state


def _check_stated(stated: dict[str, Any], resample: bool | None) -> None:
    """Refuse settings that are impossible, or that the argument contradicts."""
    if not stated:
        return
    _check_possible(stated)
    if type(stated["stride"]) is not int or not 0 < stated["samplerate"] < math.inf:
        raise UsageError(
            f"stride is {stated['stride']} and samplerate {stated['samplerate']}, "
            "allowed is a whole number and one above 0"
        )
    if resample is not None and resample != stated["resample"]:
        raise UsageError(
            f"resample is {resample}, but its settings say {stated['resample']}; "
            "allowed is to leave it out"
        )


def _check_possible(settings: dict[str, Any]) -> None:
    for name, allowed in _ONLY.items():
        if settings.get(name, allowed) != allowed:
            raise UsageError(f"{name} is {settings[name]}, allowed is {allowed}")


def _checked(state: Any) -> dict[str, Tensor]:
    """The state dict under the names of v1 and v2; refused if it holds other things.

    Later releases count the normalisation that stands (and here does nothing) before the second
    convolution of a block, which is number 3 then.
    """
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise UsageError(f"{_NO_CHECKPOINT}: its state dict is none")
    if {"compressed", "__quantized"} & state.keys():
        raise UsageError("quantized weights (diffq), allowed are float32 and float16")
    layers = [key for key in state if not _KEY.fullmatch(key)]
    if layers:
        raise UsageError(
            f"{_NO_CHECKPOINT}: it holds {layers[0]:.80}, allowed are the weights of convolutions, "
            "transposed convolutions and an LSTM (no normalisation, no dconv, no upsample=True)"
        )
    renamed = {}
    for key, value in state.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise UsageError(f"{key} is no tensor of floats, allowed are float32 and float16")
        renamed[re.sub(r"^(..coder\.\d+)\.3\.", r"\1.2.", key)] = value
    if len(renamed) < len(state):
        raise UsageError(f"{_NO_CHECKPOINT}: it holds layers twice, allowed is number 2 or 3")
    return renamed


def _found(state: dict[str, Tensor]) -> dict[str, Any]:
    """The settings that the shapes tell, with the number of sources."""

    def size(name: str, axis: int) -> int:
        return state[name].shape[axis] if name in state and state[name].dim() == 3 else 0

    channels, audio_channels, kernel_size = (size("encoder.0.0.weight", axis) for axis in range(3))
    if not channels * audio_channels * kernel_size:
        raise UsageError(f"{_NO_CHECKPOINT}: it needs encoder.0.0.weight, a convolution's")
    depth = sum(re.fullmatch(r"encoder\.\d+\.0\.weight", key) is not None for key in state)
    lstm = [key for key in state if re.fullmatch(r"lstm\.lstm\.weight_ih_l\d+", key)]
    return {
        "channels": channels,
        "depth": depth,
        "audio_channels": audio_channels,
        "kernel_size": kernel_size,
        "growth": size("encoder.1.0.weight", 0) / channels if depth > 1 else 2,
        "rewrite": "encoder.0.2.weight" in state,
        "glu": size("encoder.0.2.weight", 0) != channels,
        "lstm_layers": len(lstm),
        "context in samples": size("decoder.0.0.weight", 2),
        "sources": size(f"decoder.{depth - 1}.2.weight", 1) // audio_channels,
    }


def _check_found(found: dict[str, Any], stated: dict[str, Any]) -> None:
    """Refuse tensors of an impossible network, or of another one than the settings'."""
    _check_possible(found)
    for name in (*_SHAPES, "sources"):
        said = stated.get(name, found[name])
        if (len(said) if isinstance(said, (tuple, list)) else said) != found[name]:
            raise UsageError(
                f"its settings say {name} {said!r:.80}, its tensors {found[name]}; "
                "allowed are equal ones"
            )


def _names(sources: Any, number: int) -> tuple[str, ...]:
    if not isinstance(sources, (tuple, list)):
        return SOURCES if number == 4 else tuple(f"source{i + 1}" for i in range(number))
    if not all(isinstance(name, str) for name in sources):
        raise UsageError(f"sources are {sources!r:.80}, allowed are names, or their number")
    return tuple(sources)


def _fill(model: DemucsLike, state: dict[str, Tensor]) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:  # a heading, then a line for each problem
        problem = textwrap.shorten(str(error).splitlines()[-1], 200)
        raise UsageError(f"{_NO_CHECKPOINT} ({problem})") from None
