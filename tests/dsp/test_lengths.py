"""Length formulas against torch's own convolutions."""

import pytest
import torch
from torch.nn import functional as F

from asteroid_upsamplers.dsp import (
    center_trim,
    centered_padding,
    strided_length,
    transposed_length,
)


@pytest.mark.parametrize(
    ("stride", "kernel", "time"), [(1, 1, 9), (2, 9, 9), (4, 8, 23), (4, 9, 10), (5, 4, 23)]
)
def test_lengths_are_torchs(stride, kernel, time):
    x, weight = torch.zeros(1, 1, time), torch.zeros(1, 1, kernel)
    assert strided_length(time, stride, kernel) == F.conv1d(x, weight, stride=stride).shape[-1]
    y = F.conv_transpose1d(x, weight, stride=stride)
    assert transposed_length(time, stride, kernel) == y.shape[-1]
    assert F.conv1d(F.pad(x, centered_padding(kernel)), weight).shape[-1] == time
    assert strided_length(kernel - 1, stride, kernel) == transposed_length(0, stride, kernel) == 0


@pytest.mark.parametrize(("length", "first"), [(7, 0), (6, 0), (5, 1), (4, 1), (1, 3)])
def test_center_trim_cuts_the_extra_sample_at_the_end(length, first):
    assert center_trim(torch.arange(7), length).tolist() == list(range(first, first + length))
    with pytest.raises(ValueError, match="cannot trim"):
        center_trim(torch.arange(7), 8)
