"""Model files that hold plain values and tensors only, and are never unpickled."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import asteroid.models
from asteroid.models import BaseModel
from asteroid.utils.hub_utils import SR_HASHTABLE, cached_download
from torch import Tensor, nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from ..blocks.arguments import KeepsArguments
from ..blocks.fitting import without_fitting
from ..errors import UsageError, one_line
from ..files import file_names
from ..layers.weights import refuse_non_finite
from .bounded import Bounded
from .model_files import read_tensors, refuse_settings, refuse_state

NEEDED = {"model_name", "state_dict", "model_args"}
HIGHEST_RATE = 10_000_000
"""In Hz."""

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
                which is never run; or if a weight is NaN or infinite.
        """
        target = pretrained_model_conf_or_path
        package = cls.adapted(package_of(target), kwargs)
        try:
            return _built(package, cls, args, kwargs)
        except Exception as error:  # whatever settings from a file make a network raise
            if isinstance(target, dict):
                raise
            reason = one_line(error)
            raise UsageError(f"{target}: cannot build its model ({reason})") from error

    @classmethod
    def adapted(cls, package: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
        """What :meth:`from_pretrained` builds, given the arguments that it was asked for."""
        return package

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As torch's, but refuses what would not be the same weights, and what is no number.

        Raises:
            UsageError: (a ``ValueError``) if a weight is of another kind, such as a quantized one,
                NaN or infinite.
        """
        _refuse_other_kinds(self, state_dict)
        result = super().load_state_dict(state_dict, *args, **kwargs)
        refuse_non_finite(self)
        return result


def package_of(target: dict | str | PathLike) -> dict[str, Any]:
    """A copy of what ``serialize`` gave, from wherever it is.

    Args:
        target: The dictionary, a path, or a name that Asteroid knows and downloads.

    Raises:
        UsageError: If it is no such thing.
    """
    if isinstance(target, dict):
        package = dict(target)
        missing = sorted(NEEDED - package.keys())
        if missing:
            raise UsageError(f"a model's package needs {missing[0]}")
    elif isinstance(target, str) and not Path(target).exists():
        try:
            package = load_package(cached_download(target))
        except UsageError:
            raise
        except Exception as error:  # of the network, or of the name
            raise UsageError(
                f"{target}: no such file, and no model that can be downloaded ({one_line(error)})"
            ) from error
        if target in SR_HASHTABLE:  # published before files held their sample rate
            package["model_args"].setdefault("sample_rate", SR_HASHTABLE[target])
    else:
        package = load_package(target)
    package["model_args"] = dict(package["model_args"])
    return package


def load_package(path: str | PathLike) -> dict[str, Any]:
    """Read a file that ``torch.save(model.serialize(), path)`` wrote; never runs code in it.

    Raises:
        UsageError: If it is no such file, naming it and the reason.
    """
    path = Path(path)
    package = read_tensors(path)
    if not isinstance(package, dict) or not package.keys() >= NEEDED:
        raise UsageError(
            f"{path}: not a model file: it needs {', '.join(sorted(NEEDED))}{_other(package)}"
        )
    try:
        refuse_settings(package["model_args"])
        refuse_state(package["state_dict"], path.stat().st_size)
    except UsageError as error:
        raise UsageError(f"{path}: not a model file: {error}") from None
    return package


def _other(content: Any) -> str:
    """What a file is instead of a model file, with what to do."""
    if isinstance(content, dict) and "pytorch-lightning_version" in content:
        return " (this is a training checkpoint: use best_model.pth)"
    values = list(content.values()) if isinstance(content, dict) else []
    if values and all(isinstance(value, Tensor) for value in values):
        return (
            " (this is a state dict, without the settings of its network; asteroid-upsamplers "
            "convert reads those of Demucs v1 and v2)"
        )
    return ""


def load_model(path: str | PathLike) -> BaseModel:
    """The model in a file, of any class that Asteroid knows, in evaluation mode.

    Raises:
        UsageError: If the file is no model file, Asteroid does not know the class, its settings or
            weights do not fit it, a weight is NaN or infinite, or a source has a name that cannot
            be part of a file name.
    """
    return PortableModel.from_pretrained(Path(path)).eval()


def _built(package: dict[str, Any], cls: type[BaseModel], args: tuple, kwargs: Any) -> BaseModel:
    """The model of a package, in no more memory than its weights justify.

    ``cls`` is for packages of a class that Asteroid does not know.
    """
    state, settings = package["state_dict"], {**package["model_args"], **kwargs}
    refuse_state(state)
    state = _unwrapped(dict(state))
    made = _known_class(package["model_name"])
    if made is None and cls is PortableModel:
        raise UsageError(f"Asteroid knows no model {package['model_name']!r:.80}")
    with without_fitting(), Bounded(state):  # all weights are in the package
        model = (made or cls)(*args, **settings)
    if getattr(model, "sources", None):
        file_names(f"{type(model).__name__}: sources", model.sources)
    rate = model.sample_rate
    if rate is not None and not (isinstance(rate, (int, float)) and 0 < rate <= HIGHEST_RATE):
        raise UsageError(f"sample_rate is {rate!r:.80}, must be a number up to {HIGHEST_RATE}")
    if not isinstance(model, PortableModel):
        _refuse_other_kinds(model, state)
    model.load_state_dict(state)
    refuse_non_finite(model)
    return model


def _known_class(name: Any) -> type[BaseModel] | None:
    """The model class of that name; of a name that Asteroid finds, only if it is a model."""
    if not isinstance(name, str):
        raise UsageError(f"model_name is of type {type(name).__name__}, must be a text")
    _register_with_upsampler(name)
    try:
        found = asteroid.models.get(name)
    except ValueError:
        return None
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def _register_with_upsampler(name: str) -> None:
    """Make the class that ``with_upsampler`` gives for one of Asteroid's, if it is named so."""
    from .with_upsampler import with_upsampler

    original = getattr(asteroid.models, name.removeprefix("Upsampler"), None)
    if name.startswith("Upsampler") and isinstance(original, type):
        with_upsampler(original)


def _refuse_other_kinds(model: nn.Module, state: Mapping[str, Any]) -> None:
    """Refuse weights that torch would cast without a word: whole numbers, complex ones."""
    for name, own in model.state_dict().items():
        given = state.get(name)
        if isinstance(given, Tensor) and _kind_of(given) != _kind_of(own):
            raise UsageError(f"{name} is {given.dtype}, must be {_kind_of(own)} as in the model")


def _kind_of(value: Tensor) -> str:
    if value.is_floating_point():
        return "of floats"
    return "complex" if value.is_complex() else "quantized" if value.is_quantized else "of integers"


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in WRAPPERS:
        if state and all(key.startswith(prefix) for key in state):
            consume_prefix_in_state_dict_if_present(state, prefix)
    return state
