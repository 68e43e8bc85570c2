"""Reading files of strangers: tensors and plain values come out, or one line that says what it is.

Nothing in a file is run. torch's ``weights_only`` sees to that, but lets a file call functions that
take any amount of memory; so what a file calls is looked at first, and what it claims to hold is
compared with its size.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from ..errors import UsageError, one_line, printable
from ..files import damage_of

torch.serialization.add_safe_globals([TorchVersion])
"""Asteroid's own files hold one, which is a string; its own loading reads them now, too."""

ZIP = b"PK\x03\x04"
BEFORE_ZIP = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)
"""How a file of torch begins, and one of before version 1.6."""

CALLED = {
    "collections OrderedDict",
    "torch.torch_version TorchVersion",
    "torch Size",
    "_codecs encode",  # bytes
    "torch.nn.parameter Parameter",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
}
_TYPES = re.compile(r"torch ((?!Unt|T)[A-Z]\w+Storage|b?float\d+|u?int\d+|complex\d+|bool)")
"""All that a file of tensors and plain values needs."""

KINDS = {
    b"version https://git-lfs": "a pointer of git-lfs: git lfs pull fetches the file itself",
    b"<!doctype": "a web page: download the file itself, not the page that shows it",
    b"<html": "a web page: download the file itself, not the page that shows it",
    b"\x1f\x8b": "compressed by gzip: unpack it, or convert it if it is of Demucs",
    b"\x89hdf": "an HDF5 file, such as Keras writes",
}
"""What is often taken for a model file, by how it begins, in lower case."""

DEEPEST, MOST_VALUES, LONGEST_NAME, LONGEST_TEXT = 8, 10_000, 100, 10_000
LARGEST = {"depth": 64, "n_filters": 8192, "stride": 10_000, "": 10_000_000}
"""The largest integer of a setting with that in its name. Some networks make 2 ** depth channels,
some filterbanks n_filters ** 2 numbers, and decoders run their layer over many strides, before
anything could be compared with the file."""


def regular_file(path: Path) -> Path:
    """``path``, if it is a file.

    Raises:
        UsageError: If there is none, or it is a folder, a pipe or a device.
    """
    if not path.exists():
        raise UsageError("no such file")
    if not path.is_file():
        raise UsageError(f"it is a {'folder' if path.is_dir() else 'pipe or device'}, not a file")
    return path


def read_tensors(path: Path) -> Any:
    """What ``torch.save`` wrote, if it is tensors and plain values; runs nothing.

    Raises:
        UsageError: If it is no such file, holds pickled code, or claims to hold more than it does.
    """
    try:
        regular_file(path)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    try:
        with path.open("rb") as file:
            head = file.read(512)
        refuse_other_kinds(head)
        if head.startswith(ZIP):
            refuse_other_archives(path, path.stat().st_size)
            refuse_calls(torch._C.PyTorchFileReader(str(path)).get_record("data.pkl"))
            return torch.load(path, map_location="cpu", weights_only=True)
        if not head.startswith(BEFORE_ZIP):
            raise UsageError("torch did not write it")
        content = path.read_bytes()  # from a path torch would unpack the tar files of before 2017
        refuse_calls(content, pickles=5)
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except UsageError as error:
        raise UsageError(f"{path}: not a model file: {error}") from None
    except pickle.UnpicklingError:  # what torch says advises to run it
        raise UsageError(f"{path}: not a model file: damaged, or it holds pickled code") from None
    except Exception as error:  # bytes of another kind make the unpickler stumble in many ways
        raise UsageError(f"{path}: not a model file ({one_line(error)})") from None


def refuse_other_kinds(head: bytes) -> None:
    """Refuse what is often taken for a model file, by its first bytes.

    Raises:
        UsageError: With what it is, and what to do.
    """
    if not head:
        raise UsageError("it is empty")
    start = head.lstrip().lower()
    for beginning, kind in KINDS.items():
        if start.startswith(beginning):
            raise UsageError(f"it is {kind}")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 10**8:
        raise UsageError(
            "it is a safetensors file, which holds weights without the settings of their network; "
            "load them into a network, and save its serialize()"
        )


def refuse_other_archives(file: Path | io.BytesIO, size: int) -> None:
    """Refuse a zip archive that torch did not write, is damaged, or holds more than its own size.

    Args:
        file: The archive.
        size: Its length in bytes.

    Raises:
        UsageError: With what it is.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
            unpacked = sum(part.file_size for part in archive.infolist())
    except Exception as error:
        raise UsageError(f"damaged: {one_line(error)}") from None
    if unpacked > size:
        raise UsageError(f"it is compressed (to {unpacked} bytes unpacked), as torch never does")
    damage = damage_of(file)
    if damage is not None:
        raise UsageError(f"damaged: {printable(damage)}")
    if "constants.pkl" in names:
        raise UsageError(
            "it is a TorchScript program, which is code and is never run here; save the network's "
            "serialize() instead"
        )
    if "data.pkl" not in names:
        raise UsageError("it is a zip archive of other files")


def refuse_calls(content: bytes, allowed: Collection[str] = (), pickles: int = 1) -> None:
    """Refuse pickles that name other classes or functions than tensors need.

    Args:
        content: Begins with the pickles.
        allowed: Names that may be called as well, as ``module name``.
        pickles: How many follow one another.

    Raises:
        UsageError: Naming the first.
    """
    file = io.BytesIO(content)
    for _ in range(pickles):
        for code, name, _ in pickletools.genops(file):
            called = str(name)
            known = called in CALLED or called in allowed or _TYPES.fullmatch(called)
            if code.name == "GLOBAL" and not known:
                raise never_run(called.replace(" ", "."))


def never_run(name: str) -> UsageError:
    """What to say of a file that names a function or class which no tensors need."""
    return UsageError(
        f"refused, it holds {printable(name[:80])}, which is never run: of pickled code only "
        "tensors and plain values are read"
    )


def refuse_settings(settings: Any) -> None:
    """Refuse arguments of a model that are no plain values, or enormous.

    Raises:
        UsageError: Naming the setting.
    """
    left = MOST_VALUES

    def look(value: Any, name: str, depth: int) -> None:
        nonlocal left
        left -= 1
        if left < 0 or depth > DEEPEST:
            raise UsageError(f"{name}: too many values, or lists in lists")
        if isinstance(value, dict):
            for key, inner in value.items():
                if not isinstance(key, str) or len(key) > LONGEST_NAME:
                    raise UsageError(f"{name}: the name of a setting must be a short text")
                look(inner, f"{name}.{key}", depth + 1)
        elif isinstance(value, (list, tuple)):
            for inner in value:
                look(inner, name, depth + 1)
        elif isinstance(value, bool) or value is None:
            pass
        elif isinstance(value, int):
            most = next(most for part, most in LARGEST.items() if part in name)
            if not -most <= value <= most:
                raise UsageError(f"{name} must be at most {most}")
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise UsageError(f"{name} is {value}")
        elif not isinstance(value, str):
            raise UsageError(f"{name} is of type {type(value).__name__}, must be a plain value")
        elif len(value) > LONGEST_TEXT:
            raise UsageError(f"{name} is a text of {len(value)} signs")

    if not isinstance(settings, dict):
        raise UsageError(f"model_args is of type {type(settings).__name__}, must be a dictionary")
    look(settings, "model_args", 0)


def refuse_state(state: Any, size: float = math.inf) -> None:
    """Refuse weights that are no tensors under names, or that claim more than ``size`` bytes.

    Raises:
        UsageError: Naming the weight.
    """
    if not isinstance(state, dict):
        raise UsageError(f"state_dict is of type {type(state).__name__}, must be a dictionary")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UsageError(f"state_dict: {name!r:.80} must be the name of a tensor")
        if value.layout is not torch.strided:
            raise UsageError(f"state_dict: {name!r:.80} is {value.layout}, must be dense")
    if stored_bytes(state) > size:
        raise UsageError("its weights claim more memory than the file has")


def stored_bytes(state: dict[str, Tensor]) -> int:
    """What the tensors take in memory; what several share counts once."""
    storages = [value.untyped_storage() for value in state.values()]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
