"""Leave a network, and everything around it, as it was."""

from __future__ import annotations

import copy
import random
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

CONTAINERS = (dict, OrderedDict, list, set, deque)


@contextmanager
def undisturbed(network: Callable[..., Any]) -> Iterator[None]:
    """Set a network to evaluation mode, without gradients; afterwards everything is as it was.

    That is: modes, weights, buffers, hooks and attributes of all its modules, states of random
    number generators, torch's defaults; also if an exception leaves the block.
    """
    modules = modules_of(network)
    with ExitStack() as after:
        for module in modules:
            after.callback(_restorer(module))
        after.callback(_defaults())
        after.enter_context(_random_numbers(modules))
        after.enter_context(torch.no_grad())
        _evaluate(network)
        yield


@contextmanager
def seeded(network: Callable[..., Any], seed: int) -> Iterator[Callable[[], bool]]:
    """Seed all random numbers that a network may draw inside the block.

    Yields:
        Says whether any were drawn since.
    """
    modules = modules_of(network)
    with _random_numbers(modules):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        for generator in _generators(modules):
            generator.manual_seed(seed)
        before = _states(modules)
        yield lambda: _states(modules) != before


def modules_of(network: Callable[..., Any]) -> list[nn.Module]:
    """All modules of a network, which may be a method of one, or a function that calls some."""
    return list(dict.fromkeys(m for root in roots_of(network) for m in root.modules()))


def roots_of(network: Callable[..., Any]) -> list[nn.Module]:
    """The modules that a network consists of, without those within them."""
    cells = getattr(network, "__closure__", None) or ()
    values = [network, getattr(network, "__self__", None), getattr(network, "func", None)]
    values += [cell.cell_contents for cell in cells if cell != types.CellType()]
    return [value for value in values if isinstance(value, nn.Module)]


def _evaluate(network: Callable[..., Any]) -> None:
    for root in roots_of(network):
        with suppress(NotImplementedError):  # torch.export's programs stay what they are
            root.eval()


def _restorer(module: nn.Module) -> Callable[[], None]:
    """Gives a function that sets a module to the state that it has now."""
    tensors = [*module._parameters.values(), *module._buffers.values(), *vars(module).values()]
    contents = [
        (tensor, tensor.detach().clone(), tensor.requires_grad)
        for tensor in tensors
        if isinstance(tensor, Tensor) and tensor.layout == torch.strided
    ]
    scripted = isinstance(module, torch.jit.ScriptModule)
    training = getattr(module, "training", None)  # a frozen program has none
    attributes = {} if scripted else {k: (v, _content(v)) for k, v in vars(module).items()}

    def restore() -> None:
        if scripted:
            if training is not None:
                module.training = training
        else:
            for name in vars(module).keys() - attributes.keys():
                del vars(module)[name]
            for name, (value, content) in attributes.items():
                vars(module)[name] = value
                if content is not None:
                    value.clear()
                    (value.update if hasattr(value, "update") else value.extend)(content)
        with torch.no_grad():
            for tensor, content, requires_grad in contents:
                if not torch.equal(tensor, content):
                    tensor.copy_(content)
                if tensor.is_leaf:
                    tensor.requires_grad_(requires_grad)

    return restore


def _content(value: Any) -> Any:
    return copy.copy(value) if type(value) in CONTAINERS else None


def _defaults() -> Callable[[], None]:
    grad, defaults = torch.is_grad_enabled(), _defaults_now()

    def restore() -> None:
        torch.set_grad_enabled(grad)
        _set_defaults(*defaults)

    return restore


def their_defaults() -> Callable[[], AbstractContextManager[None]]:
    """Set torch's default type and device to what measurements need.

    Returns:
        A context in which they are what they were: for the network.
    """
    theirs, ours = _defaults_now(), (torch.float32, torch.device("cpu"))
    _set_defaults(*ours)

    @contextmanager
    def context() -> Iterator[None]:
        _set_defaults(*theirs)
        try:
            yield
        finally:
            _set_defaults(*ours)

    return context


def _defaults_now() -> tuple[torch.dtype, torch.device]:
    return torch.get_default_dtype(), torch.get_default_device()


def _set_defaults(dtype: torch.dtype, device: torch.device) -> None:
    torch.set_default_dtype(dtype)
    if torch.get_default_device() != device:
        torch.set_default_device(None if device.type == "cpu" else device)


@contextmanager
def _random_numbers(modules: list[nn.Module]) -> Iterator[None]:
    """Generators are in the same state after the block as before."""
    states = random.getstate(), np.random.get_state()
    own = [(generator, generator.get_state()) for generator in _generators(modules)]
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            for generator, state in own:
                generator.set_state(state)


def _generators(modules: list[nn.Module]) -> list[torch.Generator]:
    values = [value for module in modules for value in vars(module).values()]
    return [value for value in values if isinstance(value, torch.Generator)]


def _states(modules: list[nn.Module]) -> list[Any]:
    """Of all generators, as things that compare."""
    torchs = [torch.get_rng_state(), *(g.get_state() for g in _generators(modules))]
    if torch.cuda.is_available():
        torchs += torch.cuda.get_rng_state_all()
    numpys: Any = np.random.get_state()
    return [
        random.getstate(),
        numpys[1].tolist(),
        numpys[2],
        *(bytes(s.cpu().numpy()) for s in torchs),
    ]
