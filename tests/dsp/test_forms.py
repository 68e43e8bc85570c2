"""Every form against the plain one, for kernels of any numbers at all: nothing in the forms knows
what a kernel is for."""

import pytest
import torch
from hypothesis import assume, given, settings
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

BORDERS = st.sampled_from(["zeros", "replicate", "reflect"])


@st.composite
def any_convolution(draw):
    stride, taps = draw(st.integers(1, 16)), draw(st.integers(1, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    branches = torch.randn(stride, taps, dtype=torch.float64, generator=generator)
    kernel = InterpolationKernel(branches, draw(st.integers(0, taps - 1)), draw(BORDERS))
    kernel_size = draw(st.integers(1, 40))
    before = draw(st.integers(0, kernel_size - 1))
    padding = before, kernel_size - 1 - before
    flipped = draw(st.booleans())
    return InterpolatedConvolution(kernel, kernel_size, padding, draw(BORDERS), flipped).double()


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


@settings(max_examples=60, deadline=None)
@given(any_convolution(), st.integers(0, 12), st.booleans(), st.integers(1, 3))
def test_every_form_is_the_plain_one(convolution, more, with_bias, batch):
    """Every output sample, and the gradients of input, weight and bias."""
    time, kernel = convolution.least_time + more, convolution.kernel
    inside = time > max(kernel.before, kernel.taps - 1 - kernel.before)
    assume(inside or kernel.border != "reflect")  # it needs as many samples as it reflects
    around = time * kernel.stride > max(convolution.padding)
    assume(around or convolution.padding_mode != "reflect")
    shapes = [(batch, 2, time), (3, 2, convolution.kernel_size), (3,)][: 3 if with_bias else 2]
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    results = {}
    for form in ("plain", "folded", "commuted", "channels_last"):
        y = in_form(form, convolution, inputs[0], inputs[1], inputs[2] if with_bias else None)
        assert y.shape == (batch, 3, convolution.output_length(time))
        weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape).sin()
        results[form] = [y, *torch.autograd.grad((y * weights).sum(), inputs)]
    for form in ("folded", "commuted", "channels_last"):
        torch.testing.assert_close(results[form], results["plain"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("kernel", "low_rate_taps", "has_edges"),
    [
        (nearest_kernel(4), 3, False),
        (stretch_kernel(4), 3, False),
        (linear_kernel(4), 4, True),
        (cubic_kernel(4), 6, True),
        (linear_kernel(4, "zeros"), 4, True),  # its upsampled signal is cut off
    ],
)
def test_the_least_work(kernel, low_rate_taps, has_edges):
    """At stride 4, length 9: 12 multiply-adds for nearest neighbours, 16 for linear, not 36; edges
    of their own only where the interpolation clamps, or does not end with its input."""
    convolution = InterpolatedConvolution(kernel, 9, (4, 4))
    assert convolution.low_rate_taps == low_rate_taps
    assert (convolution.head_frames > 0) == (convolution.tail_frames > 0) == has_edges


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_constants_are_rounded_once(dtype):
    exact = InterpolatedConvolution(sinc_kernel(3), 7, (3, 3)).double().steady
    moved = InterpolatedConvolution(sinc_kernel(3), 7, (3, 3)).bfloat16().to(dtype).steady
    torch.set_default_dtype(dtype)
    built = InterpolatedConvolution(sinc_kernel(3), 7, (3, 3)).steady
    torch.set_default_dtype(torch.float32)
    assert torch.equal(built, moved)
    assert moved.dtype == torch.promote_types(dtype, torch.float32)
    assert torch.equal(moved, exact.to(moved.dtype))


def test_long_batches_are_filtered_in_groups(monkeypatch):
    """The groups that spare a CPU fresh pages give what the whole batch gives."""
    convolution = InterpolatedConvolution(linear_kernel(4), 9, (4, 4))
    x, weight = torch.randn(5, 2, 50), torch.randn(3, 2, 9)
    whole = in_form("folded", convolution, x, weight, None)
    monkeypatch.setattr("asteroid_upsamplers.dsp.polyphase.HEAP_BYTES", 2 * 50 * 12 * 4)
    calls = []
    conv1d = torch.nn.functional.conv1d

    def counted(x, *args, **kwargs):
        calls.append(len(x))
        return conv1d(x, *args, **kwargs)

    monkeypatch.setattr("torch.nn.functional.conv1d", counted)
    torch.testing.assert_close(in_form("folded", convolution, x, weight, None), whole)
    assert calls == [2, 2, 1]
