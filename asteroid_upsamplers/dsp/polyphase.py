r"""Polyphase components of a signal ([1] Sec. 4).

Component :math:`r` of a signal at stride :math:`s` is every :math:`s`-th sample from the
:math:`r`-th on. Channel :math:`o s + r` of the split signal holds component :math:`r` of channel
:math:`o`:

.. math:: y[o, n s + r] = x[o s + r, n], \qquad 0 \le r < s.

[1] Pons et al., "Upsampling artifacts in neural audio synthesis", ICASSP 2021.
"""

from __future__ import annotations

from torch import Tensor


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
    return x.unflatten(1, (-1, stride)).mT.flatten(2)


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
        raise ValueError(f"time is {x.shape[-1]}, allowed is a multiple of the stride, {stride}")
    return x.unflatten(-1, (-1, stride)).mT.flatten(1, 2)
