"""Upsamplers that run live: frames in, the samples that are certain out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from ..errors import UsageError
from .base import Upsampler
from .inference import FoldedUpsampler
from .measured import double_copy

SHORTEST, LONGEST = 8, 2**14
"""Frames of the first and of the longest probe of :func:`_reach`."""

TOLERANCE = 1e-12


@dataclass(frozen=True, eq=False)
class StreamState:
    """All that a stream remembers. Nothing in it changes: keep it, and assign it to go back there.

    Args:
        frames: The last input frames, ``(batch, in_channels, frames)``; ``None`` before the first.
        received: Frames so far.
        emitted: Samples so far.
        batched: Whether the input has a batch dimension.
        flushed: Whether the end has come.
    """

    frames: Tensor | None = None
    received: int = 0
    emitted: int = 0
    batched: bool = True
    flushed: bool = False


@dataclass(frozen=True)
class Reach:
    """Where a network gives for a part of a signal what it gives for the whole.

    Args:
        frames: By so many frames (or a multiple) a part may begin later than the whole,
        samples: which moves its output by so many samples.
        ahead: Samples before the end of a part that are made otherwise.
        back: Samples after its start that are made otherwise.
        least: Frames of the shortest input.
    """

    frames: int
    samples: int
    ahead: int
    back: int
    least: int


class Stream:
    """A network on a signal that comes in chunks.

    Args:
        run: ``(batch, in_channels, frames)`` -> ``(batch, *out_shape, samples)``.
        in_channels: Of a frame.
        out_shape: Of an output without its batch and its samples.
        reach: Where its output for a part of a signal is that for the whole.
        like: A weight, whose device and precision chunks must have.

    Attributes:
        latency: By how many output samples, at most, the output lags behind the frames received, at
            the output's rate.
        state: A :class:`StreamState`.
    """

    def __init__(
        self,
        run: Callable[[Tensor], Tensor],
        in_channels: int,
        out_shape: tuple[int, ...],
        reach: Reach,
        like: Tensor,
    ):
        self._run, self.in_channels, self._out_shape = run, in_channels, out_shape
        self._reach, self._like = reach, like
        waiting = -(-reach.samples * (reach.frames - 1) // reach.frames)
        self.latency = max(0, reach.ahead + waiting)
        self.state = StreamState()

    def reset(self) -> None:
        """Begin anew, with another signal."""
        self.state = StreamState()

    @torch.no_grad()
    def push(self, x: Tensor) -> Tensor:
        """Take any number of frames, and give the samples that no later frame can change.

        Args:
            x: ``(batch, in_channels, frames)`` or ``(in_channels, frames)``, like all before.

        Returns:
            What the network gives, ``(batch, ..., samples)`` or without ``batch``; perhaps no
            samples.

        Raises:
            UsageError: (a ``ValueError``) for another shape, device or precision than before; for
                frames after :meth:`flush`.
        """
        self._check(x)
        state, reach = self.state, self._reach
        frames = x if x.dim() == 3 else x[None]
        if state.frames is not None:
            frames = torch.cat([state.frames, frames], -1)
        received = state.received + x.shape[-1]
        start, steps = received - frames.shape[-1], received // reach.frames
        whole, first = steps * reach.frames, start // reach.frames * reach.samples
        emitted, stop = state.emitted, state.emitted
        if whole >= reach.least:
            stop = max(stop, steps * reach.samples - reach.ahead)
        if stop > emitted:
            run = self._inner if start else self._run
            y = run(frames[..., : whole - start])[..., emitted - first : stop - first]
        else:
            y = frames.new_zeros(len(frames), *self._out_shape, 0)
        needed = min((stop - reach.back) // reach.samples, (whole - reach.least) // reach.frames)
        kept = frames[..., max(0, needed * reach.frames - start) :].clone()
        self.state = StreamState(kept, received, stop, x.dim() == 3)
        return y if x.dim() == 3 else y[0]

    @torch.no_grad()
    def flush(self) -> Tensor:
        """The remaining samples: the signal has ended. Only :meth:`reset` comes after it.

        Raises:
            UsageError: (a ``ValueError``) if too few frames for the network were pushed, or it was
                flushed before.
        """
        state, reach = self.state, self._reach
        if state.flushed:
            raise UsageError("the stream is flushed already: reset() begins a new one")
        if state.frames is None or not state.received:
            raise UsageError("the stream has got no frames: push some before flush()")
        if state.received < reach.least:
            raise UsageError(
                f"the stream has got {state.received} frames, the network needs at least "
                f"{reach.least}"
            )
        start = state.received - state.frames.shape[-1]
        y = self._run(state.frames)[..., state.emitted - start // reach.frames * reach.samples :]
        emitted = state.emitted + y.shape[-1]
        self.state = StreamState(None, state.received, emitted, state.batched, True)
        return y if state.batched else y[0]

    def _inner(self, frames: Tensor) -> Tensor:
        """The network on a part from whose start samples are not used."""
        return self._run(frames)

    def _check(self, x: Tensor) -> None:
        state, channels, wanted = self.state, self.in_channels, self._like
        if state.flushed:
            raise UsageError("frames after flush(): reset() begins a new stream")
        if x.dim() not in (2, 3) or x.shape[-2] != channels:
            raise UsageError(
                f"a chunk must be (batch, in_channels={channels}, frames) or "
                f"(in_channels={channels}, frames), not {tuple(x.shape)}"
            )
        if (x.device, x.dtype) != (wanted.device, wanted.dtype):
            raise UsageError(
                f"a chunk of {x.dtype} on {x.device}, but the weights are {wanted.dtype} on "
                f"{wanted.device}"
            )
        if state.frames is None:
            return
        before = (len(state.frames) if state.batched else None, channels)
        now = (len(x) if x.dim() == 3 else None, channels)
        if now != before:
            shapes = [
                f"({b}, {c}, frames)" if b is not None else f"({c}, frames)"
                for b, c in (now, before)
            ]
            raise UsageError(f"a chunk of {shapes[0]}, after chunks of {shapes[1]}")


class LayerStream(Stream):
    """An upsampler on a signal that comes in chunks; see :func:`stream`."""

    def __init__(self, layer: Upsampler | FoldedUpsampler):
        if not isinstance(layer, (Upsampler, FoldedUpsampler)):
            raise UsageError(f"a stream needs an upsampler, not {type(layer).__name__}")
        ahead, back, least = _reach(layer)
        reach = Reach(1, layer.stride, ahead, back, least)
        like = next(layer.parameters())
        super().__init__(layer, layer.in_channels, (layer.out_channels,), reach, like)
        self.layer = layer

    def _inner(self, frames: Tensor) -> Tensor:
        if isinstance(self.layer, FoldedUpsampler):
            return self.layer.middle(frames)  # no end is in sight
        return self.layer(frames)


def stream(layer: Upsampler | FoldedUpsampler) -> LayerStream:
    """Run a layer on a signal that comes in chunks of any length.

    What comes out, put together, is the output for the whole signal, to rounding: each call runs
    the layer on the new frames and on as many old ones as they are heard together with. Short
    chunks cost least with ``fold_for_inference`` (not for ``resample`` and ``sinc``), as the
    filters are not computed anew in every call.

    Args:
        layer: Any upsampler, folded or not; it is used as it is at every call, in evaluation mode.

    Returns:
        A stream with ``push``, ``flush``, ``reset``, ``latency`` and ``state``.

    Example:
        >>> from asteroid_upsamplers import layers
        >>> layer, x = layers.Linear(2, 3, stride=4), torch.randn(1, 2, 10)
        >>> live = stream(layer)
        >>> y = [live.push(x[..., :1]), live.push(x[..., 1:7]), live.push(x[..., 7:]), live.flush()]
        >>> [part.shape[-1] for part in y], live.latency
        ([0, 22, 12, 6], 6)
        >>> torch.allclose(torch.cat(y, -1), layer(x), atol=1e-6)
        True
    """
    return LayerStream(layer)


@torch.no_grad()
def _reach(layer: Upsampler | FoldedUpsampler) -> tuple[int, int, int]:
    """Samples before an end, and after a start, that are made otherwise; the least frames.

    Settings count, not weights: a twin with one channel and taps above zero is run on a signal and
    on its parts.
    """
    twin = double_copy(layer).cpu()
    if isinstance(layer, Upsampler):
        family = parametrize.type_before_parametrizations(layer)
        settings = {**layer.get_config(), "in_channels": 1, "out_channels": 1}
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):
            twin = family(**settings).double()
        generator = torch.Generator().manual_seed(0)
        for parameter in twin.parameters():
            parameter.copy_(0.5 + torch.rand(parameter.shape, generator=generator))
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, twin.in_channels, LONGEST, generator=generator, dtype=torch.float64)
    time, last = SHORTEST, None
    while time <= LONGEST // 2:
        found = _differences(twin, x, time)
        if found is not None and max(found) > time * twin.stride // 2:
            found = None  # it may be cut
        if found is not None and last is not None:  # rounding may hide an end of a response once
            return max(found[0], last[0]), max(found[1], last[1]), _least_frames(twin, x)
        time, last = 2 * time, found
    raise UsageError(f"{layer.name}: it looks further ahead than {LONGEST // 4} frames")


def _differences(twin: Upsampler | FoldedUpsampler, x: Tensor, time: int) -> tuple[int, int] | None:
    try:
        whole, early, late = (
            twin(x[..., : 2 * time]),
            twin(x[..., :time]),
            twin(x[..., time : 2 * time]),
        )
    except ValueError:  # some paddings want a longer input
        return None
    middle, size = time * twin.stride, TOLERANCE * float(whole.abs().max())
    end = ((whole[..., :middle] - early[..., :middle]).abs() > size).any(1)[0].nonzero()
    start = ((whole[..., middle:] - late).abs() > size).any(1)[0].nonzero()
    return (
        middle - int(end[0]) if len(end) else 0,
        int(start[-1]) + 1 if len(start) else 0,
    )


def _least_frames(twin: Upsampler | FoldedUpsampler, x: Tensor) -> int:
    for frames in range(1, LONGEST):
        try:
            twin(x[..., :frames])
        except ValueError:
            continue
        return frames
    return LONGEST
