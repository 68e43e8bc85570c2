"""Run a network that one knows nothing about, and find the audio in what it returns."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import errors
from ..errors import UsageError, one_line
from .onnx_file import OnnxNetwork
from .onnx_trace import traced
from .operations import INPUT, Op, Record
from .outputs import audio_in, named_tensors
from .state import modules_of, roots_of, seeded, their_defaults
from .trace import Change, tracing

LEAST_TIME = 64
"""Samples of output, without which nothing can be said of it."""

DRAWS = 4
"""So many outputs of a network that draws random numbers are looked at."""

NEAR = 20
"""A change is heard in one place if most of it is within so small a part of the output."""

ROUNDED = 0.05
"""Where a change moves to is known to some samples, so that its speed is rounded."""

PYTHON, TORCH, HERE = (str(Path(m.__file__ or "").parent) for m in (traceback, torch, errors))
"""Folders of code that is not the user's."""

Network = Callable[[Tensor], Any]


def white_noise(network: Network, shape: tuple[int, ...], seed: int) -> Tensor:
    """Uniform noise of peak 1, where the network's parameters are, and of their precision."""
    generator = torch.Generator("cpu").manual_seed(seed)
    noise = 2 * torch.rand(shape, generator=generator, dtype=torch.float32, device="cpu") - 1
    parameters = (p for m in modules_of(network) for p in m.parameters() if p.is_floating_point())
    parameter = next(parameters, None)
    return noise if parameter is None else noise.to(parameter.device, parameter.dtype)


class Feed:
    """A network in evaluation mode, what it is fed with, and how its signals grow.

    Args:
        network: The network.
        noise: White noise, of the shape that the network takes.
        seed: Of random numbers that the network itself draws.
        wanted: Name of the output that is audio; ``None`` to look for it.

    Attributes:
        silence: What the network is given for silence, of the same shape; zeros if nobody sets it.
        trace: What the network did for the noise.
        shorter: What it did for noise of another length; ``None`` if it takes no other.
        factor: Samples of output for each frame of input; ``None`` if that is unknown.
        speed: The same, measured by a change in one frame; ``None`` if what it changes lies apart.
        change: By how many samples more the longer input gives; 0 if that is unknown.
        audio: Which of its outputs is looked at.
        made_by: Index of the operation that gave that output.
        random: Whether the network draws random numbers.
        varies: Whether the output's length depends on the input's content.
        unwatched: Why the network runs, but not while its operations are watched; empty if it does.

    Raises:
        UsageError: If weights are NaN, the network refuses the input, or gives no signal.
    """

    def __init__(self, network: Network, noise: Tensor, seed: int, wanted: str | None = None):
        self.network, self.noise, self.seed = network, noise, seed
        self.silence = torch.zeros_like(noise)
        self._defaults = their_defaults()
        self.random, self.factor, self.change, other = False, None, 0, None
        self.varies, self.unwatched = False, ""
        self.shorter: Record | None = None
        for name, weight in (
            pair for root in roots_of(network) for pair in root.named_parameters()
        ):
            if not weight.isfinite().all():
                raise UsageError(f"{name} holds NaN or infinite numbers: training diverged")
        output, self.trace, made_by = self._traced(noise)
        self.axis = noise.dim() - 1
        for axis, x in _other_lengths(noise):
            try:
                other, self.shorter, _ = self._traced(x)
                self.audio = audio_in(output, other, wanted, tuple(noise.shape))
            except UsageError:  # another length is refused, or changes nothing
                other, self.shorter = None, None
                continue
            long, short = (named_tensors(y)[self.audio.name].shape for y in (output, other))
            change = long[self.audio.axis] - short[self.audio.axis]
            self.factor = change / (noise.shape[axis] - x.shape[axis])
            self.change, self.axis = abs(change), axis
            break
        else:
            self.audio = audio_in(output, None, wanted, tuple(noise.shape))
        self.made_by = made_by[self.audio.name]
        self.output = self._signal(output, noise)
        self.speed = self._speed()
        if self.factor is None:
            self.factor = self.speed
        if self.varies:
            self.factor, self.change, self.shorter = None, 0, None

    def run(self, level: float, changes: Mapping[int, Change] | None = None) -> Tensor:
        """The output for silence that fades into noise, ``(channels, time)`` in float64.

        Of a network that draws random numbers there are several outputs, as further channels.

        Args:
            level: Of the noise; 0 for silence, 1 for noise alone.
            changes: By the index of an operation in ``trace``: called with its output, and what it
                returns goes on through the network.

        Raises:
            UsageError: If the network gives NaN or infinities; it names the first layer that does.
        """
        if level == 1 and not changes and not self.random:
            return self.output
        x = (1 - level) * self.silence + level * self.noise
        outputs = []
        for seed in range(self.seed, self.seed + (DRAWS if self.random else 1)):
            output = self._traced(x, seed, changes)[0] if changes else self._called(x, seed)
            outputs.append(self._signal(output, x))
        return torch.cat(outputs)

    def output_for(self, x: Tensor) -> Tensor:
        """The output for any input, ``(channels, time)`` in float64; raises as :meth:`run`."""
        return self._signal(self._called(x, self.seed), x)

    def _called(self, x: Tensor, seed: int, run: Callable[[Tensor], Any] | None = None) -> Any:
        shape = tuple(x.shape)
        try:
            with self._defaults(), seeded(self.network, seed) as drawn:
                output = (run or self.network)(x)
                self.random = self.random or drawn()
        except (Exception, SystemExit) as error:  # whatever a stranger's network raises
            raise UsageError(
                f"the network refused an input of shape {shape}: {cause_of(error)} "
                "(pass another shape with input_shape, or --input_shape)"
            ) from error
        return output

    def _traced(
        self,
        x: Tensor,
        seed: int | None = None,
        changes: Mapping[int, Change] | None = None,
        check: bool = False,
    ) -> tuple[Any, Record, dict[str, int | None]]:
        """The output, and for each tensor in it the operation that made it."""
        seed = self.seed if seed is None else seed
        if isinstance(self.network, OnnxNetwork):
            run = partial(traced, self.network, changes=changes, check=check)
            return self._called(x, seed, run)
        keyed = {self.trace.keys[op]: change for op, change in (changes or {}).items()}
        try:
            with tracing(self.network, keyed, check) as trace:
                trace.mark_input(x)
                output = self._called(x, seed)
                tensors = named_tensors(output).items()
                made_by = {name: trace.made_by(tensor.detach()) for name, tensor in tensors}
        except UsageError as error:
            output = self._called(x, seed)  # which fails in the same way if the input is wrong
            self.unwatched = cause_of(error.__cause__ or error)
            record = Record([Op(INPUT, "", [], [tuple(x.shape)], True)])
            return output, record, dict.fromkeys(named_tensors(output))
        return output, trace, made_by

    def _signal(self, output: Any, x: Tensor) -> Tensor:
        shape = tuple(x.shape)
        y = named_tensors(output)[self.audio.name].detach()
        y = y.movedim(self.audio.axis, -1).flatten(0, -2) if y.dim() > 1 else y[None]
        if y.shape[-1] < LEAST_TIME:
            raise UsageError(
                f"the network gives {y.shape[-1]} samples for an input of shape {shape}, at least "
                f"{LEAST_TIME} are needed (pass a longer input_shape, or --input_shape)"
            )
        if not torch.isfinite(y).all():
            trace = self._traced(x, check=True)[1]
            op = trace.ops[trace.broken] if trace.broken is not None else None
            first = (
                f"; the first are in {op.place or 'the network itself'} ({op.name})" if op else ""
            )
            silent = "silence" if x.any() else "zeros"
            kind = silent if torch.equal(x, self.silence) else "noise"
            raise UsageError(
                f"the network gives infinities or NaN for {kind} of shape {shape}{first}"
            )
        return y.double().cpu()

    def _speed(self) -> float | None:
        """By how many samples the output moves if a change in the input moves by one frame.

        Two frames are changed, and each change is looked for in its half of the output.
        """
        time, reach = self.noise.shape[self.axis], self.output.shape[-1] // NEAR
        frames = [time // 3, 2 * time // 3]
        x = self.noise.index_fill(self.axis, torch.tensor(frames).to(self.noise.device), 0)
        x = 2 * x - self.noise
        y = self._signal(self._called(x, self.seed), x)
        self.varies = y.shape != self.output.shape
        if self.varies:
            return None
        change = y - self.output
        half = change.shape[-1] // 2
        places = []
        for start, part in ((0, change[:, :half]), (half, change[:, half:])):
            energy = part.square().sum(0).cumsum(0)
            middle = int(torch.searchsorted(energy, energy[-1] / 2))
            inside = energy[min(middle + reach, len(energy) - 1)] - energy[max(middle - reach, 0)]
            if not inside > energy[-1] / 2:
                return None
            places.append(start + middle)
        speed = (places[1] - places[0]) / max(1, frames[1] - frames[0])
        if speed <= 0:
            return None
        whole = round(speed)
        return float(whole) if whole and abs(speed / whole - 1) < ROUNDED else speed


def cause_of(error: BaseException) -> str:
    """What an exception says, in one line, and the line of the user's code that it came from."""
    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        python = frame.filename.startswith(PYTHON) and "site-packages" not in frame.filename
        if not python and not frame.filename.startswith((TORCH, HERE, "<")):
            where = f" ({Path(frame.filename).name}, line {frame.lineno}: {frame.line})"
    name, said = type(error).__name__, one_line(error)
    return (said if said.startswith(name) else f"{name}: {said}") + where


def _other_lengths(noise: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The noise, shorter or longer along each axis but the batch, and the axis."""
    axes = [
        k for k in range(noise.dim() - 1, -1, -1) if noise.shape[k] > 1 and (k or noise.dim() == 1)
    ]
    for axis in axes:
        time = noise.shape[axis]
        for part in (time // 2, time // 3):
            yield axis, noise.narrow(axis, 0, max(1, part))
        yield axis, torch.cat([noise, noise], axis)
