"""Layers fitted to given responses: what they sound like, how near they come, what is refused."""

import pytest
import torch
from asteroid_filterbanks.free_fb import FreeFB
from torch import nn

from asteroid_upsamplers import layers
from asteroid_upsamplers.blocks import UpsamplerDecoder
from asteroid_upsamplers.blocks.fitting import (
    Responses,
    covering_kernel_size,
    fit_responses,
    impulse_responses,
    span,
    tap_responses,
    without_fitting,
)

EXACT = ("haar", "lazy_wavelet", "stretch", "subpixel", "transposed")
"""Families that can have any response their kernel covers."""

every_upsampler = pytest.mark.parametrize("name", layers.available())


@every_upsampler
def test_taps_and_responses_are_what_the_layer_makes_of_frames(name):
    """Superposed, the responses to single taps are the layer's output for any frames."""
    torch.manual_seed(0)
    layer = layers.get(name)(1, 1, stride=4, bias=True).double()
    with torch.no_grad():
        layer.bias.normal_()
    found, taps = impulse_responses(layer), tap_responses(layer)
    assert (taps.start, taps.stop) == span(layer)
    made = layer.weight.detach().flatten() @ taps.values
    torch.testing.assert_close(made, found.between(taps.start, taps.stop)[0], atol=1e-12, rtol=0)
    margin = max(-found.start, found.stop) // 4 + 2
    x = torch.nn.functional.pad(torch.randn(1, 1, 5).double(), (margin, margin))
    expected = torch.zeros(1, 1, x.shape[-1] * 4, dtype=torch.float64)
    for frame in range(margin, margin + 5):
        start = frame * 4 + found.start
        expected[0, 0, start : start + found.values.shape[1]] += x[0, 0, frame] * found.values[0]
    heard = (layer(x) - layer(torch.zeros_like(x))).detach()
    torch.testing.assert_close(heard, expected, atol=1e-10, rtol=0)


@every_upsampler
def test_no_other_taps_come_nearer(name):
    """Around the solution every change of the taps makes the error larger."""
    torch.manual_seed(0)
    layer = layers.get(name)(2, 1, stride=4).double()
    wanted = Responses(torch.randn(2, 8), tap_responses(layer).start)
    reported = fit_responses(layer, wanted)
    assert not layer.bias.any()

    def error():
        miss = impulse_responses(layer).between(-160, 160) - wanted.between(-160, 160)
        return float(miss.square().sum() / wanted.values.square().sum())

    least = error()
    assert least == pytest.approx(reported, abs=1e-6)
    assert (least < 1e-20) == (name in EXACT)
    best = layer.weight.detach().clone()
    for _ in range(3):
        with torch.no_grad():
            layer.weight.copy_(best + 0.1 * best.std() * torch.randn_like(best))
        assert error() > least


def test_a_tone_free_layer_is_fitted_within_what_it_may_do():
    layer = layers.Transposed(2, 1, stride=4, bias=False, tone_free=True)
    error = fit_responses(layer, Responses(torch.randn(2, 8), -2))
    assert 1e-3 < error < 1
    steady = layer(torch.ones(1, 2, 9)).detach()[0, 0, 16:20]
    assert steady.std() < 1e-6


class Looping(layers.Transposed):
    """A user's layer, written in a way that torch cannot run with a batch of weights."""

    name = "looping"

    def upsample(self, x):
        y = x.new_zeros(len(x), self.out_channels, (x.shape[-1] + 1) * self.stride)
        for tap in range(self.kernel_size):
            frames = torch.einsum("bit,io->bot", x, self.weight[..., tap])
            y[..., tap : tap + frames.shape[-1] * self.stride : self.stride] += frames
        return y[..., self.stride // 2 : self.stride // 2 + x.shape[-1] * self.stride]


class OfModules(layers.Upsampler):
    """A user's layer that has no weight of its own, but modules with theirs."""

    name = "of_modules"

    def __init__(self, in_channels, out_channels, stride, kernel_size=8, bias=True, deep=False):
        super().__init__(in_channels, out_channels, stride, kernel_size, bias)
        self.deep = deep
        self.first = nn.Conv1d(in_channels, in_channels, 1, bias=False) if deep else nn.Identity()
        self.last = nn.ConvTranspose1d(in_channels, out_channels, kernel_size, stride, bias=bias)

    def upsample(self, x):
        return self.last(self.first(x))[..., 2 : 2 + x.shape[-1] * self.stride]


@pytest.mark.parametrize("cls", [Looping, OfModules])
def test_a_users_layer_is_fitted_too(cls):
    torch.manual_seed(0)
    theirs, ours = layers.Transposed(3, 1, stride=4), cls(3, 1, stride=4)
    fit_responses(ours, impulse_responses(theirs))
    x = torch.randn(1, 3, 9)
    bias = theirs.bias.detach()[:, None]
    torch.testing.assert_close(ours(x), theirs(x) - bias, atol=1e-6, rtol=0)


def test_a_users_layer_of_several_weights_stays_as_it_was_drawn():
    upsampler = {"upsampler": OfModules, "upsampler_kwargs": {"kernel_size": 8, "deep": True}}
    decoder = UpsamplerDecoder(FreeFB(6, 8, stride=4), **upsampler)
    assert decoder(torch.randn(2, 6, 5)).shape == (2, 1, 24)
    with pytest.raises(ValueError, match="of_modules: .* a layer with one weight"):
        decoder.start_from(Responses(torch.randn(6, 8), 0))


@pytest.mark.parametrize("name", [name for name in layers.available() if name != "transposed"])
@pytest.mark.parametrize(("stride", "samples"), [(4, 16), (8, 64)])
def test_covering_kernels_cover_and_no_shorter_ones_do(name, stride, samples):
    def length(kernel_size):
        start, stop = span(layers.get(name)(1, 1, stride, kernel_size))
        return stop - start

    kernel_size = covering_kernel_size(layers.get(name), stride, samples)
    default = layers.get(name)(1, 1, stride).kernel_size
    assert length(kernel_size) >= samples
    assert kernel_size == default or length(kernel_size - 2) < samples


def test_random_numbers_are_left_alone():
    layer = layers.Nearest(1, 1, stride=2)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    fit_responses(layer, Responses(torch.ones(1, 2), 0))
    covering_kernel_size(layers.Sinc, 2, 8)
    assert torch.equal(torch.rand(1), expected)


def test_other_numbers_of_channels_are_refused():
    for outputs, rows in ((2, 3), (1, 2)):
        with pytest.raises(ValueError, match="one for each input channel"):
            fit_responses(layers.Nearest(3, outputs, 2), Responses(torch.ones(rows, 2), 0))


def test_blocks_fit_nothing_where_weights_follow():
    from asteroid_upsamplers.blocks import ChannelwiseUpsampler

    def made():
        torch.manual_seed(0)
        return ChannelwiseUpsampler(2, "subpixel")

    with without_fitting():
        drawn = made()
    torch.manual_seed(0)
    assert torch.equal(drawn.upsampler.weight, layers.Subpixel(1, 1, 2, bias=False).weight)
    assert not torch.equal(drawn.upsampler.weight, made().upsampler.weight)
