"""One signature for every Asteroid model: any number of channels in, each source with as many."""

from __future__ import annotations

from collections.abc import Callable

import torch
from asteroid.losses import PITLossWrapper, pairwise_mse
from asteroid.models import BaseModel
from torch import Tensor
from torch.nn import functional as F

from ..files import file_names
from ..models import MusicSeparator
from .chunks import Match

SHORTEST = 1024
"""Samples. Shorter signals get zeros behind them: an encoder may need as many for one frame."""


def separator(model: BaseModel, channels: int, match: Match | None) -> Callable[[Tensor], Tensor]:
    """A model as a function for files with any number of channels.

    A model for one channel separates each of them; for any other model a mono file is copied to all
    of its channels, and the mean over the channels of an estimate is returned.

    Args:
        model: Any Asteroid model from waveform to waveforms.
        channels: Of the files: any number for a model for one, else 1 or the model's.
        match: Brings the sources of each channel into the order of the first channel.

    Returns:
        ``(n, channels, time)`` -> ``(n, n_src, channels, time)``, on the CPU.
    """
    wanted = model.in_channels or 1
    parameter = next(model.parameters())

    @torch.no_grad()
    def network(x: Tensor) -> Tensor:
        if isinstance(model, MusicSeparator):
            return model.forward_with_context(x.to(parameter)).float().cpu()
        time = x.shape[-1]
        x = F.pad(x, (0, max(0, SHORTEST - time)))
        return model.forward_wav(x.to(parameter))[..., :time].float().cpu()

    def each_channel(x: Tensor) -> Tensor:
        rows = network(x.reshape(-1, 1, x.shape[-1])).flatten(1, -2)
        return torch.stack([in_one_order(signal) for signal in rows.split(channels)])

    def in_one_order(signal: Tensor) -> Tensor:
        first, *others = signal
        if match is not None:
            others = [match(first, other) for other in others]
        return torch.stack([first, *others], 1)

    def all_channels(x: Tensor) -> Tensor:
        y = network(x.expand(-1, wanted, -1))
        y = y if y.dim() == 4 else y[:, :, None].expand(-1, -1, channels, -1)
        return y if channels == wanted else y.mean(2, keepdim=True)

    return each_channel if wanted == 1 else all_channels


@torch.no_grad()
def source_names(model: BaseModel) -> list[str]:
    """The names that the model gives its sources, else ``est1``, ``est2`` and so on.

    Raises:
        UsageError: If a name cannot be a part of a file name (:func:`..files.file_names`).
    """
    names = getattr(model, "sources", None)
    if not names:
        parameter = next(model.parameters())
        silence = torch.zeros(1, model.in_channels or 1, 8 * SHORTEST).to(parameter)
        return [f"est{i + 1}" for i in range(model.forward_wav(silence).shape[1])]
    return list(file_names(f"{type(model).__name__}: sources", names))


def same_order(reference: Tensor, estimates: Tensor) -> Tensor:
    """``estimates`` in the order that is nearest to ``reference``, where both have samples.

    Args:
        reference: ``(n_src, ..., time)``.
        estimates: ``(n_src, ..., time)``, with at least as many samples.
    """
    head = estimates[..., : reference.shape[-1]].reshape(1, len(estimates), -1)
    pairs = pairwise_mse(head, reference.reshape(1, len(reference), -1))
    _, order = PITLossWrapper.find_best_perm(pairs)
    return estimates[order[0]]
