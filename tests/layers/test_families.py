"""Each family against an independent form: torch's own modules, julius, or numpy loops."""

import itertools

import julius
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from asteroid_upsamplers import layers

TIME = 11
SINGLE = {"rtol": 1e-5, "atol": 1e-6}
"""The precision of numbers that were float32 at some time."""

settings = pytest.mark.parametrize(("stride", "kernel"), [(1, 4), (2, 1), (3, 8), (4, 9)])
strides = pytest.mark.parametrize("stride", [2, 3, 4])


def signal():
    return torch.randn(2, 3, TIME, dtype=torch.float64)


def with_weights_of(module, layer):
    """Copy the layer's parameters into torch's module: same names, same shapes."""
    module.load_state_dict({name: layer.state_dict()[name] for name in module.state_dict()})
    return module.double()


def convolved(layer, upsampled):
    """The centred convolution of an interpolation layer, as torch's module with explicit zeros."""
    k = layer.kernel_size
    module = with_weights_of(nn.Conv1d(3, 2, k), layer)
    return module(F.pad(upsampled, ((k - 1) // 2, k // 2)))


def interpolated_by_numpy(x, places):
    rows = [np.interp(places, np.arange(x.shape[-1]), row) for row in x.flatten(0, 1).numpy()]
    return torch.from_numpy(np.stack(rows)).unflatten(0, x.shape[:2])


@pytest.mark.parametrize(
    ("stride", "kernel"), [(1, 1), (2, 2), (2, 3), (3, 6), (3, 8), (4, 9), (4, 12)]
)
def test_transposed_is_torchs(stride, kernel):
    """No, partial and full overlap; trimmed, the extra sample of an odd number at the end."""
    layer = layers.Transposed(3, 2, stride, kernel, trim=False).double()
    x, reference = signal(), with_weights_of(nn.ConvTranspose1d(3, 2, kernel, stride), layer)
    untrimmed = reference(x)
    torch.testing.assert_close(layer(x), untrimmed)
    trimmed = layers.Transposed(**{**layer.get_config(), "trim": True}).double()
    trimmed.load_state_dict(layer.state_dict())
    cut = (kernel - stride) // 2
    torch.testing.assert_close(trimmed(x), untrimmed[..., cut : cut + TIME * stride])


def bicubic_by_torch(x, stride):
    size = (2, x.shape[-1] * stride)
    return F.interpolate(x[:, :, None].repeat(1, 1, 2, 1), size=size, mode="bicubic")[:, :, 0]


def with_zeros_between(x, stride):
    y = x.new_zeros(*x.shape[:2], x.shape[-1] * stride)
    y[..., ::stride] = x
    return y


@settings
@pytest.mark.parametrize(
    ("name", "upsampled"),
    [
        ("nearest", lambda x, s: F.interpolate(x, scale_factor=s)),
        ("linear", lambda x, s: interpolated_by_numpy(x, (np.arange(TIME * s) + 0.5) / s - 0.5)),
        ("cubic", bicubic_by_torch),
        ("sinc", lambda x, s: julius.resample_frac(x, 1, s)),
        ("resample", lambda x, s: julius.resample_frac(x, 1, s, zeros=8, rolloff=1)),
        ("stretch", with_zeros_between),
    ],
)
def test_interpolation_then_a_convolution(name, upsampled, stride, kernel):
    layer, x = layers.get(name)(3, 2, stride, kernel).double(), signal()
    wanted = convolved(layer, upsampled(x, stride))
    torch.testing.assert_close(layer(x), wanted, **(SINGLE if name in ("sinc", "resample") else {}))


@pytest.mark.parametrize("mode", ["replicate", "reflect"])
@pytest.mark.parametrize("kernel", [4, 9])
def test_padding_mode_is_torchs(mode, kernel):
    layer, x = layers.Nearest(3, 2, 4, kernel, padding_mode=mode).double(), signal()
    module = with_weights_of(nn.Conv1d(3, 2, kernel, padding="same", padding_mode=mode), layer)
    torch.testing.assert_close(layer(x), module(nn.Upsample(scale_factor=4)(x)))


def test_reflection_says_how_many_samples_it_needs():
    layer = layers.Linear(1, 1, 4, 17, padding_mode="reflect")
    with pytest.raises(ValueError, match=r"input of 2 samples, .* needs more than 8"):
        layer(torch.zeros(1, 1, 2))


@strides
def test_learned_starts_as_linear_interpolation_between_samples_that_stay(stride):
    layer, x = layers.Learned(3, 2, stride).double(), signal()
    upsampled = interpolated_by_numpy(x, np.arange(TIME * stride) / stride)
    torch.testing.assert_close(layer.interpolate(x), upsampled, **SINGLE)
    torch.testing.assert_close(layer(x), convolved(layer, upsampled), **SINGLE)


def test_learned_is_wave_u_nets():
    """[2] Sec. 3.2.2: each channel has its own weight, a sigmoid of a free one."""
    layer, x = layers.Learned(3, 2, 2).double(), signal()
    with torch.no_grad():
        layer.logits.copy_(torch.tensor([[-1.0, 0.0, 2.0]]))
    u = layer.interpolate(x)
    assert torch.equal(u[..., ::2], x)
    for channel, weight in enumerate(1 / (1 + np.exp([1.0, 0.0, -2.0]))):
        between = weight * x[:, channel, :-1] + (1 - weight) * x[:, channel, 1:]
        torch.testing.assert_close(u[:, channel, 1:-1:2], between)
    layer(x).square().sum().backward()
    assert layer.logits.grad.abs().min() > 0


@settings
def test_subpixel_interleaves_one_convolution_a_phase(stride, kernel):
    layer, x = layers.Subpixel(3, 2, stride, kernel).double(), signal()
    padded = F.pad(x, ((kernel - 1) // 2, kernel // 2))
    expected = torch.empty(2, 2, TIME * stride, dtype=torch.float64)
    for channel, phase in itertools.product(range(2), range(stride)):
        row = slice(channel * stride + phase, channel * stride + phase + 1)
        y = F.conv1d(padded, layer.weight[row], layer.bias[row])
        expected[:, channel, phase::stride] = y[:, 0].detach()
    torch.testing.assert_close(layer(x), expected)


def inverse_steps_by_hand(bands, step):
    """A wavelet packet tree on numpy rows, pair by pair."""
    while len(bands) > 1:
        merged = []
        for a, d in zip(bands[0::2], bands[1::2], strict=True):
            row = np.empty(2 * len(a))
            row[0::2], row[1::2] = step(a, d)
            merged.append(row)
        bands = merged
    return bands[0]


@pytest.mark.parametrize("stride", [1, 2, 8])
@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("lazy_wavelet", lambda a, d: (a, d)),
        ("haar", lambda a, d: ((a + d) / np.sqrt(2), (a - d) / np.sqrt(2))),
    ],
)
def test_wavelets_take_inverse_steps_on_channels(name, step, stride):
    layer, x = layers.get(name)(3, 2, stride).double(), signal()
    conv = with_weights_of(nn.Conv1d(3, 2 * stride, 3, padding=1), layer)
    subbands, y = conv(x).detach().numpy(), layer(x).detach().numpy()
    for example, channel in itertools.product(range(2), range(2)):
        bands = list(subbands[example, channel * stride : (channel + 1) * stride])
        np.testing.assert_allclose(y[example, channel], inverse_steps_by_hand(bands, step))


@strides
def test_icnr_starts_as_a_repeated_convolution(stride):
    layer, x = layers.Subpixel(3, 2, stride, init="icnr").double(), signal()
    once = F.conv1d(x, layer.weight[::stride], layer.bias[::stride], padding=1)
    assert layer.weight[::stride].std() > 0.1
    torch.testing.assert_close(layer(x), once.repeat_interleave(stride, -1), rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("transposed", lambda: nn.ConvTranspose1d(3, 2, 8, 4)),
        ("nearest", lambda: nn.Conv1d(3, 2, 9)),
        ("subpixel", lambda: nn.Conv1d(3, 8, 3)),
    ],
)
def test_initialisation_is_torchs(name, module):
    torch.manual_seed(3)
    layer = layers.get(name)(3, 2, 4)
    torch.manual_seed(3)
    module = module()
    torch.testing.assert_close(layer.weight, module.weight)
    torch.testing.assert_close(layer.bias, module.bias)


@pytest.mark.parametrize(
    ("stride", "kernel", "tones"), [(2, 3, True), (6, 8, True), (3, 3, False), (4, 8, False)]
)
def test_constant_filters_ring_with_partial_overlap_only(stride, kernel, tones):
    """[1] Figs. 3 to 5."""
    layer = layers.Transposed(3, 2, stride, kernel, init="constant").double()
    assert torch.equal(layer.weight, layer.weight[..., :1].expand_as(layer.weight))
    assert layer.weight[..., 0].std() > 0.05
    y = layer(torch.ones(1, 3, 20, dtype=torch.float64))[0]
    assert (y[:, 10 * stride : 11 * stride].std(-1).max() > 1e-3) == tones
