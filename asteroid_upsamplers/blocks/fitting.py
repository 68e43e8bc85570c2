r"""Upsamplers whose impulse responses come as near as they can to given ones.

A layer is linear in its taps: an impulse in one input channel becomes :math:`M w`, with the taps
:math:`w` of that channel and a matrix :math:`M` that depends on the family and its settings alone.
For input frames that are white, and independent from channel to channel, the energy of the output's
error is that of the responses' error, and least squares, :math:`\min_w |M w - h|^2`, makes it
smallest. The columns of :math:`M` are what single taps of 1 make of an impulse: one run of the
layer with a batch of weights.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import parametrize

from .. import layers
from ..errors import UsageError
from ..layers.measured import double_copy

RCOND = 1e-3
"""Combinations of taps with less than this share of the strongest one's response are left out.
Where an interpolation hardly passes a band, they would need taps as much larger, which float32 and
the first steps of training cannot handle."""

LONGEST_RESPONSES = [2**power for power in range(2, 13)]
"""Frames on each side of an impulse within which a response is looked for, one after the other."""

TAPS_AT_ONCE = 128
"""Bounds the memory of long responses."""


@dataclass(frozen=True, eq=False)
class Responses:
    """What impulses become.

    Args:
        values: ``(count, samples)``, float64, at the output rate.
        start: Position of the first sample, counted from ``stride`` times the impulse's frame; may
            be negative.
    """

    values: Tensor
    start: int

    @property
    def stop(self) -> int:
        """One past the last sample."""
        return self.start + self.values.shape[1]

    def between(self, start: int, stop: int) -> Tensor:
        """The samples from ``start`` to ``stop``, zeros where there are none."""
        return F.pad(self.values, (self.start - start, stop - self.stop))


@dataclass(frozen=True, eq=False)
class TapResponses(Responses):
    """What the taps of one channel make of an impulse: the columns of :math:`M`.

    Args:
        shape: Of the weight of a layer with one channel, whose taps these are.
    """

    shape: torch.Size


def taps_of(layer: layers.Upsampler) -> str | None:
    """The name of the parameter that holds the taps; ``None`` if there are several that do.

    It is ``weight``, or, in a layer that has none of its own, the only weight of its modules.
    """
    if isinstance(getattr(layer, "weight", None), Tensor):
        return "weight"
    names = [name for name, _ in layer.named_parameters() if not _is_bias(name)]
    return names[0] if len(names) == 1 else None


@torch.no_grad()
def impulse_responses(layer: layers.Upsampler) -> Responses:
    """The response of ``layer`` to an impulse in each of its input channels.

    Args:
        layer: With one output channel.

    Returns:
        A row for each input channel, from the first sample at which any of them is heard to the
        last.

    Example:
        >>> layer = layers.Transposed(1, 1, stride=2, kernel_size=4)
        >>> found = impulse_responses(layer)
        >>> found.start, torch.equal(found.values, layer.weight[0].double())
        (-1, True)
    """
    exact = double_copy(layer).cpu()
    with torch.device("cpu"):
        impulses = torch.eye(layer.in_channels, dtype=torch.float64)
        return _heard(lambda x: exact(x) - exact(torch.zeros_like(x[:1])), impulses, layer.stride)


@torch.no_grad()
def span(layer: layers.Upsampler) -> tuple[int, int]:
    """The first sample at which an impulse can be heard, and one past the last.

    Args:
        layer: With one output channel; its settings count, not its weights.
    """
    return _span(parametrize.type_before_parametrizations(layer), _one_channel_settings(layer))


@torch.no_grad()
def tap_responses(layer: layers.Upsampler) -> TapResponses:
    """What each tap adds to the response of its channel, a row for each.

    Args:
        layer: With one output channel; its settings count, not its weights.
    """
    start, stop = span(layer)
    twin = _made(parametrize.type_before_parametrizations(layer), _one_channel_settings(layer))
    before = max(0, -(start // twin.stride)) + 1
    after = max(0, stop // twin.stride) + 1
    first = before * twin.stride + start
    name = taps_of(twin)
    if name is None:
        raise UsageError(
            f"{layer.name}: which taps come nearest to given filters can only be found for a layer "
            "with one weight; draw them (init='random')"
        )

    def response(taps: Tensor) -> Tensor:
        return _run(twin, {name: taps}, impulse)[0, 0, first : first + stop - start]

    with torch.device("cpu"):
        impulse = F.pad(torch.ones(1, 1, 1, dtype=torch.float64), (before, after))
        shape = _tensor(twin, name).shape
        units = torch.eye(shape.numel(), dtype=torch.float64).unflatten(1, shape)
        try:
            columns = torch.func.vmap(response, chunk_size=TAPS_AT_ONCE)(units)
        except RuntimeError:  # torch cannot run every user's layer with a batch of weights
            columns = torch.stack([response(taps) for taps in units])
    return TapResponses(columns, start, shape)


@torch.no_grad()
def fit_responses(
    layer: layers.Upsampler, wanted: Responses, columns: TapResponses | None = None
) -> float:
    """Give ``layer`` the taps whose responses are nearest to ``wanted``, and no bias.

    Args:
        layer: With one output channel.
        wanted: A row for each input channel.
        columns: What :func:`tap_responses` gives for ``layer``, if it is known already.

    Returns:
        The energy of the error as a share of the energy of ``wanted``.

    Raises:
        UsageError: (a ``ValueError``) if there is not one row for each input channel.
    """
    count = layer.in_channels
    if layer.out_channels != 1 or len(wanted.values) != count:
        raise UsageError(
            f"{layer.name}: {len(wanted.values)} responses for {count} input and "
            f"{layer.out_channels} output channels; one for each input channel is needed, and one "
            "output channel"
        )
    columns = tap_responses(layer) if columns is None else columns
    start, stop = min(columns.start, wanted.start), max(columns.stop, wanted.stop)
    matrix = columns.between(start, stop).T
    target = wanted.between(start, stop).double().cpu().T
    orthogonal, square = torch.linalg.qr(matrix)  # the same problem, with a row for each tap
    reached = orthogonal.T @ target
    taps = torch.linalg.lstsq(square, reached, RCOND, driver="gelsd").solution
    name = cast(str, taps_of(layer))
    weight = _tensor(layer, name)
    one, whole = columns.shape, weight.shape
    along = next((axis for axis, size in enumerate(one) if size != whole[axis]), one.index(1))
    values = taps.reshape(*one, count).movedim(-1, along).squeeze(along + 1)
    _assign(layer, name, values.to(weight))
    own = ["bias"] if getattr(layer, "bias", None) is not None else []
    for bias in own or [other for other, _ in layer.named_parameters() if _is_bias(other)]:
        _assign(layer, bias, torch.zeros_like(_tensor(layer, bias)))
    energy = float(target.square().sum())
    error = energy - float(reached.square().sum()) + float((square @ taps - reached).square().sum())
    return max(0.0, error) / energy if energy else 0.0


def covering_kernel_size(family: type[layers.Upsampler], stride: int, samples: int) -> int:
    """The family's default, or as much more, in steps of two, as ``samples`` samples need.

    Example:
        >>> covering_kernel_size(layers.Subpixel, stride=4, samples=16)
        5
    """

    def heard(layer: layers.Upsampler) -> int:
        start, stop = span(layer)
        return stop - start

    with torch.device("cpu"), torch.random.fork_rng(devices=[]):
        layer = family(1, 1, stride)
        missing = samples - heard(layer)
        if missing <= 0:
            return layer.kernel_size
        step = heard(family(1, 1, stride, layer.kernel_size + 2)) - heard(layer)
    return layer.kernel_size + 2 * -(-missing // step) if step > 0 else layer.kernel_size


_FITTING = contextvars.ContextVar("fitting", default=True)


@contextlib.contextmanager
def without_fitting() -> Iterator[None]:
    """Blocks made within keep the weights that their layers draw: others are loaded at once."""
    token = _FITTING.set(False)
    try:
        yield
    finally:
        _FITTING.reset(token)


def fitting_wanted() -> bool:
    """Whether a new block shall fit its layer; not within :func:`without_fitting`."""
    return _FITTING.get()


def _is_bias(name: str) -> bool:
    return name.rpartition(".")[2] == "bias"


def _tensor(layer: layers.Upsampler, name: str) -> Tensor:
    """A parameter, or what a parametrization from outside makes of it."""
    path, _, last = name.rpartition(".")
    return getattr(layer.get_submodule(path), last)


def _assign(layer: layers.Upsampler, name: str, values: Tensor) -> None:
    path, _, last = name.rpartition(".")
    layers.assign(layer.get_submodule(path), last, values)


def _run(layer: layers.Upsampler, weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """The output of ``layer`` with other parameters."""
    return torch.func.functional_call(layer, weights, (x,))


@functools.lru_cache(maxsize=256)
def _span(family: type[layers.Upsampler], settings: str) -> tuple[int, int]:
    """:func:`span`, once for all layers of the same settings."""
    layer = _made(family, settings)
    with torch.device("cpu"):
        generator, taps = torch.Generator().manual_seed(0), taps_of(layer)
        weights = {
            name: (0.5 + torch.rand(value.shape, generator=generator)).double()
            for name, value in layer.named_parameters()
            if taps in (None, name)
        }
        impulse = torch.ones(1, 1, dtype=torch.float64)
        found = _heard(lambda x: _run(layer, weights, x), impulse, layer.stride)
    return found.start, found.stop


def _heard(run: Callable[[Tensor], Tensor], impulses: Tensor, stride: int) -> Responses:
    """What impulses become, with enough silent frames around them to hear all of it.

    Args:
        run: ``(count, channels, frames)`` -> ``(count, 1, time)``, zeros for zeros.
        impulses: ``(count, channels)``.
        stride: Samples of a frame.
    """
    for reach in LONGEST_RESPONSES:
        y = run(F.pad(impulses[:, :, None], (reach, reach)))[:, 0]
        heard = y.abs().amax(0).nonzero()[:, 0].tolist() or [reach * stride]
        if heard[0] >= stride and heard[-1] < 2 * reach * stride:
            return Responses(y[:, heard[0] : heard[-1] + 1], heard[0] - reach * stride)
    raise UsageError(
        f"an impulse can still be heard {reach} frames later; responses must be shorter than that"
    )


def _one_channel_settings(layer: layers.Upsampler) -> str:
    """The settings of a layer for one channel, without a bias, as JSON."""
    return json.dumps({**layer.get_config(), "in_channels": 1, "out_channels": 1, "bias": False})


def _made(family: type[layers.Upsampler], settings: str) -> layers.Upsampler:
    """A layer of these settings, in float64 on the CPU."""
    with torch.device("cpu"), torch.random.fork_rng(devices=[]):
        return family(**json.loads(settings)).double()
