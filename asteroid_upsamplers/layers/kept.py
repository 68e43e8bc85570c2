"""What is computed from parameters alone, kept between calls that ask for no gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

SAMPLED_VALUES = 64


class Kept:
    """Tensors made of a module's parameters, by name.

    A tensor is made anew when a parameter has changed. Writes through ``parameter.data`` leave no
    trace in the version counter, so a few values of every parameter are compared as well. Nothing
    is kept while gradients are asked for, or while ``torch.compile`` or ``torch.jit.trace`` look
    on, and nothing goes along when the module is copied or pickled. It costs the tensors' memory.
    """

    def __init__(self) -> None:
        self._tensors: dict[str, tuple[Any, Tensor, Tensor]] = {}

    def get(self, name: str, module: nn.Module, make: Callable[[], Tensor]) -> Tensor:
        """``make()``, or what it gave before if the parameters of ``module`` are the same."""
        parameters = list(module.parameters())
        learning = torch.is_grad_enabled() and any(p.requires_grad for p in parameters)
        if learning or torch.compiler.is_compiling() or torch.jit.is_tracing():
            return make()
        if parameters[0].is_cuda and torch.cuda.is_current_stream_capturing():
            return make()  # comparing values would wait for the device
        try:
            pointers = [(p.data_ptr(), p.dtype, _version(p)) for p in parameters]
        except RuntimeError:  # no storage of its own, inside torch.func
            return make()
        key = (torch.is_inference_mode_enabled(), pointers)
        sample = torch.cat([_sample(p) for p in parameters])
        if name in self._tensors:
            kept_key, kept_sample, tensor = self._tensors[name]
            if kept_key == key and torch.equal(kept_sample, sample):
                return tensor
        tensor = make()
        self._tensors[name] = (key, sample, tensor)
        return tensor

    def __getstate__(self) -> dict[str, Any]:
        return {"_tensors": {}}


def _version(parameter: Tensor) -> int | None:
    return None if parameter.is_inference() else parameter._version


def _sample(parameter: Tensor) -> Tensor:
    return parameter.detach().flatten()[:: 1 + parameter.numel() // SAMPLED_VALUES]
