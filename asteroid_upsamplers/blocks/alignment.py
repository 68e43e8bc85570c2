r"""Any upsampler in the place of a transposed convolution: the same length, the same alignment.

A transposed convolution of :math:`K` taps lets frame :math:`f` sound from sample :math:`f s` to
:math:`f s + K - 1`, cuts ``padding`` samples from both ends of the whole and leaves
``output_padding`` of them at the last. An upsampler that sounds from :math:`f s + a` to
:math:`f s + b` is delayed so that the middles of the two spans agree, and zero frames around the
input, which a transposed convolution has too, give what sounds beyond the ends.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from .. import layers
from .fitting import span


@dataclass(frozen=True)
class Alignment:
    """See :func:`align`.

    Args:
        delay: By how many samples the upsampler sounds earlier than the transposed convolution.
        before: Zero frames to put before the input.
        after: Zero frames to put after it.
        start: First sample to keep of what comes out then.
        excess: Samples to keep beyond ``stride`` times the frames; may be negative.
    """

    delay: int
    before: int
    after: int
    start: int
    excess: int

    def upsample(self, layer: layers.Upsampler, frames: Tensor) -> Tensor:
        """``(batch, in_channels, frames)`` -> ``(batch, out_channels, frames * stride + excess)``.

        Args:
            layer: The one that this was made for.
            frames: At least one.
        """
        length = frames.shape[-1] * layer.stride + self.excess
        y = layer(F.pad(frames, (self.before, self.after)))
        return y[..., self.start : self.start + length]


def align(
    layer: layers.Upsampler,
    kernel_size: int,
    padding: int = 0,
    output_padding: int = 0,
    heard: tuple[int, int] | None = None,
) -> Alignment:
    """How ``layer`` takes the place of a transposed convolution of its stride.

    Args:
        layer: Any upsampler.
        kernel_size: Of the transposed convolution.
        padding: Of the transposed convolution, as in ``nn.ConvTranspose1d``.
        output_padding: Of the transposed convolution, as in ``nn.ConvTranspose1d``.
        heard: What :func:`span` gives for ``layer``, if it is known already.

    Example:
        >>> import torch
        >>> layer = layers.Nearest(2, 3, stride=4)
        >>> align(layer, kernel_size=8).upsample(layer, torch.zeros(1, 2, 5)).shape
        torch.Size([1, 3, 24])
    """
    (begin, end), stride = heard or span(layer), layer.stride
    delay = (kernel_size - begin - end + 1) // 2
    first = padding - delay
    excess = kernel_size - stride - 2 * padding + output_padding
    before = max(1, _frames(max(-begin, -first), stride))
    after = max(1, _frames(max(end - stride, first + excess), stride))
    return Alignment(delay, before, after, before * stride + first, excess)


def _frames(samples: int, stride: int) -> int:
    return -(-samples // stride)
