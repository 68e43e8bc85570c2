"""Length, padding and cropping formulas of strided and transposed convolutions, in one place."""

from __future__ import annotations

import torch
from torch import Tensor


def strided_length(time: int, stride: int, kernel_size: int) -> int:
    """Frames that a strided convolution without padding gives for ``time`` samples.

    The last incomplete frame is dropped, as torch does.

    Example:
        >>> strided_length(12, stride=4, kernel_size=8)
        2
    """
    return (time - kernel_size) // stride + 1 if time >= kernel_size else 0


def transposed_length(time: int, stride: int, kernel_size: int) -> int:
    """Samples that an untrimmed transposed convolution gives for ``time`` frames.

    Example:
        >>> transposed_length(2, stride=4, kernel_size=8)
        12
    """
    return (time - 1) * stride + kernel_size if time > 0 else 0


def covering_frames(samples: int, stride: int) -> int:
    """The fewest frames of ``stride`` samples that cover ``samples``, none if these are negative.

    Programs that torch makes for any length compute it, too: without a division of a negative
    number, which ONNX rounds towards 0, and without a choice that tracing would not record.

    Example:
        >>> covering_frames(9, stride=4), covering_frames(-9, stride=4)
        (3, 0)
    """
    frames = (samples + stride - 1) // stride
    return (frames + abs(frames)) // 2 if torch.jit.is_tracing() else max(0, frames)


def centered_padding(kernel_size: int) -> tuple[int, int]:
    """Zeros before and after a signal that keep its length in a convolution of ``kernel_size``.

    An even kernel has no centre: the extra zero is put after the signal.

    Example:
        >>> centered_padding(9), centered_padding(8)
        ((4, 4), (3, 4))
    """
    return (kernel_size - 1) // 2, kernel_size // 2


def center_trim(x: Tensor, length: int) -> Tensor:
    """The middle ``length`` samples of ``x``, of shape ``(..., time)``.

    Of an odd number of samples to cut, the extra one is cut at the end, as in Demucs [3].

    Raises:
        ValueError: If ``x`` is shorter than ``length``.

    Example:
        >>> import torch
        >>> center_trim(torch.arange(7), 4)
        tensor([1, 2, 3, 4])
    """
    excess = x.shape[-1] - length
    if excess < 0:
        raise ValueError(f"cannot trim {x.shape[-1]} samples to {length}")
    return x[..., excess // 2 : excess // 2 + length]
