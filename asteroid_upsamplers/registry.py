"""An explicit registry: names to classes, and errors that suggest the nearest known name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib import metadata
from typing import Generic, TypeVar

from .errors import UsageError

T = TypeVar("T", bound=type)


def nearest_names(name: str, known: Iterable[str]) -> str:
    """The second half of an error about an unknown ``name``: what was likely meant, what is known.

    Example:
        >>> nearest_names("neerest", ["linear", "nearest"])
        'did you mean nearest? Known: linear, nearest'
    """
    known = sorted(known)
    close = difflib.get_close_matches(str(name), known, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"{hint}Known: {', '.join(known)}"


class Registry(Generic[T]):
    """Names to classes.

    Args:
        kind: What the classes are, as error messages call them ("upsampler").
        base: Every registered class is a subclass of it.
        plugins: Entry-point group in which installed packages name classes of their own; each is
            imported and registered when it is first asked for.
    """

    def __init__(self, kind: str, base: type, plugins: str):
        self.kind = kind
        self.base = base
        self.plugins = plugins
        self._classes: dict[str, T] = {}

    def register(self, cls: T) -> T:
        """Add ``cls`` under its ``name``; usable as a decorator.

        Raises:
            ValueError: If it is no subclass of the base, has no name, or the name is taken.
        """
        if not (isinstance(cls, type) and issubclass(cls, self.base)):
            raise ValueError(f"{self.kind}: {cls!r} is no subclass of {self.base.__name__}")
        name = getattr(cls, "name", None)
        if not isinstance(name, str) or not name:
            raise ValueError(
                f"{self.kind}: {cls.__name__} needs a class attribute `name`, a string"
            )
        if self._classes.get(name, cls) is not cls:
            raise ValueError(f"{self.kind}: the name {name!r} is taken by {self._classes[name]!r}")
        self._classes[name] = cls
        return cls

    def available(self) -> list[str]:
        """The known names, sorted; those of plug-ins included."""
        return sorted({*self._classes, *self._entry_points()})

    def get(self, identifier: str | T) -> T:
        """The class of that name; a class of the right kind passes through.

        Raises:
            UsageError: (a ``ValueError``) for an unknown name, with the nearest known ones.
        """
        if isinstance(identifier, type) and issubclass(identifier, self.base):
            return identifier
        if isinstance(identifier, str):
            if identifier not in self._classes and identifier in self._entry_points():
                cls = self.register(self._entry_points()[identifier].load())
                if self._classes.get(identifier) is not cls:
                    raise ValueError(f"entry point {identifier!r}: {cls!r} has another name")
            if identifier in self._classes:
                return self._classes[identifier]
        known = nearest_names(str(identifier), self.available())
        raise UsageError(f"unknown {self.kind} {identifier!r}: {known}")

    def _entry_points(self) -> dict[str, metadata.EntryPoint]:
        return {point.name: point for point in metadata.entry_points(group=self.plugins)}
