"""Files of repaired networks, which hold what is needed to undo the repair, bit for bit.

An Asteroid model file keeps all that it holds, with the repaired weights and a key ``repair``. Of a
network that a factory makes, the file is its state dict, and the record an attribute of that
(``_repair``), as torch keeps the versions of modules: ``load_state_dict`` takes the file as it is.
"""

from __future__ import annotations

import importlib
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .. import __version__
from ..errors import UsageError, one_line
from ..files import tell_full_disk, whole_or_nothing
from ..layers import Upsampler
from ..probe.onnx_file import OnnxNetwork
from ..probe.targets import is_model_file, is_onnx, load_network
from .report import same_bits

RECORD, ATTRIBUTE = "repair", "_repair"
FORMAT = 1
DEMUCS_SUFFIXES = (".th", ".gz")
PREFIXES = ("", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.")


class Target(NamedTuple):
    """What is to be repaired.

    Args:
        network: In evaluation mode.
        package: What its model file holds; ``None`` if a factory made it.
    """

    network: nn.Module
    package: dict[str, Any] | None


def load_target(target: str, settings: dict[str, Any] | None = None) -> Target:
    """The network of an Asteroid model file, of a Demucs checkpoint, or that a factory makes.

    Raises:
        UsageError: If it is none of these, or no network whose weights can be changed.
    """
    if is_onnx(target):
        raise UsageError(
            f"{target}: an ONNX file is not repaired: repair the network, and export it again"
        )
    if not (is_model_file(target) or target.lower().endswith(DEMUCS_SUFFIXES)):
        if Path(target).is_file():
            raise UsageError(f"{target}: no model file; what a recording is made of is repaired")
        network = load_network(target, settings or {})
        if isinstance(network, OnnxNetwork) or not isinstance(network, nn.Module):
            kind = type(network).__name__
            raise UsageError(f"{target}: gives a {kind}, but must give a torch module")
        return Target(getattr(network, "_orig_mod", network).eval(), None)
    if settings:
        raise UsageError(f"{target}: is a model file, which holds its settings (--settings)")
    models = importlib.import_module("asteroid_upsamplers.models")
    try:
        package = models.portable.package_of(Path(target))
    except UsageError as error:
        network = _demucs(target, error)
        return Target(network, network.serialize())
    return Target(models.load_model(target), package)


def _demucs(target: str, error: UsageError) -> Any:
    """A checkpoint of Demucs as a model; if it is none, the error that fits its name."""
    models = importlib.import_module("asteroid_upsamplers.models")
    try:
        return models.load_demucs_checkpoint(target)
    except UsageError as other:
        raise (other if target.lower().endswith(DEMUCS_SUFFIXES) else error) from None


def save_repaired(
    path: Path,
    target: Target,
    originals: Mapping[str, Tensor],
    repaired: nn.Module,
    about: dict[str, Any],
) -> None:
    """Write a repaired network.

    Args:
        path: The file, whole or not at all.
        target: What was repaired.
        originals: Its state dict before the repair.
        repaired: After the repair.
        about: What was done, in plain values.
    """
    package, state = None, repaired.state_dict()
    if target.package is not None:
        package = {**target.package, "model_args": _model_args(target, repaired)}
        about = {"model_args": target.package["model_args"], **about}
    if package is None:
        stored: Mapping[str, Tensor] = originals
    else:
        stored = package["state_dict"]
        prefix = next((p for p in PREFIXES if {p + key for key in originals} == set(stored)), None)
        if prefix is None:  # written under other names, by an older version or another package
            stored = originals
        else:
            originals = {prefix + key: value for key, value in originals.items()}
            state = {prefix + key: value for key, value in state.items()}
    changed = [k for k in originals if k not in state or not same_bits(originals[k], state[k])]
    record = {
        "format": FORMAT,
        "version": __version__,
        **about,
        "original": {key: stored[key].detach().cpu().clone() for key in changed},
        "names": list(stored),
    }
    if package is not None and RECORD in package:  # it was repaired before: back to the first
        try:
            first = _record_of(package[RECORD])
        except UsageError as error:
            raise UsageError(f"{path}: not written: what is repaired {error}") from error
        record["original"] |= first["original"]
        record |= {key: first[key] for key in ("names", "model_args") if key in first}
    new = OrderedDict((k, (state if k in changed or k not in stored else stored)[k]) for k in state)
    new = OrderedDict((key, value.detach().cpu()) for key, value in new.items())
    if package is None:
        new._metadata = getattr(state, "_metadata", None)  # type: ignore[attr-defined]
        setattr(new, ATTRIBUTE, record)
        _save(path, new)
    else:
        _save(path, package | {"state_dict": new, RECORD: record})


def undo_file(source: str, path: Path) -> None:
    """Write the original weights of a repaired file.

    Raises:
        UsageError: If the file cannot be read, or holds no record of a repair.
    """
    read = importlib.import_module("asteroid_upsamplers.models.model_files").read_tensors
    content = read(Path(source))
    package = content if isinstance(content, dict) and RECORD in content else None
    try:
        record = _record_of(package[RECORD] if package else getattr(content, ATTRIBUTE, None))
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from error
    names, state = record["names"], package.get("state_dict") if package else content
    known = {**state, **record["original"]} if isinstance(state, Mapping) else {}
    missing = [name for name in names if name not in known]
    if missing:
        raise UsageError(f"{source}: {missing[0]} is missing, so that the repair cannot be undone")
    before = OrderedDict((name, known[name]) for name in names)
    if package:
        rest = {key: value for key, value in package.items() if key != RECORD}
        rest |= {key: record[key] for key in ("model_args",) if key in record}
        _save(path, rest | {"state_dict": before})
    else:
        before._metadata = getattr(content, "_metadata", None)  # type: ignore[attr-defined]
        _save(path, before)


def _model_args(target: Target, repaired: nn.Module) -> dict[str, Any]:
    """Arguments with which a model's class builds the repaired network, whose layers may be others.

    Raises:
        UsageError: If there are none.
    """
    assert target.package is not None
    args = dict(target.package["model_args"])
    if [type(m) for m in repaired.modules()] == [type(m) for m in target.network.modules()]:
        return args
    layers = [module for module in repaired.modules() if isinstance(module, Upsampler)]
    families = {(layer.name, layer.kernel_size) for layer in layers}
    if "upsampler" in args and len(families) == 1:
        name, size = families.pop()
        args |= {"upsampler": name, "upsampler_kwargs": {"kernel_size": size}}
    models = importlib.import_module("asteroid_upsamplers.models")
    package = {**target.package, "model_args": args, "state_dict": repaired.state_dict()}
    try:
        models.portable.PortableModel.from_pretrained(package)
    except Exception as error:  # whatever settings make a network raise
        kind = type(target.network).__name__
        raise UsageError(
            f"a model file cannot hold a {kind} with these layers ({one_line(error)}): swap all of "
            "them for one family, or repair a factory of the network"
        ) from error
    return args


def _record_of(record: Any) -> dict[str, Any]:
    """What :func:`save_repaired` noted, if it is that.

    Raises:
        UsageError: If it is something else.
    """
    whole = isinstance(record, dict) and record.get("format") == FORMAT
    whole = whole and isinstance(record.get("names"), list)
    whole = whole and isinstance(record.get("original"), dict)
    if not whole or not all(isinstance(value, Tensor) for value in record["original"].values()):
        raise UsageError(
            "holds no record of a repair that this version can undo: only files that "
            "asteroid-upsamplers repair wrote do"
        )
    return record


def check_output(path: Path, sources: Sequence[str | Path], force: bool) -> None:
    """Refuse an output that must not be written, before any work.

    Raises:
        UsageError: Saying why.
    """
    if any(path.exists() and Path(source).exists() and path.samefile(source) for source in sources):
        raise UsageError(f"{path}: is an input of this command; write to another file")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: is a folder or a device, must be the name of a file")
    if path.exists() and not force:
        raise UsageError(f"{path}: exists already (-f replaces it)")
    folder = next(folder for folder in path.absolute().parents if folder.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(f"{path}: {folder} is no folder that can be written to")


def _save(path: Path, content: Any) -> None:
    with whole_or_nothing(path) as partial, tell_full_disk(partial, RuntimeError):
        torch.save(content, partial)
