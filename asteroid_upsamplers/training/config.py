"""Configurations: YAML files laid over each other, then options of the command line.

``conf.yml`` has every key; another file (a variant, a size, a model) only what differs; each key is
also an option ``--key value``. OmegaConf merges them and checks names and types (:mod:`.schema`).
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

import asteroid.models
import torch
import yaml
from asteroid.engine import optimizers
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException
from torch import nn

from .. import layers
from ..errors import UsageError, one_line
from ..files import whole_or_nothing
from ..models import MusicSeparator, load_model
from ..registry import nearest_names
from .schema import Config, Experiment, check_limits, fields_of


def load_config(conf_path: Path, variants: Sequence[Path] = (), **options: str) -> Config:
    """Read a configuration, lay variants over it in their order, then options.

    Where a variant names another model, its section ``model`` takes the place of the other one, as
    the settings of one network mean nothing to another.

    Args:
        conf_path: YAML with every key.
        variants: YAML files with the keys that differ.
        **options: Values as on a command line, in YAML's syntax, by their keys.

    Raises:
        UsageError: If a file cannot be read, a key is unknown, or a value is impossible.
    """
    conf = OmegaConf.structured(Experiment)
    conf.model = {}
    for path in (conf_path, *variants):
        layer = _read(path)
        model, before = layer.get("model"), conf.model.get("name")
        if isinstance(model, dict) and model.get("name", before) != before:
            conf.model = {}
        conf = _merge(conf, layer, f"{path}: ")
    whole = cast(Config, OmegaConf.to_container(conf))
    missing = [key for key, values in whole.items() if values == MISSING]
    missing += [
        f"{s}.{k}" for s, v in whole.items() if s not in missing for k in v if v[k] == MISSING
    ]
    if missing:
        raise UsageError(f"{conf_path}: {missing[0]} is missing")
    for key, text in options.items():
        now = cast(Config, OmegaConf.to_container(conf))
        (section,) = [name for name in now if key in now[name]]
        is_text = isinstance(now[section][key], str)  # a path may look like YAML
        conf = _merge(conf, {section: {key: text if is_text else _from_yaml(text)}}, "")
    plain = cast(Config, OmegaConf.to_container(conf))
    check_config(plain)
    return plain


def parse_arguments(
    description: str, argv: Sequence[str] | None = None
) -> tuple[Config, argparse.Namespace]:
    """The command line of a recipe: ``--conf``, ``--variant`` (repeatable), and any key of it.

    Args:
        description: What the command does.
        argv: Arguments; the process's own if ``None``.

    Returns:
        The checked configuration; and the other options, ``exp_dir`` and ``dry_run`` among them.

    Raises:
        UsageError: For an unknown option or an impossible value.
    """
    files = _Parser(add_help=False, allow_abbrev=False)
    files.add_argument("--conf", type=Path, default=Path("local/conf.yml"), help="every key")
    files.add_argument(
        "--variant", type=Path, action="append", default=[], help="what differs; repeatable"
    )
    known, _ = files.parse_known_args(argv)
    conf = load_config(known.conf, known.variant)
    parser = _Parser(description=description, parents=[files], allow_abbrev=False)
    parser.add_argument("--exp_dir", type=Path, required=True, help="folder of the experiment")
    parser.add_argument(
        "--dry_run", action="store_true", help="print parameters, memory, songs and steps, and stop"
    )
    for section, values in conf.items():
        group = parser.add_argument_group(section)
        for key, value in values.items():
            words = f"default: {'null' if value is None else value}".replace("%", "%%")
            group.add_argument(f"--{key}", default=argparse.SUPPRESS, help=words)
    own, unknown = parser.parse_known_args(argv)
    keys = {key for values in conf.values() for key in values}
    if unknown:
        word = unknown[0].split("=")[0]
        raise UsageError(f"unknown option {word}, {nearest_names(word.lstrip('-'), keys)}")
    options = {key: text for key, text in vars(own).items() if key in keys}
    return load_config(known.conf, known.variant, **options), own


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (--help lists the options)")


def check_config(conf: Config) -> None:
    """Check every value, and build the model without its weights.

    Raises:
        UsageError: Naming the key, its value, and what it must be.
    """
    check_limits(conf)
    try:
        optimizer: Any = optimizers.make_optimizer([nn.Parameter(torch.ones(1))], **conf["optim"])
    except Exception:  # whatever has that name
        optimizer = None
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise UsageError(
            f"optim.optimizer is {conf['optim']['optimizer']!r}: must be the name of an optimizer "
            "of torch or torch_optimizer with lr and weight_decay, such as adam"
        )
    try:
        with torch.device("meta"):
            build_model(conf)
    except (RuntimeError, TypeError, ArithmeticError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{conf['model']['name']} cannot be built so: {reason}") from None


def build_model(conf: Config) -> MusicSeparator:
    """The network of a configuration: ``model.name`` and its settings.

    Raises:
        UsageError: If there is no such network, or its settings are impossible.
    """
    settings = dict(conf["model"])
    name = settings.pop("name", None)
    cls = _model_class(name)
    kernel_size = settings.pop("upsampler_kernel_size", None)
    if kernel_size is not None:
        settings["upsampler_kwargs"] = {"kernel_size": kernel_size}
    known = inspect.signature(cls).parameters
    if conf["training"].get("init_from"):
        _hold_tone_free(settings, known)
    for key in settings:
        if key not in known:
            raise UsageError(f"unknown key model.{key} of {name}, {nearest_names(key, known)}")
    for key, value in {"normalize": None, **settings}.items():
        if known[key].annotation in (bool, "bool") and not isinstance(value, bool):
            raise UsageError(f"model.{key} must be true or false")
    data = conf["data"]
    return cls(sources=data["sources"], sample_rate=data["sample_rate"], **settings)


def _hold_tone_free(settings: dict[str, Any], known: Mapping[str, inspect.Parameter]) -> None:
    """Keep the layers of a repaired model without tones, if they are of a family that can."""
    name = settings.get("upsampler", known["upsampler"].default if "upsampler" in known else None)
    if name in layers.available() and "tone_free" in inspect.signature(layers.get(name)).parameters:
        given = settings.get("upsampler_kwargs") or {}
        settings["upsampler_kwargs"] = {**given, "tone_free": True}


def start_from_file(conf: Config, model: MusicSeparator) -> None:
    """Give a model the weights of ``training.init_from``, if there is one.

    Raises:
        UsageError: If the file holds another network.
    """
    path = conf["training"].get("init_from")
    if not path:
        return
    try:
        given = load_model(path)
    except UsageError as error:
        raise UsageError(f"training.init_from: {error}") from error
    wanted, found = _arguments(model), _arguments(given)
    differing = [key for key in wanted if wanted[key] != found.get(key)]
    if type(given) is not type(model) or differing:
        what = ", ".join(f"{k} {found.get(k)!r}, not {wanted[k]!r}" for k in differing[:3])
        raise UsageError(
            f"training.init_from: {path} holds another network than is configured: "
            f"{type(given).__name__} {what}"
        )
    try:
        model.load_state_dict(given.state_dict())
    except RuntimeError as error:  # of shapes
        raise UsageError(
            f"training.init_from: {path} holds another network than is configured "
            f"({one_line(error)})"
        ) from None


def _arguments(model: Any) -> dict[str, Any]:
    """Of the constructor, but for those of the upsampler: its weights tell whether they fit."""
    return {k: v for k, v in model.get_model_args().items() if k != "upsampler_kwargs"}


def _model_class(name: Any) -> type[MusicSeparator]:
    """Any that is registered with Asteroid and separates music."""
    try:
        cls = asteroid.models.get(name)
    except ValueError:
        cls = None
    if isinstance(cls, type) and issubclass(cls, MusicSeparator):
        return cls
    hint = nearest_names(str(name), [known.__name__ for known in MusicSeparator.__subclasses__()])
    raise UsageError(f"model.name is {name!r}: must be a separator of music, {hint}")


def save_config(conf: Config, exp_dir: Path) -> None:
    """Keep the configuration with the experiment."""
    check_same_experiment(conf, exp_dir)
    with whole_or_nothing(exp_dir / "conf.yml") as partial:
        partial.write_text(yaml.safe_dump(conf, sort_keys=False))


def check_same_experiment(conf: Config, exp_dir: Path) -> None:
    """Refuse a folder that holds another experiment.

    Raises:
        UsageError: If it was configured to learn something else; naming what differs.
    """
    path = exp_dir / "conf.yml"
    stored = _read(path) if path.exists() else {}
    differing = []
    for section, values in conf.items():
        may_change = {f.name for f in fields_of(section) if f.metadata["may_change"]}
        for key, value in values.items():
            before = stored.get(section, {}).get(key, value)  # an older one may lack the key
            if before != value and key not in may_change:
                differing.append(f"{section}.{key} {before!r} -> {value!r}")
    if differing:
        listing = ", ".join(differing)
        raise UsageError(f"{exp_dir} holds another experiment ({listing}): choose another --tag")


def _merge(conf: DictConfig, layer: dict, origin: str) -> DictConfig:
    """One layer more; what OmegaConf has to say about it in one line."""
    for section, values in layer.items():
        types = {field.name: str(field.type) for field in fields_of(section)}
        for key, value in values.items():
            problem = _not_literal(value, types.get(key, "Any"))
            if problem:
                raise UsageError(f"{origin}{section}.{key} is {value!r}: {problem}")
    try:
        return cast(DictConfig, OmegaConf.merge(conf, layer))
    except ConfigKeyError as error:
        known = [field.name for field in dataclasses.fields(cast(Any, error.object_type))]
        hint = nearest_names(str(error.key), known)
        raise UsageError(f"{origin}unknown key {error.full_key}, {hint}") from None
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        key = f"{error.full_key}: " if error.full_key else ""
        raise UsageError(f"{origin}{key}{reason}") from None
    except TypeError:  # a mapping in the place of a list
        raise UsageError(f"{origin}{layer}: a value is of another type than its key's") from None


def _not_literal(value: Any, type_name: str) -> str:
    """What is wrong with a value that OmegaConf would take for something else than it says."""
    if value == MISSING:
        return "no value"
    if type_name != "str" and isinstance(value, str) and "${" in value:
        return "must be a value, not a reference"
    if type_name == "bool" and isinstance(value, (int, float)) and value not in (0, 1):
        return "must be true or false"
    return ""


def _from_yaml(text: str) -> Any:
    try:
        return OmegaConf.from_dotlist([f"value={text}"]).value
    except (yaml.YAMLError, OmegaConfBaseException):
        return text


def _read(path: Path) -> Config:
    try:
        found = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise UsageError(f"{path}: cannot be read as YAML ({reason})") from None
    if (
        not found
        or not isinstance(found, dict)
        or not all(isinstance(v, dict) for v in found.values())
    ):
        raise UsageError(f"{path}: must be sections of keys, such as 'training:' with 'epochs: 3'")
    return cast(Config, found)
