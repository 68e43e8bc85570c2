"""Model files that hold plain values and tensors only, and are never unpickled."""

from __future__ import annotations

import copy
import pickle
import zipfile
from os import PathLike
from pathlib import Path
from typing import Any

import asteroid.models
import torch
from asteroid.models import BaseModel
from torch import Tensor
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present
from torch.torch_version import TorchVersion

from ..blocks.arguments import KeepsArguments
from ..blocks.fitting import without_fitting
from ..errors import UsageError
from ..files import damage_of

torch.serialization.add_safe_globals([TorchVersion])
"""Asteroid's own files hold one, which is a string; its own loading reads them now, too."""

WRAPPERS = ("module.", "_orig_mod.")
"""What DDP and ``torch.compile`` put before the names of a model's weights."""


class PortableModel(KeepsArguments, BaseModel):
    """An Asteroid model that is stored as its class's name, its arguments and its weights."""

    def get_model_args(self) -> dict[str, Any]:
        """All arguments of the constructor as plain values; with them it builds the same model."""
        return copy.deepcopy(self.arguments)

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
            **kwargs: For the model's constructor; they take precedence over the stored ones.

        Raises:
            UsageError: (a ``ValueError``) if the file is no model file, or holds pickled code,
                which is never run.
        """
        target = pretrained_model_conf_or_path
        if isinstance(target, (str, PathLike)) and Path(target).exists():
            target = load_package(target)
        with without_fitting():  # all weights are in the file
            return super().from_pretrained(target, *args, **kwargs)


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
            f"({one_line(error)})"
        ) from None
    except Exception as error:  # bytes of another kind make the unpickler stumble in many ways
        raise UsageError(f"{path}: not a model file ({one_line(error)})") from None
    needed = {"model_name", "state_dict", "model_args"}
    if not isinstance(package, dict) or not needed <= package.keys():
        lightning = isinstance(package, dict) and "pytorch-lightning_version" in package
        raise UsageError(
            f"{path}: not a model file: it needs {', '.join(sorted(needed))}"
            + (" (this is a training checkpoint: use best_model.pth)" if lightning else "")
        )
    package["state_dict"] = _unwrapped(package["state_dict"])
    return package


def load_model(path: str | PathLike) -> BaseModel:
    """The model in a file, of any class that Asteroid knows, in evaluation mode.

    Raises:
        UsageError: As :func:`load_package`, or if Asteroid does not know the class, or its settings
            or weights do not fit it.
    """
    package = load_package(path)
    _register_with_upsampler(str(package["model_name"]))
    try:
        asteroid.models.get(package["model_name"])
        return PortableModel.from_pretrained(package).eval()
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"{path}: cannot build its model ({one_line(error)})") from error


def _register_with_upsampler(name: str) -> None:
    """Make the class that ``with_upsampler`` gives for one of Asteroid's, if it is named so."""
    from .with_upsampler import with_upsampler

    original = getattr(asteroid.models, name.removeprefix("Upsampler"), None)
    if name.startswith("Upsampler") and isinstance(original, type):
        with_upsampler(original)


def one_line(error: Exception) -> str:
    """What an exception says, in one line of at most 300 characters."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in WRAPPERS:
        if isinstance(state, dict) and all(str(key).startswith(prefix) for key in state):
            consume_prefix_in_state_dict_if_present(state, prefix)
    return state
