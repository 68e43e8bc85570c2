"""Layers that run live give what they give offline, however the signal is cut."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asteroid_upsamplers import layers
from asteroid_upsamplers.errors import UsageError

CASES = [
    *((name, {}) for name in layers.available()),
    ("transposed", {"trim": False, "kernel_size": 9}),
    ("transposed", {"tone_free": True, "kernel_size": 7}),
    ("linear", {"padding_mode": "replicate", "kernel_size": 10}),
    ("cubic", {"padding_mode": "reflect", "kernel_size": 21}),
    ("hold", {"order": 3, "kernel_size": 4}),
    ("resample", {"side_kernel_size": 9, "zeros": 3}),
    ("subpixel", {"kernel_size": 6}),
    ("lifting", {"stages": 3, "kernel_size": 2}),
]


def made(name, more, **settings):
    torch.manual_seed(0)
    layer = layers.make(name, 2, 3, stride=4, **more, **settings).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer


@pytest.mark.parametrize(("name", "more"), CASES, ids=str)
@pytest.mark.parametrize("folded", [False, True])
def test_any_split_gives_the_offline_output(name, more, folded):
    layer = made(name, more)
    live = layers.stream(layers.fold_for_inference(layer) if folded else layer)

    @settings(max_examples=12, deadline=None)
    @given(st.lists(st.integers(0, 40), min_size=1, max_size=8))
    def check(chunks):
        frames = sum(chunks) + 8  # as many as the longest reflection needs
        x = torch.randn(2, 2, frames).double()
        live.reset()
        parts, received = [], 0
        for chunk in x.split([*chunks, 8], -1):
            parts.append(live.push(chunk))
            received += chunk.shape[-1]
            given_out = sum(part.shape[-1] for part in parts)
            if received >= 8:
                assert given_out == max(0, received * 4 - live.latency)
        parts.append(live.flush())
        torch.testing.assert_close(torch.cat(parts, -1), layer(x), rtol=0, atol=1e-8)

    check()


@pytest.mark.parametrize("name", ["transposed", "linear", "resample"])
def test_the_latency_is_no_longer_than_it_must_be(name):
    """The first sample that is held back depends on the frames to come."""
    layer, x = made(name, {}), torch.randn(1, 2, 60).double()
    first = 50 * 4 - layers.stream(layer).latency
    before, after = layer(x[..., :50]), layer(x)
    torch.testing.assert_close(before[..., :first], after[..., :first], rtol=0, atol=1e-9)
    assert (before[..., first] - after[..., first]).abs().max() > 1e-9


def test_a_state_can_be_kept_and_gone_back_to():
    layer, x = made("linear", {}), torch.randn(2, 30).double()
    live = layers.stream(layer)
    start = live.push(x[:, :11])
    kept = live.state
    once = torch.cat([live.push(x[:, 11:]), live.flush()], -1)
    live.state = kept
    again = torch.cat([live.push(x[:, 11:20]), live.push(x[:, 20:]), live.flush()], -1)
    torch.testing.assert_close(once, again)
    torch.testing.assert_close(torch.cat([start, once], -1), layer(x))


def test_what_a_stream_refuses():
    live = layers.stream(layers.Linear(2, 3, stride=4))
    assert live.push(torch.zeros(1, 2, 0)).shape == (1, 3, 0)
    for chunk, words in (
        (torch.zeros(1, 3, 5), r"in_channels=2, frames\).* not \(1, 3, 5\)"),
        (torch.zeros(2, 2, 5), r"chunk of \(2, 2, frames\), after chunks of \(1, 2, frames\)"),
        (torch.zeros(2, 5), r"chunk of \(2, frames\), after chunks of \(1, 2, frames\)"),
        (torch.zeros(1, 2, 5).double(), "chunk of torch.float64 on cpu, but the weights are"),
        (torch.zeros(1, 2, 5, device="meta"), "on meta, but the weights are torch.float32 on cpu"),
    ):
        with pytest.raises(UsageError, match=words):
            live.push(chunk)
    with pytest.raises(UsageError, match="got no frames"):
        live.flush()
    live.push(torch.zeros(1, 2, 1))
    assert live.flush().shape == (1, 3, 4)
    with pytest.raises(UsageError, match="flushed already"):
        live.flush()
    with pytest.raises(UsageError, match=r"after flush\(\): reset\(\) begins"):
        live.push(torch.zeros(1, 2, 1))
    with pytest.raises(UsageError, match="needs an upsampler, not Conv1d"):
        layers.stream(torch.nn.Conv1d(2, 3, 3))
