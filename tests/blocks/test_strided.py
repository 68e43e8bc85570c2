"""Hold kernels before strided convolutions: [1] Sec. 2, issue iii."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from asteroid_upsamplers.artifacts import loss_gradient
from asteroid_upsamplers.blocks import HeldConvolution
from asteroid_upsamplers.models import DemucsLike


@pytest.mark.parametrize(("order", "stride"), [(0, 4), (1, 3), (2, 2)])
def test_it_is_moving_averages_and_a_strided_convolution(order, stride):
    layer = HeldConvolution(2, 3, kernel_size=7, stride=stride, order=order).double()
    x = torch.randn(2, 2, 50).double()
    more = (order + 1) * (stride - 1)
    y = F.pad(x, (more // 2, more - more // 2))
    for _ in range(order + 1):
        y = F.avg_pool1d(y, stride, 1)
    torch.testing.assert_close(layer(x), F.conv1d(y, layer.weight, layer.bias, stride))


def unevenness(conv):
    """Of what a constant gradient becomes: deviation within a period, against its size."""
    x = torch.zeros(1, 1, 400, requires_grad=True)
    conv(x).sum().backward()
    period = x.grad[0, 0, 200 : 200 + conv.stride[0]]
    return float(period.std(correction=0) / period.square().mean().sqrt())


def test_the_backward_pass_is_free_of_tones():
    """A constant gradient exactly; that of noise is more even by half and more."""

    def measured(conv):
        found = loss_gradient(lambda a, b: (conv(a) - conv(b)).abs().mean(), conv.stride[0])
        return found.modulation

    torch.manual_seed(0)
    plain = nn.Conv1d(1, 16, 8, 4)
    held = [HeldConvolution(1, 16, 8, 4, order=order) for order in range(3)]
    for conv in held:
        conv.load_state_dict(plain.state_dict())
    assert unevenness(plain) > 0.1 and max(map(unevenness, held)) < 1e-6
    assert max(map(measured, held)) < measured(plain) / 2


def test_demucs_takes_it_in_every_block():
    """The weights stay those of a model without it."""
    plain, held = DemucsLike(channels=4, depth=3), DemucsLike(channels=4, depth=3, encoder_hold=1)
    held.load_state_dict(plain.state_dict())
    x = torch.randn(1, 2, 300)
    assert held(x).shape == plain(x).shape and not torch.allclose(held(x), plain(x))
    assert all(block.downsample.order == 1 for block in held.encoder)
