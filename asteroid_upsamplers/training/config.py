"""Configurations: ``conf.yml`` has every key, a variant only what differs, options come last."""

from __future__ import annotations

import argparse
import inspect
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asteroid.models
import torch
import yaml
from asteroid.engine import optimizers
from asteroid.utils import parse_args_as_dict, prepare_parser_from_dict

from ..errors import UsageError
from ..files import whole_or_nothing
from ..models import MusicSeparator
from ..registry import nearest_names
from .losses import LOSSES

Config = dict[str, dict[str, Any]]
"""Sections of keys, as in Asteroid's recipes; a key stands in one section only."""

_WHOLE = {"sample_rate": 1, "num_workers": 0, "remix_group": 1, "epochs": 1, "batch_size": 1}
_WHOLE |= {"valid_every": 1, "seed": 0, "channels": 1, "depth": 1, "shifts": 0}
_WHOLE |= {"accumulate": 1, "num_nodes": 1, "devices": 1, "batch": 1}
"""Keys that are whole numbers, and the least that is allowed."""

_FROM_THE_MACHINE = {"num_workers", "devices"}
"""Keys that may be null: as many as the machine has."""

_SWITCHES = {"checkpoint_activations", "compile"}

_NUMBERS: dict[str, tuple[float, float]] = {
    "segment": (1e-3, math.inf),
    "segment_stride": (1e-3, math.inf),
    "shift": (0, math.inf),
    "gain_min": (0, math.inf),
    "gain_max": (0, math.inf),
    "lr": (0, math.inf),
    "weight_decay": (0, math.inf),
    "chunk": (1e-3, math.inf),
    "overlap": (0, 0.5),
    "gradient_clip": (0, math.inf),
    "ema": (0, 0.999999),
}
"""Keys that are numbers, and from where to where."""

_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true")

_STRATEGIES = ("auto", "ddp", "fsdp")


def load_config(conf_path: Path, variants: Sequence[Path] = ()) -> Config:
    """Read a configuration and lay variants over it, in their order.

    Where a variant names another model, its section ``model`` takes the place of the other one, as
    the settings of one network mean nothing to another.

    Args:
        conf_path: YAML with every key.
        variants: YAML files with the keys that differ.

    Raises:
        UsageError: If a file cannot be read, or a variant has a key that ``conf_path`` has not,
            naming it and the nearest one.
    """
    conf = _read(conf_path)
    for path in variants:
        for section, values in _read(path).items():
            if section not in conf:
                raise UsageError(f"{path}: unknown section {section!r}, {_hint(section, conf)}")
            if section == "model" and values.get("name") not in (None, conf[section]["name"]):
                conf[section] = values
                continue
            for key, value in values.items():
                if key not in conf[section]:
                    raise UsageError(
                        f"{path}: unknown key {section}.{key}, {_hint(key, conf[section])}"
                    )
                conf[section][key] = value
    return conf


def parse_arguments(description: str, argv: Sequence[str] | None = None) -> tuple[Config, Path]:
    """The command line of a recipe: ``--conf``, ``--variant`` (repeatable), and any key of it.

    Args:
        description: What the command does.
        argv: Arguments; the process's own if ``None``.

    Returns:
        The checked configuration and the experiment folder.

    Raises:
        UsageError: For an unknown key or an impossible value.
    """
    files = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    files.add_argument("--conf", type=Path, default=Path("local/conf.yml"), help="every key")
    files.add_argument(
        "--variant", type=Path, action="append", default=[], help="what differs; repeatable"
    )
    files.add_argument("--exp_dir", type=Path, required=True, help="folder of the experiment")
    known, rest = files.parse_known_args(argv)
    conf = load_config(known.conf, known.variant)
    keys = [key for section in conf.values() for key in section]
    parser = argparse.ArgumentParser(description=description, parents=[files], allow_abbrev=False)
    parser = prepare_parser_from_dict(conf, parser=parser)
    for word in rest:
        option = word.split("=")[0]
        if option.startswith("--") and option[2:] not in {*keys, "help"}:
            raise UsageError(f"unknown option {option}, {_hint(option[2:], keys)}")
    conf = parse_args_as_dict(parser, args=argv)
    conf.pop("main_args", None)
    check_config(conf)
    return conf, known.exp_dir


def check_config(conf: Config) -> None:
    """Check every value against what is allowed, and build the model without its weights.

    Raises:
        UsageError: Naming the key, its value, and what is allowed.
    """
    for section, values in conf.items():
        for key, value in values.items():
            allowed = _allowed(key, value)
            if allowed:
                raise UsageError(f"{section}.{key} is {value!r}, allowed is {allowed}")
    with torch.device("meta"):
        build_model(conf)


def _allowed(key: str, value: Any) -> str | None:
    """What is allowed for ``key``, if ``value`` is not."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if key in _FROM_THE_MACHINE and value is None:
        return None
    if key in _SWITCHES:
        return None if isinstance(value, bool) else "true or false"
    if key in _WHOLE:
        good = number and isinstance(value, int) and value >= _WHOLE[key]
        return None if good else f"a whole number from {_WHOLE[key]} up"
    if key in _NUMBERS:
        least, most = _NUMBERS[key]
        if number and least <= value <= most:
            return None
        return f"a number from {least:g} " + ("up" if most == math.inf else f"to {most:g}")
    if key == "precision" and value not in _PRECISIONS:
        return " or ".join(_PRECISIONS)
    if key == "strategy" and value not in _STRATEGIES:
        return " or ".join(_STRATEGIES)
    if key == "loss" and value not in LOSSES:
        return " or ".join(LOSSES)
    if key == "optimizer":
        try:
            optimizers.get(value)
        except ValueError:
            return "the name of one of torch's or torch_optimizer's optimizers, such as adam"
    return None


def build_model(conf: Config) -> MusicSeparator:
    """The network of a configuration: ``model.name`` and its settings.

    Raises:
        UsageError: If there is no such network, or its settings are impossible.
    """
    settings = dict(conf["model"])
    name = settings.pop("name")
    cls = _model_class(name)
    if "normalize" not in settings:
        raise UsageError("model.normalize is missing, allowed is true or false")
    kernel_size = settings.pop("upsampler_kernel_size", None)
    if kernel_size is not None:
        settings["upsampler_kwargs"] = {"kernel_size": kernel_size}
    known = inspect.signature(cls).parameters
    unknown = [key for key in settings if key not in known]
    if unknown:
        raise UsageError(f"unknown key model.{unknown[0]} of {name}, {_hint(unknown[0], known)}")
    try:
        return cls(**settings, sample_rate=conf["data"]["sample_rate"])
    except TypeError as error:
        raise UsageError(f"{name}: impossible settings ({error})") from None


def _model_class(name: str) -> type[MusicSeparator]:
    """Any that is registered with Asteroid and separates music."""
    try:
        cls = asteroid.models.get(name)
    except ValueError:
        cls = None
    if isinstance(cls, type) and issubclass(cls, MusicSeparator):
        return cls
    known = [known.__name__ for known in MusicSeparator.__subclasses__()]
    raise UsageError(f"model.name is {name!r}, no separator of music, {_hint(str(name), known)}")


def save_config(conf: Config, exp_dir: Path) -> None:
    """Keep the configuration with the experiment, and refuse to go on with another one.

    Raises:
        UsageError: If the folder holds an experiment that differs in more than its length.
    """
    path = exp_dir / "conf.yml"
    if path.exists():
        stored = _read(path)
        if stored == conf:
            return
        before, now = _comparable(stored), _comparable(conf)
        differing = [key for key in now if now[key] != before.get(key)]
        if differing:
            listing = ", ".join(f"{k} {before.get(k)!r} -> {now[k]!r}" for k in differing)
            raise UsageError(
                f"{exp_dir} holds another experiment ({listing}): choose another --tag"
            )
    with whole_or_nothing(path) as partial:
        partial.write_text(yaml.safe_dump(conf, sort_keys=False))


_MAY_CHANGE = {"epochs", "num_workers", "accumulate", "devices", "num_nodes"}
_MAY_CHANGE |= {"strategy", "checkpoint_activations", "compile", "batch"}
"""How long, and on what: the same experiment up to rounding."""


def _comparable(conf: Config) -> dict[str, Any]:
    return {
        f"{section}.{key}": value
        for section, values in conf.items()
        for key, value in values.items()
        if key not in _MAY_CHANGE
    }


def _read(path: Path) -> Config:
    try:
        conf = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(conf, dict) or not all(isinstance(v, dict) for v in conf.values()):
        raise UsageError(f"{path}: sections of keys are needed")
    return conf


def _hint(name: str, known: Any) -> str:
    return nearest_names(name, known)
