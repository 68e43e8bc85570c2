"""Networks that run live give what they give offline, however the signal is cut."""

import pytest
import torch
from asteroid_filterbanks.free_fb import FreeFB
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from asteroid_upsamplers import layers, separation
from asteroid_upsamplers.blocks import UpsamplerDecoder
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models import (
    DemucsLike,
    MelGANGenerator,
    MusicConvTasNet,
    OpenUnmix,
    UpsamplerConvTasNet,
    WaveUNet,
)

RATE = 8000
TINY_MASKER = {"n_blocks": 2, "n_repeats": 1, "bn_chan": 4, "hid_chan": 4, "skip_chan": 4}


def melgan(upsampler="transposed"):
    return MelGANGenerator(upsampler, n_mels=3, channels=2, strides=[4, 2])


def demucs_without_lstm():
    model = DemucsLike(channels=6, depth=2, upsampler="linear")
    return nn.Sequential(*model.encoder, *model.decoder)


def odd_strides():
    return nn.Sequential(
        nn.Conv1d(2, 4, 5, stride=3, padding=4, padding_mode="replicate"),
        nn.ELU(),
        nn.AvgPool1d(2),
        layers.Nearest(4, 3, stride=4),
        nn.Conv1d(3, 1, 3, dilation=2),
    )


NETWORKS = {
    "decoder": lambda: UpsamplerDecoder(FreeFB(6, 12, stride=4), padding=3),
    "decoder, linear": lambda: UpsamplerDecoder(FreeFB(6, 12, stride=4), upsampler="linear"),
    "MelGAN": melgan,
    "MelGAN, linear": lambda: melgan("linear"),
    "encoder and decoder of DemucsLike": demucs_without_lstm,
    "odd strides": odd_strides,
    "WaveUNet": lambda: WaveUNet(depth=2, channels=2, kernel_size=5, up_kernel_size=3),
    "Conv-TasNet": lambda: UpsamplerConvTasNet(
        2, n_filters=8, kernel_size=8, stride=4, norm_type="cLN", upsampler="cubic", **TINY_MASKER
    ),
    "Conv-TasNet for music": lambda: MusicConvTasNet(
        n_filters=4, kernel_size=6, stride=3, norm_type="bN", **TINY_MASKER
    ),
}


def offline(model, x):
    """A Wave-U-Net is run as on a file: with the zeros before it that its first samples need."""
    if not isinstance(model, WaveUNet):
        return model(x)
    padded = nn.functional.pad(x, model.needed_context(x.shape[-1]))
    return model.forward_with_context(padded)[..., : x.shape[-1]]


@pytest.mark.parametrize("name", NETWORKS)
def test_any_split_gives_the_offline_output(name):
    torch.manual_seed(0)
    model = NETWORKS[name]().double().eval()
    live = separation.stream(model)
    reach = live._reach

    @settings(max_examples=10, deadline=None)
    @given(st.lists(st.integers(0, 70), min_size=1, max_size=8))
    def check(chunks):
        x = torch.randn(2, live.in_channels, sum(chunks) + 40).double()
        live.reset()
        parts, received, given_out = [], 0, 0
        for chunk in x.split([*chunks, 40], -1):
            parts.append(live.push(chunk))
            received += chunk.shape[-1]
            given_out += parts[-1].shape[-1]
            lag = received * reach.samples / reach.frames - given_out
            assert lag <= live.latency or not given_out
        y, whole = torch.cat([*parts, live.flush()], -1), offline(model, x).detach()
        heard = (whole[0] - whole[1]).abs().max()
        assert heard > 0
        torch.testing.assert_close(y, whole, rtol=0, atol=1e-7 * float(heard))

    check()


@pytest.mark.parametrize("name", ["decoder", "MelGAN", "encoder and decoder of DemucsLike"])
def test_the_latency_is_no_longer_than_it_must_be(name):
    """The first sample that is held back depends on the frames to come."""
    torch.manual_seed(0)
    model = NETWORKS[name]().double().eval()
    live = separation.stream(model)
    x = torch.randn(64, live.in_channels, 320).double()
    first = live.push(x[..., :160]).shape[-1]
    before, after = model(x[..., :160]), model(x)
    torch.testing.assert_close(before[..., :first], after[..., :first], rtol=0, atol=1e-9)
    assert (before[..., first] - after[..., first]).abs().max() > 0
    waits = live._reach.samples * (live._reach.frames - 1) // live._reach.frames
    assert live.latency == 160 * live._reach.samples // live._reach.frames - first + waits


def test_a_state_can_be_kept_and_gone_back_to():
    torch.manual_seed(0)
    model, x = melgan().eval(), torch.randn(3, 60)
    live = separation.stream(model)
    start = live.push(x[:, :31])
    kept = live.state
    once = torch.cat([live.push(x[:, 31:]), live.flush()], -1)
    live.state = kept
    again = torch.cat([live.push(x[:, 31:40]), live.push(x[:, 40:]), live.flush()], -1)
    torch.testing.assert_close(once, again)
    torch.testing.assert_close(torch.cat([start, once], -1), model(x[None])[0].detach())


class Mean(nn.Module):
    """Less its mean over the whole signal."""

    in_channels = 1

    def forward(self, x):
        return x - x.mean(-1, keepdim=True)


class Late(nn.Module):
    """Its first sample is that in the middle of the padding."""

    in_channels = 1

    def forward(self, x):
        missing = -x.shape[-1] % 8
        x = nn.functional.pad(x, (missing // 2, missing - missing // 2))
        return nn.functional.avg_pool1d(x, 8)


class Twice(nn.Module):
    in_channels = 1

    def forward(self, x):
        return x, x


REFUSED = {
    r"DemucsLike cannot run live: lstm\.lstm \(LSTM\) hears the whole signal": lambda: DemucsLike(
        channels=2, depth=2
    ),
    r"OpenUnmix cannot run live: .*\(LSTM\) hears": lambda: OpenUnmix(sources=["a"], hidden_size=8),
    r"MusicConvTasNet cannot run live: .*\(GlobLN\) hears": lambda: MusicConvTasNet(
        n_filters=4, **TINY_MASKER
    ),
    "Conv1d cannot run live: its samples depend on": lambda: nn.Conv1d(
        1, 1, 3, padding=1, padding_mode="circular"
    ),
    "Mean cannot run live: its samples depend on the whole": Mean,
    "Late cannot run live: how it places or scales its output": Late,
    "Twice: a stream needs a network that gives a signal": Twice,
    "ReLU: its input channels are not known": nn.ReLU,
    "Conv2d cannot run live: it takes no input of 1 channels": lambda: nn.Conv2d(1, 1, 3),
    "WaveUNet: normalize=True divides by the level": lambda: WaveUNet(depth=1, normalize=True),
}


@pytest.mark.parametrize("words", REFUSED)
def test_networks_without_a_finite_reach_are_refused(words):
    with pytest.raises(UsageError, match=words):
        separation.stream(REFUSED[words]())


def test_what_a_stream_refuses():
    live = separation.stream(melgan())
    assert live.push(torch.zeros(1, 3, 0)).shape == (1, 1, 0)
    with pytest.raises(UsageError, match=r"in_channels=3, frames\).* not \(1, 2, 5\)"):
        live.push(torch.zeros(1, 2, 5))
    with pytest.raises(UsageError, match="chunk of torch.float64 on cpu, but the weights are"):
        live.push(torch.zeros(1, 3, 5).double())
    live.push(torch.zeros(1, 3, 2))
    with pytest.raises(UsageError, match="has got 2 frames, the network needs at least 4"):
        live.flush()
    live.push(torch.zeros(1, 3, 2))
    assert live.flush().shape == (1, 1, 32)
    with pytest.raises(UsageError, match=r"after flush\(\): reset\(\) begins"):
        live.push(torch.zeros(1, 3, 1))
