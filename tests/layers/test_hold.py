"""Hold kernels, and kernels as cheap as a transposed convolution."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from asteroid_upsamplers import layers


@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_hold_convolves_rectangles(order, stride):
    """[8]: ``order + 1`` of them, around the samples that nearest neighbours make."""
    layer = layers.Hold(1, 1, stride, kernel_size=1, bias=False, order=order).double()
    torch.nn.init.ones_(layer.weight)
    x, more = torch.randn(1, 1, 9).double(), order + 1
    u = np.zeros((9 + 2 * more) * stride)
    u[::stride] = F.pad(x, (more, more), "replicate")
    for _ in range(more):
        u = np.convolve(u, np.ones(stride) / stride)
    first = more * stride + -(-order * (stride - 1) // 2)
    wanted = torch.from_numpy(stride * u[first : first + 9 * stride])
    torch.testing.assert_close(layer(x)[0, 0], wanted)
    nearest = x.repeat_interleave(stride, -1)
    assert torch.allclose(layer(x), nearest, atol=1e-12) == (order == 0)


@pytest.mark.parametrize("name", ["nearest", "linear"])
def test_a_mac_neutral_kernel_takes_the_multiply_adds_of_a_transposed_convolution(name):
    def operations(layer, x):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            layer(x)
        return counter.flop_counts["Global"][torch.ops.aten.convolution]

    for stride in (2, 8):
        ours = layers.make(name, 6, 3, stride, kernel_size="mac_neutral", form="plain")
        transposed = layers.make("transposed", 6, 3, stride, form="plain")
        x = torch.randn(2, 6, 100)
        assert abs(operations(ours, x) / operations(transposed, x) - 1) < 1e-9
        assert ours.get_config()["kernel_size"] == ours.weight.shape[-1]
