"""Files of the ``demucs`` package's first two generations, read as :class:`DemucsLike` models.

[3] Défossez et al., "Music source separation in the waveform domain", arXiv 1911.13254.

Only tensors and plain values are read: the package is not needed, and no code in a file is run.
Files of later releases are read, too, where they hold such a network.

The output is that of the package's release 4.1.0. The releases that wrote these files (v1, v2) did
not pad the decoder's convolutions of length 3 but put more zeros around the signal: their output
differs near the ends, and elsewhere because their frames begin some samples later.
"""

from __future__ import annotations

import functools
import gzip
import io
import pickle
import re
import types
import warnings
from collections import OrderedDict
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UsageError, one_line
from ..files import tell_full_disk, whole_or_nothing
from .bounded import Bounded
from .demucs_like import DemucsLike
from .model_files import (
    BEFORE_ZIP,
    ZIP,
    never_run,
    refuse_calls,
    refuse_other_archives,
    refuse_other_kinds,
    refuse_settings,
    refuse_state,
    regular_file,
)

SOURCES = ("drums", "bass", "other", "vocals")
"""Of the official models, in their order."""

MOST_TIMES = 20
"""How much longer what gzip packed may be: floats hardly become shorter by it."""


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
            samples, or ``normalize=True`` (which is a part of the network there, and takes the mean
            away too).
    """
    path = Path(path)
    try:
        stated, state = _parts(_content(path))
        state = _renamed(state)
        refuse_state(state, MOST_TIMES * path.stat().st_size + 2**20)
        if resample not in (None, stated["resample"]) and stated["whole"]:
            raise UsageError(f"resample is {resample}, but its settings say {stated['resample']}")
        settings = {
            **_shapes(state),
            "sources": _names(stated["sources"], state),
            "stride": stated["stride"],
            "sample_rate": stated["samplerate"],
            "encoder_context": 0,
            "resample": bool(stated["resample"] if resample is None else resample),
        }
        refuse_settings(settings)
        with Bounded(state):
            model = DemucsLike(**settings)
        model.load_state_dict(state)
    except pickle.UnpicklingError:  # what torch says advises to run it
        raise UsageError(
            f"{path}: not a checkpoint of Demucs v1 or v2: damaged, or it holds pickled code"
        ) from None
    except Exception as error:  # of the settings; of the shapes
        raise UsageError(
            f"{path}: not a checkpoint of Demucs v1 or v2: {one_line(error)}"
        ) from None
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
        path: The model file to write; a half-written one never appears there.
        resample: See :func:`load_demucs_checkpoint`.
        force_overwrite: Whether to replace a file that exists.

    Returns:
        ``path``.

    Raises:
        UsageError: If the checkpoint cannot be read, or ``path`` exists.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        kind = "folder" if path.is_dir() else "pipe or device"
        raise UsageError(f"{path}: is a {kind}, must be the name of a file")
    if path.exists() and not force_overwrite:
        raise UsageError(f"{path}: exists already (-f replaces it)")
    package = load_demucs_checkpoint(checkpoint, resample).serialize()
    with whole_or_nothing(path) as partial, tell_full_disk(partial, RuntimeError):
        torch.save(package, partial)
    return path


class _Inert:
    """Stands for a class that a file names: takes any arguments and any state, keeps none."""

    dump_patches = False  # torch asks the classes in files of before 1.6

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
_TENSORS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")
_SETTINGS = """sources audio_channels channels depth rewrite glu rescale kernel_size stride growth
lstm_layers context samplerate upsample resample normalize segment segment_length gelu norm_starts
norm_groups dconv_mode dconv_depth dconv_comp dconv_attn dconv_lstm dconv_init"""
"""Of the three generations; what is not read here shows in the names and shapes of the tensors."""
_KEY = re.compile(
    r"(encoder|decoder)\.\d+\.[023]\.(weight|bias)"
    r"|lstm\.lstm\.(weight|bias)_(ih|hh)_l\d+(_reverse)?|lstm\.linear\.(weight|bias)"
)


class _Unpickler(pickle._Unpickler):  # in C it would take any amount of memory for a short file
    """Knows tensors, plain values and the stand-ins above, and nothing that could be called."""

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in _CLASSES:
            return _CLASSES[full]
        if full == "collections.OrderedDict":
            return OrderedDict
        if module == "torch._utils" and name in _TENSORS:
            return functools.partial(
                getattr(torch._utils, name)
            )  # a file cannot change the function
        raise never_run(full)


_RESTRICTED: Any = types.SimpleNamespace(
    __name__="restricted",
    Unpickler=_Unpickler,
    load=lambda file, **options: _Unpickler(file, **options).load(),
)
"""What ``torch.load`` needs of a module such as ``pickle``."""


def _content(path: Path) -> Any:
    """What a file holds: tensors, plain values and the classes of ``_CLASSES`` only."""
    stand_ins: list[Any] = [(stand_in, name) for name, stand_in in _CLASSES.items()]
    content = _unpacked(regular_file(path).read_bytes())
    refuse_other_kinds(content[:512])
    with warnings.catch_warnings(), torch.serialization.safe_globals(stand_ins):
        warnings.simplefilter("ignore", torch.serialization.SourceChangeWarning)
        if content.startswith(BEFORE_ZIP):  # classes come with their source, which torch
            legacy: dict[str, Any] = {"pickle_module": _RESTRICTED}  # does not read otherwise
            return torch.load(io.BytesIO(content), "cpu", weights_only=False, **legacy)
        if not content.startswith(ZIP):
            raise UsageError("torch did not write it")
        refuse_other_archives(io.BytesIO(content), len(content))
        record = torch._C.PyTorchFileReader(io.BytesIO(content)).get_record("data.pkl")
        refuse_calls(record, {" ".join(name.rsplit(".", 1)) for name in _CLASSES})
        return torch.load(io.BytesIO(content), "cpu", weights_only=True)


def _unpacked(content: bytes) -> bytes:
    """Without gzip.

    Raises:
        UsageError: If it is far too long.
    """
    if not content.startswith(b"\x1f\x8b"):
        return content
    most = MOST_TIMES * len(content) + 2**20
    with gzip.open(io.BytesIO(content)) as file:
        plain = file.read(most + 1)
    if len(plain) > most:
        raise UsageError(f"it unpacks to over {MOST_TIMES} times its size, as no weights do")
    return plain


def _parts(content: Any) -> tuple[dict[str, Any], Any]:
    """The settings that a file states, with the defaults of its generation, and its state dict."""
    stated = {"stride": 4, "samplerate": 44100, "sources": None, "resample": True, "whole": False}
    if isinstance(content, tuple) and len(content) == 4:
        klass, args, kwargs, state = content
    elif isinstance(content, dict) and {"klass", "args", "kwargs", "state"} <= content.keys():
        klass, args, kwargs, state = (content[key] for key in ("klass", "args", "kwargs", "state"))
    else:
        return stated, content
    if klass not in (_EarlyDemucs, _LaterDemucs):
        raise UsageError("it holds another class than Demucs")
    if not isinstance(args, (tuple, list)) or len(args) > 1 or not isinstance(kwargs, dict):
        raise UsageError("of its settings only one, the sources, may have no name")
    refuse_settings(kwargs | {"sources": args[0] if args else None})
    unknown = sorted(str(name) for name in kwargs if name not in _SETTINGS.split())
    if unknown:
        raise UsageError(f"its settings {', '.join(unknown)} are none of Demucs")
    later = klass is _LaterDemucs
    stated |= {"whole": True, "resample": not isinstance(content, tuple)}
    stated |= {"gelu": later, "normalize": later, **kwargs}
    stated |= {"sources": args[0]} if args else {}
    for setting in ("gelu", "normalize", "upsample"):
        if stated.get(setting):
            raise UsageError(f"{setting} is {stated[setting]}, must be False")
    return stated, state


def _renamed(state: Any) -> dict[str, Tensor]:
    """The state dict under the names of v1 and v2; refused if it holds other things.

    Later releases count the normalisation (which does nothing here) before the second convolution
    of a block, so that this is number 3 there.
    """
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise UsageError("it needs a state dict, or one with its settings")
    others = [key for key in state if not _KEY.fullmatch(key)]
    if others:
        raise UsageError(
            f"it holds {others[0]:.80}, must hold the float weights of convolutions, transposed "
            "convolutions and an LSTM (no quantized weights, normalisation, dconv or upsample=True)"
        )
    for key, value in state.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise UsageError(f"{key} must be a tensor of float32 or float16")
    renamed = {re.sub(r"^(..coder\.\d+)\.3\.", r"\1.2.", key): state[key] for key in state}
    if len(renamed) < len(state):
        raise UsageError("it holds layers twice, as number 2 and 3")
    return renamed


def _shapes(state: dict[str, Tensor]) -> dict[str, Any]:
    """The settings that the tensors show."""
    first = state.get("encoder.0.0.weight", torch.empty(0))
    if first.dim() != 3:
        raise UsageError("it needs encoder.0.0.weight, of a convolution")
    channels, audio_channels, kernel_size = first.shape
    depth = sum(re.fullmatch(r"encoder\.\d+\.0\.weight", key) is not None for key in state)
    return {
        "channels": channels,
        "depth": depth,
        "audio_channels": audio_channels,
        "kernel_size": kernel_size,
    }


def _names(sources: Any, state: dict[str, Tensor]) -> tuple[str, ...]:
    if isinstance(sources, (tuple, list)) and all(isinstance(name, str) for name in sources):
        return tuple(sources)
    shapes = _shapes(state)
    last = state.get(f"decoder.{shapes['depth'] - 1}.2.bias", torch.empty(0))
    number = len(last) // shapes["audio_channels"] or 4  # none: refused with the other weights
    return SOURCES if number == 4 else tuple(f"source{i + 1}" for i in range(number))
