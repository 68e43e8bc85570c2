"""Building the network of a file in no more memory and time than its weights justify."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

from ..errors import UsageError
from .model_files import stored_bytes

NUMBERS, TENSORS = 2**24, 8000
"""What any network may make while it is built: windows, filters, first values."""

TIMES = 8
"""How many times over what is stored: parts of a network may be made and exchanged."""


class Bounded(TorchFunctionMode):
    """Within it, torch makes no more tensors than a network of ``state`` needs.

    Args:
        state: The weights that the network shall have.

    Raises:
        UsageError: Before the memory is taken.
    """

    def __init__(self, state: dict[str, Tensor]):
        super().__init__()
        numbers = stored_bytes(state) // 2  # the smallest type of weights
        self.most = self.left = NUMBERS + TIMES * numbers
        self.tensors = TENSORS + 20 * TIMES * len(state)
        self.words = f"its settings make a network much larger than its {len(state)} weights are"

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Count what is made; look at what is about to be changed."""
        kwargs = kwargs or {}
        if func in _device_constructors():
            self.tensors -= 1
            self.left -= _numbers(func, args, kwargs)
        large = any(isinstance(x, Tensor) and _bytes(x) > 8 * self.most for x in args)
        if large or self.left < 0 or self.tensors < 0:
            raise UsageError(self.words)
        return func(*args, **kwargs)


def _bytes(x: Tensor) -> int:
    return x.untyped_storage().nbytes() if x.layout is torch.strided else 0


def _numbers(func: Callable, args: tuple, kwargs: dict[str, Any]) -> int:
    """How many a new tensor will hold, found without making it."""
    settings = {key: value for key, value in kwargs.items() if key != "generator"}
    try:
        return func(*args, **{**settings, "device": "meta"}).numel()
    except (TypeError, RuntimeError):  # the call itself says what is wrong
        return 0
