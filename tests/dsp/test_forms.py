"""Every form against the plain one, over random settings; unfolding."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asteroid_upsamplers.dsp import (
    InterpolatedConvolution,
    InterpolationKernel,
    cubic_kernel,
    linear_kernel,
    nearest_kernel,
    sinc_kernel,
    stretch_kernel,
)
from asteroid_upsamplers.dsp.channels_last import channels_last

BORDERS = ["zeros", "replicate", "reflect"]
MAKERS = {
    "nearest": lambda stride, border: nearest_kernel(stride),
    "stretch": lambda stride, border: stretch_kernel(stride),
    "linear": linear_kernel,
    "cubic": lambda stride, border: cubic_kernel(stride, border=border),
    "sinc": lambda stride, border: sinc_kernel(stride, 3, 0.9, border),
}


@st.composite
def any_kernel(draw):
    """One of ours, or any numbers at all: nothing in the forms knows what a kernel is for."""
    stride = draw(st.integers(1, 16))
    border = draw(st.sampled_from(BORDERS))
    if draw(st.booleans()):
        return MAKERS[draw(st.sampled_from(sorted(MAKERS)))](stride, border)
    taps = draw(st.integers(1, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    branches = torch.randn(stride, taps, dtype=torch.float64, generator=generator)
    return InterpolationKernel(branches, draw(st.integers(0, taps - 1)), border)


@st.composite
def any_convolution(draw):
    kernel_size = draw(st.integers(1, 40))
    padding = draw(st.integers(0, kernel_size - 1))
    return InterpolatedConvolution(
        draw(any_kernel()),
        kernel_size,
        (padding, kernel_size - 1 - padding),
        draw(st.sampled_from(BORDERS)),
        flipped=draw(st.booleans()),
    ).double()


def in_form(form, convolution, x, weight, bias):
    """``weight`` is (out, in, K), in the order of the convolution's own taps."""
    if form == "plain":
        flipped = convolution.flipped
        return convolution.plain(x, weight.flip(-1) if flipped else weight, bias)
    taps = weight.transpose(1, 2).flatten(0, 1)
    if form == "commuted":
        return convolution.commuted(x, taps.matmul, bias)
    if form == "channels_last":
        transposed = (weight if convolution.flipped else weight.flip(-1)).transpose(0, 1)
        return convolution.channels_last(channels_last(x), transposed, taps.matmul, bias)
    low_rate = convolution.fold(weight).transpose(1, 2).flatten(0, 1)
    return convolution.folded(x, low_rate, taps.matmul, bias)


def possible(convolution, time):
    """Reflection needs as many samples as it reflects."""
    kernel = convolution.kernel
    inside = time > max(kernel.before, kernel.taps - 1 - kernel.before)
    around = time * kernel.stride > max(convolution.padding)
    return (inside or kernel.border != "reflect") and (
        around or convolution.padding_mode != "reflect"
    )


@settings(max_examples=300, deadline=None)
@given(any_convolution(), st.integers(0, 12), st.booleans(), st.integers(1, 3))
def test_every_form_is_the_plain_one(convolution, more, with_bias, batch):
    """Every output sample, and the gradients of input, weight and bias."""
    time = convolution.least_time + more
    if not possible(convolution, time):
        return
    inputs = [
        torch.randn(shape, dtype=torch.float64, requires_grad=True)
        for shape in ((batch, 2, time), (3, 2, convolution.kernel_size), (3,))
    ]
    results = {}
    for form in ("plain", "folded", "commuted", "channels_last"):
        y = in_form(form, convolution, inputs[0], inputs[1], inputs[2] if with_bias else None)
        assert y.shape == (batch, 3, convolution.output_length(time))
        used = inputs if with_bias else inputs[:2]
        weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape).sin()
        results[form] = [y, *torch.autograd.grad((y * weights).sum(), used)]
    for form in ("folded", "commuted", "channels_last"):
        for mine, plain in zip(results[form], results["plain"], strict=True):
            torch.testing.assert_close(mine, plain, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "stride", "kernel_size"),
    itertools.product(["nearest", "linear", "cubic", "stretch"], [1, 2, 4, 7], [1, 8, 9]),
)
def test_unfold_gives_the_taps_back(name, stride, kernel_size):
    padding = ((kernel_size - 1) // 2, kernel_size // 2)
    convolution = InterpolatedConvolution(MAKERS[name](stride, "zeros"), kernel_size, padding)
    weight = torch.randn(3, 2, kernel_size, dtype=torch.float64)
    folded = convolution.double().fold(weight)
    assert folded.shape == (3, 2, stride, convolution.low_rate_taps)
    torch.testing.assert_close(convolution.unfold(folded), weight, rtol=1e-6, atol=1e-6)


def test_unfold_refuses_what_is_no_interpolation():
    convolution = InterpolatedConvolution(nearest_kernel(4), 9, (4, 4))
    folded = convolution.fold(torch.randn(3, 2, 9))
    folded[..., 0, 0] += 1
    with pytest.raises(ValueError, match="no interpolation followed by 9 taps"):
        convolution.unfold(folded)


@pytest.mark.parametrize(
    ("name", "low_rate_taps"), [("nearest", 3), ("linear", 4), ("cubic", 6), ("stretch", 3)]
)
def test_folding_needs_as_few_taps_as_can_be(name, low_rate_taps):
    """At stride 4, length 9: 12 multiply-adds for nearest neighbours, 16 for linear, not 36."""
    convolution = InterpolatedConvolution(MAKERS[name](4, "replicate"), 9, (4, 4))
    assert convolution.low_rate_taps == low_rate_taps


def test_only_what_clamps_has_borders_of_its_own():
    frames = {
        name: InterpolatedConvolution(make(4, "replicate"), 9, (4, 4)).head_frames
        for name, make in MAKERS.items()
    }
    assert frames["nearest"] == frames["stretch"] == 0
    assert min(frames["linear"], frames["cubic"], frames["sinc"]) > 0
    endless = InterpolatedConvolution(linear_kernel(4, "zeros"), 9, (4, 4))
    assert endless.head_frames > 0  # zeros around the upsampled signal cut the triangle's tail


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_constants_are_rounded_once(dtype):
    exact = InterpolatedConvolution(sinc_kernel(3), 7, (3, 3)).double().steady
    moved = InterpolatedConvolution(sinc_kernel(3), 7, (3, 3)).bfloat16().to(dtype).steady
    assert moved.dtype == torch.promote_types(dtype, torch.float32)
    assert torch.equal(moved, exact.to(moved.dtype))


def test_long_batches_are_filtered_in_groups(monkeypatch):
    """The groups that spare a CPU fresh pages give what the whole batch gives."""
    convolution = InterpolatedConvolution(linear_kernel(4), 9, (4, 4))
    x, weight = torch.randn(5, 2, 50), torch.randn(3, 2, 9)
    whole = in_form("folded", convolution, x, weight, None)
    monkeypatch.setattr("asteroid_upsamplers.dsp.forms.HEAP_BYTES", 2 * 50 * 12 * 4)
    calls = []
    conv1d = torch.nn.functional.conv1d

    def counted(x, *args, **kwargs):
        calls.append(len(x))
        return conv1d(x, *args, **kwargs)

    monkeypatch.setattr("torch.nn.functional.conv1d", counted)
    torch.testing.assert_close(in_form("folded", convolution, x, weight, None), whole)
    assert calls == [2, 2, 1]
