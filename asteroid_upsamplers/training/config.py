"""Configurations: ``conf.yml`` has every key, a variant only what differs, options come last."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from asteroid.utils import parse_args_as_dict, prepare_parser_from_dict

from ..errors import UsageError
from ..files import whole_or_nothing
from ..models import DemucsLike
from ..registry import nearest_names

Config = dict[str, dict[str, Any]]
"""Sections of keys, as in Asteroid's recipes; a key stands in one section only."""

_LIMITS: dict[str, tuple[float, float]] = {
    "sample_rate": (1, float("inf")),
    "segment": (1e-3, float("inf")),
    "segment_stride": (1e-3, float("inf")),
    "num_workers": (0, float("inf")),
    "shift": (0, float("inf")),
    "gain_min": (0, float("inf")),
    "gain_max": (0, float("inf")),
    "remix_group": (1, float("inf")),
    "lr": (0, float("inf")),
    "weight_decay": (0, float("inf")),
    "epochs": (1, float("inf")),
    "batch_size": (1, float("inf")),
    "valid_every": (1, float("inf")),
    "chunk": (1e-3, float("inf")),
    "overlap": (0, 0.5),
}


def load_config(conf_path: Path, variants: Sequence[Path] = ()) -> Config:
    """Read a configuration and lay variants over it, in their order.

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
    files = argparse.ArgumentParser(description, add_help=False, allow_abbrev=False)
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
    """Check every number against its limits, and the model by building it without weights.

    Raises:
        UsageError: Naming the key, its value, and what is allowed.
    """
    for section, values in conf.items():
        for key, (least, most) in _LIMITS.items():
            if key not in values:
                continue
            value = values[key]
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not least <= value <= most:
                limit = (
                    f"a number from {least:g} up"
                    if most == float("inf")
                    else (f"a number from {least:g} to {most:g}")
                )
                raise UsageError(f"{section}.{key} is {value!r}, allowed is {limit}")


def build_model(conf: Config) -> DemucsLike:
    """The network of a configuration.

    Raises:
        UsageError: If its settings are impossible.
    """
    settings = dict(conf["model"])
    kernel_size = settings.pop("upsampler_kernel_size")
    kwargs = {} if kernel_size is None else {"kernel_size": kernel_size}
    return DemucsLike(**settings, upsampler_kwargs=kwargs, sample_rate=conf["data"]["sample_rate"])


def save_config(conf: Config, exp_dir: Path) -> None:
    """Keep the configuration with the experiment, and refuse to go on with another one.

    Raises:
        UsageError: If the folder holds an experiment that differs in more than its length.
    """
    path = exp_dir / "conf.yml"
    if path.exists():
        before, now = _comparable(_read(path)), _comparable(conf)
        differing = [key for key in now if now[key] != before.get(key)]
        if differing:
            listing = ", ".join(f"{k} {before.get(k)!r} -> {now[k]!r}" for k in differing)
            raise UsageError(
                f"{exp_dir} holds another experiment ({listing}): choose another --tag"
            )
    with whole_or_nothing(path) as partial:
        partial.write_text(yaml.safe_dump(conf, sort_keys=False))


_MAY_CHANGE = {"epochs", "num_workers", "musdb18_dir", "wav_dir"}


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
    return copy.deepcopy(conf)


def _hint(name: str, known: Any) -> str:
    return nearest_names(name, known)
