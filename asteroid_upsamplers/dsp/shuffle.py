r"""The periodic shuffle of subpixel convolutions ([1] Sec. 4).

Channel :math:`o s + r` of the input holds phase :math:`r` of output channel :math:`o`:

.. math:: y[o, n s + r] = x[o s + r, n], \qquad 0 \le r < s.
"""

from __future__ import annotations

from torch import Tensor


def periodic_shuffle(x: Tensor, stride: int) -> Tensor:
    """Interleave groups of ``stride`` channels in time.

    Args:
        x: ``(batch, channels * stride, time)``.
        stride: Upsampling factor.

    Returns:
        ``(batch, channels, time * stride)``.

    Example:
        >>> import torch
        >>> periodic_shuffle(torch.tensor([[[0, 2], [1, 3]]]), stride=2)
        tensor([[[0, 1, 2, 3]]])
    """
    batch, phases, time = x.shape
    channels = phases // stride
    return x.reshape(batch, channels, stride, time).mT.reshape(batch, channels, time * stride)
