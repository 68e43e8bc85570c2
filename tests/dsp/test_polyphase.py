"""Polyphase components: split and merge are inverse, and torch agrees."""

import pytest
import torch
from torch.nn import functional as F

from asteroid_upsamplers.dsp import polyphase_merge, polyphase_split


def test_merge_is_a_pixel_shuffle_in_one_dimension():
    x = torch.randn(2, 12, 5)
    square = F.pixel_shuffle(x.reshape(2, 3, 4, 5).repeat(1, 1, 4, 1).reshape(2, 48, 1, 5), 4)
    torch.testing.assert_close(polyphase_merge(x, 4), square[:, :, 0])


@pytest.mark.parametrize("stride", [1, 2, 3, 16])
def test_split_and_merge_are_inverse(stride):
    x = torch.randn(2, 3, 5 * stride)
    components = polyphase_split(x, stride)
    assert components.shape == (2, 3 * stride, 5)
    for phase in range(stride):
        assert torch.equal(components[:, phase::stride], x[..., phase::stride])
    assert torch.equal(polyphase_merge(components, stride), x)


def test_split_refuses_a_time_that_does_not_divide():
    with pytest.raises(ValueError, match="time must be a multiple of the stride, 4, not 10"):
        polyphase_split(torch.zeros(1, 1, 10), 4)
