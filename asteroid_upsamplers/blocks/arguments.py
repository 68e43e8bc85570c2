"""Constructor arguments: remembered to save and rebuild a network, and checked."""

from __future__ import annotations

import copy
import inspect
import operator
from typing import Any

from .. import layers
from ..errors import UsageError
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
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            names = [p.name for p in parameters]
            for name in kwargs.keys() - names:
                raise UsageError(
                    f"{cls.__name__}: unknown setting {name!r}: {nearest_names(name, names)}"
                )
        # copy and pickle give no arguments; too few of them are the constructor's to refuse
        bound = inspect.Signature(parameters).bind_partial(*args, **kwargs)
        bound.apply_defaults()
        made = super().__new__(cls)
        object.__setattr__(made, "arguments", {n: _plain(n, v) for n, v in bound.arguments.items()})
        return made


def at_least(network: str, least: int, **settings: int) -> None:
    """Refuse settings below ``least``.

    Raises:
        UsageError: Naming the network, the setting and its value.
    """
    for name, value in settings.items():
        try:
            fits = operator.index(value) >= least
        except TypeError:
            raise UsageError(f"{network}: {name} is {value!r}, must be an integer") from None
        if not fits:
            raise UsageError(f"{network}: {name} is {value}, must be at least {least}")


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, type) and issubclass(value, layers.Upsampler):
        return value.name
    if value is None and name.endswith("_kwargs"):
        return {}
    return list(value) if isinstance(value, tuple) else copy.deepcopy(value)
