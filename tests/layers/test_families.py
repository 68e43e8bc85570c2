"""Each family against an independent form: torch's own modules, or numpy loops."""

import itertools

import julius
import numpy as np
import pytest
import torch
from torch import nn

from asteroid_upsamplers import layers

SETTINGS = [(stride, kernel) for stride, kernel in itertools.product([1, 2, 3, 4, 8], [1, 4, 8, 9])]


def with_weights_of(module, layer):
    """Copy the layer's parameters into torch's module: same names, same shapes."""
    state = {name: layer.state_dict()[name] for name in module.state_dict()}
    module.load_state_dict(state)
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


@pytest.mark.parametrize("mode", ["replicate", "reflect"])
@pytest.mark.parametrize("kernel", [4, 9])
def test_padding_mode_is_torchs(mode, kernel):
    layer = layers.Nearest(3, 2, 4, kernel, padding_mode=mode).double()
    x = torch.randn(2, 3, 11, dtype=torch.float64)
    module = with_weights_of(nn.Conv1d(3, 2, kernel, padding="same", padding_mode=mode), layer)
    torch.testing.assert_close(layer(x), module(nn.Upsample(scale_factor=4)(x)))


def test_reflection_says_how_many_samples_it_needs():
    layer = layers.Linear(1, 1, 4, 17, padding_mode="reflect")
    with pytest.raises(ValueError, match="input of 2 samples, .* needs more than 8"):
        layer(torch.zeros(1, 1, 2))


@pytest.mark.parametrize(("stride", "kernel"), SETTINGS)
def test_cubic_equals_torch(stride, kernel):
    layer = layers.Cubic(3, 2, stride, kernel).double()
    x = torch.randn(2, 3, 11, dtype=torch.float64)
    rows = x[:, :, None].repeat(1, 1, 2, 1)
    size = (2, 11 * stride)
    upsampled = nn.functional.interpolate(rows, size=size, mode="bicubic", align_corners=False)
    torch.testing.assert_close(layer(x), convolved(layer, upsampled[:, :, 0]))


@pytest.mark.parametrize(("stride", "kernel"), SETTINGS)
def test_sinc_equals_julius(stride, kernel):
    layer = layers.Sinc(3, 2, stride, kernel).double()
    x = torch.randn(2, 3, 70, dtype=torch.float64)
    upsampled = julius.resample_frac(x, 1, stride)
    torch.testing.assert_close(layer(x), convolved(layer, upsampled), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("stride", "kernel"), SETTINGS)
def test_stretch_is_a_transposed_convolution(stride, kernel):
    """Zero insertion and a convolution is its definition ([1] Sec. 2), with the taps reversed."""
    layer = layers.Stretch(3, 2, stride, kernel).double()
    x = torch.randn(2, 3, 11, dtype=torch.float64)
    taps = layer.weight.flip(-1).transpose(0, 1)
    y = nn.functional.conv_transpose1d(x, taps, layer.bias, stride, output_padding=stride - 1)
    start = kernel // 2
    torch.testing.assert_close(layer(x), y[..., start : start + 11 * stride])


@pytest.mark.parametrize("stride", [2, 3, 4, 8])
def test_learned_starts_as_linear_interpolation_between_samples_that_stay(stride):
    layer = layers.Learned(3, 2, stride).double()
    x = torch.randn(2, 3, 11, dtype=torch.float64)
    places = np.arange(11 * stride) / stride
    rows = [np.interp(places, np.arange(11), row) for row in x.reshape(6, 11).numpy()]
    upsampled = torch.from_numpy(np.stack(rows)).reshape(2, 3, -1)
    torch.testing.assert_close(layer.interpolate(x), upsampled, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(layer(x), convolved(layer, upsampled), rtol=1e-6, atol=1e-6)


def test_learned_is_wave_u_nets():
    """[2] Sec. 3.2.2: each channel has its own weight, a sigmoid of a free one."""
    layer = layers.Learned(3, 2, 2).double()
    with torch.no_grad():
        layer.logits.copy_(torch.tensor([[-1.0, 0.0, 2.0]]))
    x = torch.randn(1, 3, 9, dtype=torch.float64)
    u = layer.interpolate(x)
    assert torch.equal(u[..., ::2], x)
    for channel, weight in enumerate(1 / (1 + np.exp([1.0, 0.0, -2.0]))):
        between = weight * x[0, channel, :-1] + (1 - weight) * x[0, channel, 1:]
        torch.testing.assert_close(u[0, channel, 1:-1:2], between)


def test_learned_learns_its_interpolation():
    layer = layers.Learned(3, 2, 2)
    layer(torch.randn(1, 3, 9)).square().sum().backward()
    assert layer.logits.grad.abs().min() > 0


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


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("lazy_wavelet", lambda a, d: (a, d)),
        ("haar", lambda a, d: ((a + d) / np.sqrt(2), (a - d) / np.sqrt(2))),
    ],
)
@pytest.mark.parametrize("stride", [1, 2, 4, 16])
def test_wavelets_take_inverse_steps_on_channels(name, step, stride):
    layer = layers.get(name)(3, 2, stride).double()
    x = torch.randn(2, 3, 11, dtype=torch.float64)
    conv = with_weights_of(nn.Conv1d(3, 2 * stride, 3, padding=1), layer)
    subbands = conv(x).detach().numpy()
    y = layer(x).detach().numpy()
    for example, channel in itertools.product(range(2), range(2)):
        bands = list(subbands[example, channel * stride : (channel + 1) * stride])
        np.testing.assert_allclose(y[example, channel], inverse_steps_by_hand(bands, step))


def test_haar_inverts_the_analysis():
    """Analysis by sums and differences, then the layer with unit filters: the signal again."""
    signal = torch.randn(1, 1, 16, dtype=torch.float64)
    even, odd = signal[..., 0::2], signal[..., 1::2]
    bands = torch.cat([(even + odd), (even - odd)], 1) / 2**0.5
    layer = layers.Haar(2, 1, 2, kernel_size=1, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(torch.eye(2)[..., None])
    torch.testing.assert_close(layer(bands), signal)


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_icnr_starts_as_a_repeated_convolution(stride):
    layer = layers.Subpixel(3, 2, stride, init="icnr").double()
    conv = nn.Conv1d(3, 2, 3, padding=1).double()
    conv.weight.data.copy_(layer.weight[::stride])
    conv.bias.data.copy_(layer.bias[::stride])
    x = torch.randn(2, 3, 11, dtype=torch.float64)
    assert layer.weight[::stride].std() > 0.1
    torch.testing.assert_close(layer(x), conv(x).repeat_interleave(stride, -1), rtol=0, atol=1e-15)


@pytest.mark.parametrize(("kernel", "tones"), [(4, False), (8, False), (6, True)])
def test_constant_init_has_no_tones_unless_overlap_is_partial(kernel, tones):
    layer = layers.Transposed(3, 2, 4, kernel, init="constant").double()
    assert torch.equal(layer.weight, layer.weight[..., :1].expand_as(layer.weight))
    assert layer.weight[..., 0].std() > 0.05
    sums = layer.phase_sums()
    assert (sums.std(-1).max() > 1e-3) == tones


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
        (lambda: layers.Learned(3, 2, 4), lambda: nn.Conv1d(3, 2, 9)),
        (lambda: layers.Haar(3, 2, 4), lambda: nn.Conv1d(3, 8, 3)),
    ],
    ids=["transposed", "nearest", "subpixel", "learned", "haar"],
)
def test_initialisation_is_torchs(ours, torchs):
    torch.manual_seed(3)
    layer = ours()
    torch.manual_seed(3)
    module = torchs()
    torch.testing.assert_close(layer.weight, module.weight)
    torch.testing.assert_close(layer.bias, module.bias)


def steady(layer, frames=80):
    """The middle of the response to ones, as (channels, periods, stride)."""
    y = layer(torch.ones(1, layer.in_channels, frames, dtype=torch.float64))[0].detach()
    middle = y[:, 30 * layer.stride : 50 * layer.stride]
    return middle.reshape(layer.out_channels, 20, layer.stride)


@pytest.mark.parametrize("name", ["nearest", "linear", "cubic", "sinc", "learned"])
@pytest.mark.parametrize("stride", [2, 3, 4])
def test_interpolation_keeps_constants_constant(name, stride):
    """[1] Sec. 3: no tonal artifacts for a constant, whatever the weights."""
    period = steady(layers.get(name)(3, 2, stride).double())
    torch.testing.assert_close(period, period[:, :1, :1].expand_as(period))


@pytest.mark.parametrize("name", ["transposed", "subpixel", "stretch", "haar", "lazy_wavelet"])
@pytest.mark.parametrize("stride", [2, 4])
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
