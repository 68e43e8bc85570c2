"""Each family against an independent form: torch's own modules, or numpy loops."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from asteroid_upsamplers import layers

SETTINGS = [(stride, kernel) for stride, kernel in itertools.product([1, 2, 3, 4, 8], [1, 4, 8, 9])]


def with_weights_of(module, layer):
    """Copy the layer's parameters into torch's module: same names, same shapes."""
    module.load_state_dict(layer.state_dict())
    return module.double()


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("overlap", [0, 1, 2, "full", "double"])
def test_transposed_equals_torch(stride, overlap):
    kernel = stride * {"full": 2, "double": 3}.get(overlap, 1) + (
        overlap if overlap in (1, 2) else 0
    )
    layer = layers.Transposed(3, 2, stride, kernel, trim=False).double()
    reference = with_weights_of(nn.ConvTranspose1d(3, 2, kernel, stride), layer)
    x = torch.randn(2, 3, 11, dtype=torch.float64)
    untrimmed = layer(x)
    assert untrimmed.shape[-1] == 10 * stride + kernel == layer.output_length(11)
    torch.testing.assert_close(untrimmed, reference(x))
    trimmed = layers.Transposed(**{**layer.get_config(), "trim": True}).double()
    trimmed.load_state_dict(layer.state_dict())
    cut = (kernel - stride) // 2
    torch.testing.assert_close(trimmed(x), untrimmed[..., cut : cut + 11 * stride])


def test_transposed_with_even_overlap_is_torch_with_padding():
    layer = layers.Transposed(3, 2, 4).double()
    reference = with_weights_of(nn.ConvTranspose1d(3, 2, 8, 4, padding=2), layer)
    x = torch.randn(1, 3, 20, dtype=torch.float64)
    torch.testing.assert_close(layer(x), reference(x))


@pytest.mark.parametrize("stride", [2, 3, 8])
def test_transposed_refuses_a_kernel_shorter_than_its_stride(stride):
    with pytest.raises(ValueError, match=f"kernel_size is {stride - 1}, allowed .* {stride} up"):
        layers.Transposed(1, 1, stride, stride - 1)


def convolved(layer, upsampled):
    """The centred convolution as torch's module with explicit zeros."""
    k = layer.kernel_size
    module = nn.Sequential(
        nn.ZeroPad1d(((k - 1) // 2, k // 2)),
        with_weights_of(nn.Conv1d(layer.in_channels, layer.out_channels, k), layer),
    )
    return module(upsampled)


@pytest.mark.parametrize(("stride", "kernel"), SETTINGS)
def test_nearest_equals_torch(stride, kernel):
    layer = layers.Nearest(3, 2, stride, kernel).double()
    x = torch.randn(2, 3, 11, dtype=torch.float64)
    torch.testing.assert_close(layer(x), convolved(layer, nn.Upsample(scale_factor=stride)(x)))


@pytest.mark.parametrize(("stride", "kernel"), SETTINGS)
def test_linear_interpolates_as_numpy_does(stride, kernel):
    layer = layers.Linear(3, 2, stride, kernel).double()
    x = torch.randn(2, 3, 11, dtype=torch.float64)
    places = (np.arange(11 * stride) + 0.5) / stride - 0.5
    rows = [np.interp(places, np.arange(11), row) for row in x.reshape(6, 11).numpy()]
    upsampled = torch.from_numpy(np.stack(rows)).reshape(2, 3, -1)
    torch.testing.assert_close(layer(x), convolved(layer, upsampled))


@pytest.mark.parametrize(("stride", "kernel"), SETTINGS)
def test_subpixel_interleaves_one_convolution_a_phase(stride, kernel):
    layer = layers.Subpixel(3, 2, stride, kernel).double()
    x = torch.randn(2, 3, 11, dtype=torch.float64)
    padded = nn.functional.pad(x, ((kernel - 1) // 2, kernel // 2))
    expected = torch.empty(2, 2, 11 * stride, dtype=torch.float64)
    for channel, phase in itertools.product(range(2), range(stride)):
        row = channel * stride + phase
        y = nn.functional.conv1d(padded, layer.weight[row : row + 1], layer.bias[row : row + 1])
        expected[:, channel, phase::stride] = y[:, 0].detach()
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(
    ("ours", "torchs"),
    [
        (lambda: layers.Transposed(3, 2, 4), lambda: nn.ConvTranspose1d(3, 2, 8, 4)),
        (lambda: layers.Nearest(3, 2, 4), lambda: nn.Conv1d(3, 2, 9)),
        (lambda: layers.Subpixel(3, 2, 4), lambda: nn.Conv1d(3, 8, 3)),
    ],
    ids=["transposed", "nearest", "subpixel"],
)
def test_initialisation_is_torchs(ours, torchs):
    torch.manual_seed(3)
    layer = ours()
    torch.manual_seed(3)
    module = torchs()
    torch.testing.assert_close(layer.weight, module.weight)
    torch.testing.assert_close(layer.bias, module.bias)


def steady(layer, frames=40):
    """The middle of the response to ones, as (channels, periods, stride)."""
    y = layer(torch.ones(1, layer.in_channels, frames, dtype=torch.float64))[0].detach()
    middle = y[:, 10 * layer.stride : 30 * layer.stride]
    return middle.reshape(layer.out_channels, 20, layer.stride)


@pytest.mark.parametrize("name", ["nearest", "linear"])
@pytest.mark.parametrize("stride", [2, 3, 4])
def test_interpolation_keeps_constants_constant(name, stride):
    """[1] Sec. 3: no tonal artifacts for a constant, whatever the weights."""
    period = steady(layers.get(name)(3, 2, stride).double())
    torch.testing.assert_close(period, period[:, :1, :1].expand_as(period))


@pytest.mark.parametrize("name", ["transposed", "subpixel"])
@pytest.mark.parametrize("stride", [2, 3, 4])
def test_others_repeat_their_weights(name, stride):
    """[1] Sec. 2 and 4: ones become a pattern that repeats at the stride."""
    period = steady(layers.get(name)(3, 2, stride).double())
    torch.testing.assert_close(period, period[:, :1].expand_as(period))
    assert period[:, 0].std(dim=-1).min() > 1e-3


@pytest.mark.parametrize(
    ("kernel", "stride", "tones"), [(3, 2, True), (8, 6, True), (3, 3, False), (8, 4, False)]
)
def test_overlap_of_ones(kernel, stride, tones):
    """[1] Figs. 3 to 5: constant weights ring with partial overlap only."""
    layer = layers.Transposed(1, 1, stride, kernel, bias=False).double()
    nn.init.ones_(layer.weight)
    assert (steady(layer)[0, 0].std() > 0.1) == tones
