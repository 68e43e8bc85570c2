r"""Polyphase components of a signal ([1] Sec. 4).

Component :math:`r` of a signal at stride :math:`s` is every :math:`s`-th sample from the
:math:`r`-th on. Channel :math:`o s + r` of the split signal holds component :math:`r` of channel
:math:`o`:

.. math:: y[o, n s + r] = x[o s + r, n], \qquad 0 \le r < s.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .precision import becomes_a_program

HEAP_BYTES = 2**24
"""Blocks above 32 MiB are fresh pages from the system each time (glibc's largest mmap threshold),
touching them can take as long as the convolution that fills them. Half of that measured best."""

LEAST_BLOCK = 8
"""Samples of the input in a block of :func:`filter_bank`."""


def polyphase_merge(x: Tensor, stride: int) -> Tensor:
    """Interleave groups of ``stride`` channels in time: the periodic shuffle of subpixel layers.

    Args:
        x: ``(batch, channels * stride, time)``.
        stride: Upsampling factor.

    Returns:
        ``(batch, channels, time * stride)``.

    Example:
        >>> import torch
        >>> polyphase_merge(torch.tensor([[[0, 2], [1, 3]]]), stride=2)
        tensor([[[0, 1, 2, 3]]])
    """
    return interleaved(phases_last(x, stride))


def interleaved(frames: Tensor) -> Tensor:
    """``(batch, channels, frames, stride)`` -> ``(batch, channels, frames * stride)``."""
    return frames.reshape(frames.shape[0], -1, frames.shape[2] * frames.shape[3])


def phases_last(x: Tensor, stride: int) -> Tensor:
    """``(batch, channels * stride, frames)`` -> ``(batch, channels, frames, stride)``.

    ONNX's exporter takes the sizes of what ``unflatten`` gives for constants, so they are written
    out, here and in :func:`interleaved`.
    """
    return x.reshape(x.shape[0], -1, stride, x.shape[2]).transpose(2, 3)


def polyphase_split(x: Tensor, stride: int) -> Tensor:
    """The inverse of :func:`polyphase_merge`.

    Args:
        x: ``(batch, channels, time * stride)``.
        stride: Number of components.

    Returns:
        ``(batch, channels * stride, time)``.

    Raises:
        ValueError: If the time is no multiple of ``stride``.

    Example:
        >>> import torch
        >>> polyphase_split(torch.tensor([[[0, 1, 2, 3]]]), stride=2)
        tensor([[[0, 2],
                 [1, 3]]])
    """
    if x.shape[-1] % stride:
        raise ValueError(f"time must be a multiple of the stride, {stride}, not {x.shape[-1]}")
    return x.unflatten(-1, (-1, stride)).mT.flatten(1, 2)


def filtered_frames(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    window: slice,
    padding: int,
    first: int,
    frames: int,
) -> list[Tensor]:
    """Filter at the input rate: the phases of the output, ready to be merged.

    On a CPU long signals are filtered in groups of the batch that stay on its heap.

    Args:
        x: ``(batch, in_channels, time)``.
        weight: ``(out_channels * stride, in_channels, Q)``.
        bias: ``(out_channels * stride,)`` or ``None``.
        stride: Upsampling factor.
        window: The samples of ``x`` to filter.
        padding: Zeros on either side of them.
        first: The first filtered sample to keep.
        frames: How many to keep.

    Returns:
        One ``(group, out_channels, frames, stride)`` for every group, in order.
    """
    groups: tuple[Tensor, ...] = (x,)
    if x.device.type == "cpu" and not becomes_a_program():
        item = x.shape[-1] * len(weight) * x.element_size()
        groups = x.split(max(1, HEAP_BYTES // max(1, item)))
    filtered = [F.conv1d(group[..., window], weight, bias, padding=padding) for group in groups]
    return [phases_last(z.narrow(2, first, frames), stride) for z in filtered]


def filter_bank(x: Tensor, bank: Tensor) -> Tensor:
    """Filter every signal by all phases, and merge them: a few channels to one, at a higher rate.

    A block of samples and its filters are a banded matrix, so that all blocks of all signals are
    one matrix product, whose rows are the output as it lies in memory. On a CPU that takes a
    third of the time of a convolution with so few channels, although half the band is zeros.

    Args:
        x: ``(count, channels, time + taps - 1)``.
        bank: ``(stride, channels, taps)``: row ``r`` makes phase ``r``.

    Returns:
        ``(count, time * stride)``.

    Example:
        >>> bank = torch.tensor([[[1.0, 0.0]], [[0.5, 0.5]]])
        >>> filter_bank(torch.tensor([[[0.0, 1.0, 3.0]]]), bank)
        tensor([[0.0000, 0.5000, 1.0000, 2.0000]])
    """
    if becomes_a_program():
        return F.conv1d(x, bank).mT.flatten(1)
    stride, channels, taps = bank.shape
    time = x.shape[-1] - taps + 1
    block = max(LEAST_BLOCK, taps - 1)
    seen, blocks = block + taps - 1, -(-time // block)
    x = F.pad(x.mT, (0, 0, 0, (blocks + 1) * block - x.shape[-1])).flatten(1)
    x = x.unflatten(1, (-1, block * channels))
    x = torch.cat([x[:, :-1], x[:, 1:, : (taps - 1) * channels]], -1)
    shifted = F.pad(bank, (0, block)).repeat(1, 1, block)[..., : block * seen]  # a sample a row
    band = shifted.unflatten(-1, (block, seen)).permute(3, 1, 2, 0)
    return (x @ band.flatten(2).flatten(0, 1)).flatten(1)[:, : time * stride]


def joined(groups: list[Tensor]) -> Tensor:
    """The whole batch again."""
    return groups[0] if len(groups) == 1 else torch.cat(groups)
