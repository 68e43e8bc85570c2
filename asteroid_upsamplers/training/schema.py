"""The keys of a ``conf.yml``: their types and limits, and which may change from run to run."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from .losses import LOSSES

Config = dict[str, dict[str, Any]]
"""Sections of keys, as in Asteroid's recipes; a key stands in one section only."""

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true")


LONGEST = 3600
"""Of anything that is cut out of songs, in seconds."""


def setting(
    least: float = -math.inf,
    most: float = math.inf,
    choices: Sequence[str] = (),
    may_change: bool = False,
) -> Any:
    """A key with limits; ``may_change``: from run to run of the same experiment."""
    limits = {"least": least, "most": most, "choices": choices, "may_change": may_change}
    return dataclasses.field(metadata=limits)


@dataclass
class Data:
    """Which songs, and how they are cut into segments."""

    musdb18_dir: str = setting(may_change=True)
    wav_dir: str = setting(may_change=True)
    skip_bad_songs: bool = setting(may_change=True)
    sources: list[str] = setting()  # noqa: RUF009
    sample_rate: int = setting(least=1)
    segment: float = setting(least=1e-3, most=LONGEST)
    segment_stride: float = setting(least=1e-3, most=LONGEST)
    num_workers: int | None = setting(least=0, may_change=True)


@dataclass
class Augmentation:
    """How segments become new mixtures (:class:`asteroid_upsamplers.data.Augment`)."""

    shift: float = setting(least=0, most=LONGEST)
    flip_sign: bool = setting()
    flip_channels: bool = setting()
    remix_group: int = setting(least=1)
    gain_min: float = setting(least=0)
    gain_max: float = setting(least=0)


@dataclass
class Optim:
    """The arguments of Asteroid's ``make_optimizer``."""

    optimizer: str = setting()
    lr: float = setting(least=1e-30)
    weight_decay: float = setting(least=0)


@dataclass
class Training:
    """How long, on what, and how."""

    loss: str = setting(choices=tuple(LOSSES))
    epochs: int = setting(least=1, may_change=True)
    batch_size: int = setting(least=1)
    half_lr: int | None = setting(least=1)
    early_stop: int | None = setting(least=1, may_change=True)
    devices: int | None = setting(least=1, may_change=True)
    num_nodes: int = setting(least=1, may_change=True)
    accumulate: int = setting(least=1, may_change=True)
    checkpoint_activations: bool = setting(may_change=True)
    compile: bool = setting(may_change=True)
    gradient_clip: float = setting(least=0)
    ema: float = setting(least=0, most=0.999999)
    precision: str = setting(choices=PRECISIONS)
    valid_every: int = setting(least=1)
    checkpoint_every: int = setting(least=1, may_change=True)
    seed: int = setting(least=0, most=2**32 - 1)
    init_from: str | None = setting()


@dataclass
class Experiment:
    """The sections; ``model`` holds the name of a network and the arguments of its constructor."""

    data: Data
    augmentation: Augmentation
    model: dict[str, Any]
    optim: Optim
    training: Training


def fields_of(section: str) -> tuple[dataclasses.Field, ...]:
    """The keys of a section; none of ``model``, whose keys are those of its network."""
    cls = typing.get_type_hints(Experiment).get(section)
    return dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()


def check_limits(conf: Config) -> None:
    """Refuse the first value that is not within its limits.

    Raises:
        UsageError: Naming the key, its value, and what it must be.
    """
    for section, values in conf.items():
        for field in fields_of(section):
            value, limits = values[field.name], field.metadata
            must_be = ""
            if limits["choices"] and value not in limits["choices"]:
                must_be = " or ".join(limits["choices"])
            elif isinstance(value, (int, float)) and not value >= limits["least"]:
                must_be = f"at least {limits['least']:g}"
            elif isinstance(value, float) and not math.isfinite(value):
                must_be = "a finite number"
            elif isinstance(value, (int, float)) and not value <= limits["most"]:
                must_be = f"at most {limits['most']:g}"
            if must_be:
                raise UsageError(f"{section}.{field.name} is {value!r}: must be {must_be}")
