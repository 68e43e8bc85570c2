"""Networks that run live: any number of frames in, the samples that are certain out.

A network whose samples depend on a finite stretch of the input gives, for the last frames with
enough of those before them, what it gives for the whole signal. How many it needs is measured: what
a NaN in the input reaches becomes NaN, whatever the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
from asteroid.masknn.norms import CumLN, FeatsGlobLN, GlobLN
from asteroid.models import BaseModel
from asteroid_filterbanks import Decoder
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError, one_line
from ..layers.measured import double_copy
from ..layers.streaming import Reach, Stream
from ..models import MusicSeparator

SHORTEST, LONGEST, LONGEST_OF_ENDLESS = 64, 2**17, 2**13
"""Frames of the first and of the longest probe, and of the longest where there are ``ENDLESS``."""

MOST_SAMPLES = 2**21
"""That a probe gives, so that it fits into memory."""

LONGEST_STEP = 2**13
"""In frames."""

TOLERANCE = 1e-6
"""As a share of the loudest sample."""

ENDLESS = (nn.RNNBase, nn.MultiheadAttention, nn.GroupNorm, CumLN, FeatsGlobLN, GlobLN)
"""What makes a sample depend on the whole signal if it works along time."""


class ModelStream(Stream):
    """A network on a signal that comes in chunks; see :func:`stream`."""

    def __init__(self, model: nn.Module, in_channels: int | None = None):
        weights = [*model.parameters(), *model.buffers()]
        like = next((w for w in weights if w.is_floating_point()), torch.empty(0))
        channels = _in_channels(model) if in_channels is None else in_channels
        name = type(model).__name__
        if isinstance(model, MusicSeparator) and model.normalize:
            raise UsageError(
                f"{name}: normalize=True divides by the level of the whole signal, which is not "
                "known live: bring the input to level 1, and set model.normalize = False"
            )
        model.eval()
        twin = double_copy(model).cpu()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            reach, out_shape, x = _measured(twin, channels)
            _verify(twin, reach, out_shape, x)
        super().__init__(_network(model), channels, out_shape, reach, like)
        self.model = model


def stream(model: nn.Module, in_channels: int | None = None) -> ModelStream:
    """Run a network on a signal that comes in chunks of any length.

    What comes out, put together, is the output for the whole signal, to rounding. Each call runs
    the network on the new frames and on as many old ones as they are heard together with, so that
    long chunks cost least (``benchmarks/streaming.py`` measures it). Making the stream of a large
    network can take half a minute, in which what it hears is measured.

    It is for networks of convolutions, upsamplers and whatever else hears a finite stretch of the
    signal: :class:`~asteroid_upsamplers.blocks.UpsamplerDecoder`, ``MelGANGenerator``,
    ``WaveUNet``, Conv-TasNet with ``norm_type="cLN"`` or ``"bN"``. A recurrent layer, attention, or
    a normalisation over time hears the whole signal: :func:`separate_files` runs such networks in
    chunks.

    Args:
        model: Any network from ``(batch, in_channels, frames)`` to ``(batch, ..., samples)``; it is
            set to evaluation mode. Of a ``WaveUNet`` it gives what :func:`separate_file` gives for
            a file in one chunk.
        in_channels: Channels of a frame, if the network does not state them.

    Returns:
        A stream with ``push``, ``flush``, ``reset``, ``latency`` and ``state``.

    Raises:
        UsageError: (a ``ValueError``) for a network that hears the whole signal, or whose output is
            placed or scaled by the length of its input.

    Example:
        >>> from asteroid_upsamplers.models import MelGANGenerator
        >>> model, x = MelGANGenerator(n_mels=4, channels=2, strides=[4, 2]), torch.randn(1, 4, 60)
        >>> live = stream(model)
        >>> y = [live.push(x[..., :25]), live.push(x[..., 25:]), live.flush()]
        >>> [part.shape[-1] for part in y], live.latency
        ([129, 280, 71], 71)
        >>> torch.allclose(torch.cat(y, -1), model(x), atol=1e-6)
        True
    """
    return ModelStream(model, in_channels)


def _network(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """The function that is run offline; unpadded networks get zeros around a signal."""
    if not isinstance(model, MusicSeparator):
        return model

    def padded(x: Tensor) -> Tensor:
        time = x.shape[-1]
        around = model.needed_context(time)
        return model.forward_with_context(F.pad(x, around) if any(around) else x)[..., :time]

    return padded


def _in_channels(model: nn.Module) -> int:
    if isinstance(model, BaseModel):
        return model.in_channels or 1
    for module in model.modules():
        if isinstance(module, Decoder):
            return module.filterbank.n_feats_out
        if isinstance(getattr(module, "in_channels", None), int):
            return cast(int, module.in_channels)
    raise UsageError(f"{type(model).__name__}: its input channels are not known: give in_channels")


@torch.no_grad()
def _measured(twin: nn.Module, channels: int) -> tuple[Reach, tuple[int, ...], Tensor]:
    """The reach of a network, the shape of its output, and a signal that is longer than both."""
    network, steps, frames, why = _network(twin), _steps(twin), SHORTEST, ""
    endless = [(name, m) for name, m in twin.named_modules() if isinstance(m, ENDLESS)]
    longest, samples = LONGEST_OF_ENDLESS if endless else LONGEST, 0
    while frames <= longest and samples <= MOST_SAMPLES:
        x = torch.randn(1, channels, frames, dtype=torch.float64)
        try:
            y = network(x)
        except Exception as error:  # a stranger's network; some paddings want a longer input
            frames, why = 2 * frames, f" ({one_line(error)})"
            continue
        if not isinstance(y, Tensor) or y.dim() < 2 or len(y) != 1:
            raise UsageError(f"{type(twin).__name__}: a stream needs a network that gives a signal")
        why, samples = "", y.shape[-1]
        if reach := _reach(network, x, y, steps):
            return reach, tuple(y.shape[1:-1]), x
        frames *= 2
    name = f"{type(twin).__name__} cannot run live"
    if why:
        raise UsageError(f"{name}: it takes no input of {channels} channels{why}")
    if endless:
        where, module = endless[0]
        name += f": {where or 'it'} ({type(module).__name__}) hears the whole signal"
    else:
        name += ": its samples depend on the whole signal"
    raise UsageError(f"{name}; separate files in chunks instead (without --stream)")


def _reach(
    network: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, steps: list[int]
) -> Reach | None:
    """``None`` if ``x`` is too short to tell. Steps that are none are taken from ``steps``."""
    frames, size = x.shape[-1], TOLERANCE * float(y.abs().max())

    def heard(time: int) -> tuple[int, int] | None:
        """The first sample that hears what comes from ``time`` on; after the last that hears what
        comes before."""
        late, early = x.clone(), x.clone()
        late[..., time:] = early[..., :time] = torch.nan
        start, stop = (
            network(part).isnan().flatten(0, -2).any(0).nonzero() for part in (late, early)
        )
        first = int(start[0]) if len(start) else y.shape[-1]
        last = int(stop[-1]) + 1 if len(stop) else 0
        return (first, last) if first > 0 and last < y.shape[-1] else None

    found = heard(frames // 2)
    while found and steps and steps[0] <= frames // 8:
        step = steps[0]
        z = network(x[..., step:])
        moved = y.shape[-1] - z.shape[-1]
        made_otherwise = max(0, found[1] - frames // 2 // step * moved) + moved
        inner, later = y[..., moved + made_otherwise :], z[..., made_otherwise:]
        if moved > 0 and float((inner - later).abs().max()) <= size:
            time = frames // 2 // step
            found = heard(time * step)
            if found is None:
                return None
            ahead, back = time * moved - found[0], max(0, found[1] - time * moved)
            return Reach(step, moved, ahead, back, _least(network, x))
        steps.pop(0)
    return None


def _steps(model: nn.Module) -> list[int]:
    """By how many frames a signal may be moved so that its output moves, too: likely ones first."""
    known = math.prod(getattr(model, "upsampling_strides", ())) or 1
    strides = [getattr(module, "stride", 1) for module in model.modules()]
    sizes = [s[-1] if isinstance(s, tuple) else s for s in strides]
    all_of_them = math.prod(s for s in sizes if isinstance(s, int) and s > 0)
    most = LONGEST_STEP
    others = {s for s in range(1, most + 1) if all_of_them % s == 0 or s & (s - 1) == 0}
    return [s for s in dict.fromkeys([known if known > 1 else 1, *sorted(others)]) if s <= most]


def _least(network: Callable[[Tensor], Tensor], x: Tensor) -> int:
    for frames in range(1, x.shape[-1]):
        try:
            network(x[..., :frames])
        except Exception:  # whatever a stranger's network raises for a short input
            continue
        return frames
    return x.shape[-1]


@torch.no_grad()
def _verify(twin: nn.Module, reach: Reach, out_shape: tuple[int, ...], x: Tensor) -> None:
    """Refuse what depends on the length of the whole signal."""
    network, frames = _network(twin), x.shape[-1]
    for length in (frames, frames - 1, frames - reach.frames // 2 - 1):
        whole, live = network(x[..., :length]), Stream(network, x.shape[1], out_shape, reach, x)
        parts = [live.push(part) for part in x[..., :length].tensor_split((frames // 2, -3), -1)]
        y = torch.cat([*parts, live.flush()], -1)
        size = TOLERANCE * float(whole.abs().max())
        if y.shape != whole.shape or not float((y - whole).abs().max()) <= size:
            raise UsageError(
                f"{type(twin).__name__} cannot run live: how it places or scales its output "
                "depends on the length of the whole signal; separate files in chunks instead "
                "(without --stream)"
            )
