"""Constructor arguments: remembered to save and rebuild a network, and checked."""

from __future__ import annotations

import copy
import inspect
from typing import Any

from .. import layers
from ..errors import UsageError
from ..layers.settings import integer
from ..registry import nearest_names


class KeepsArguments:
    """A base for networks that are built again from what their constructor was given.

    Attributes:
        arguments: All arguments of the constructor as plain values: an upsampler's class by its
            name, tuples as lists, and no ``*_kwargs`` as an empty dictionary.

    Raises:
        UsageError: (a ``ValueError``) for a keyword that the constructor does not have, with the
            nearest ones.

    Example:
        >>> class Network(KeepsArguments):
        ...     def __init__(self, upsampler, sizes=(1, 2)):
        ...         pass
        >>> Network(layers.Linear).arguments
        {'upsampler': 'linear', 'sizes': [1, 2]}
    """

    arguments: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        various = {p.name for p in parameters if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
        names = [p.name for p in parameters if p.name not in various]
        unknown = [name for name in kwargs if name not in names and not various]
        if unknown:
            hint = nearest_names(unknown[0], names)
            raise UsageError(f"{cls.__name__}: unknown setting {unknown[0]!r}: {hint}")
        # copy and pickle give no arguments; too few of them are the constructor's to refuse
        bound = inspect.Signature(parameters).bind_partial(*args, **kwargs)
        bound.apply_defaults()
        made = super().__new__(cls)
        given = {k: _plain(k, v) for k, v in bound.arguments.items() if k not in various}
        object.__setattr__(made, "arguments", given)
        return made


def at_least(network: str, least: int, **settings: int) -> None:
    """Refuse settings below ``least``.

    Raises:
        UsageError: Naming the network, the setting and its value.
    """
    for name, value in settings.items():
        integer(network, name, value, least)


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, type) and issubclass(value, layers.Upsampler):
        return value.name
    if value is None and name.endswith("_kwargs"):
        return {}
    return list(value) if isinstance(value, tuple) else copy.deepcopy(value)
