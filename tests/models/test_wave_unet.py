"""``WaveUNet``: a second implementation, and the sizes and lengths of the paper."""

import pytest
import torch
from torch.nn import functional as F

from asteroid_upsamplers import layers
from asteroid_upsamplers.models import WaveUNet

SMALL = {"depth": 2, "channels": 4}
VOICE = ("accompaniment", "vocals")


def test_published_sizes():
    """M6; M4 has one output of two channels fewer than three; M5 one weight a channel more."""

    def count(**settings):
        with torch.device("meta"):
            return sum(p.numel() for p in WaveUNet(**settings).parameters())

    assert count() == 10_263_498
    assert count(sources=VOICE) == 10_263_498 - 2 * 54
    weights = sum(24 * level for level in range(2, 14))
    assert count(sources=VOICE, upsampler="learned") == count(sources=VOICE) + weights


def test_published_lengths():
    """[2]: 147,443 samples in and 16,389 out with context; 16,384 of each without."""
    with torch.device("meta"):
        model = WaveUNet()
        assert model.valid_length(16384) == 147_443 == 16_389 + model.margin
        assert WaveUNet(context=False).valid_length(16384) == 16_384


@pytest.mark.parametrize(("depth", "down", "up"), [(1, 1, 1), (2, 3, 1), (3, 15, 5), (4, 5, 9)])
def test_valid_length_is_the_least_that_every_level_fits(depth, down, up):
    """The bottom frames by trial, then one level after the other."""

    def given(frames):
        for _ in range(depth):
            frames = 2 * frames - 1 - (up - 1)
            if frames < 1:
                return 0
        return frames

    model = WaveUNet(depth=depth, channels=1, kernel_size=down, up_kernel_size=up)
    for time in (1, 6, 7, 1000):
        frames = 1
        while given(frames) < time:
            frames += 1
        length = frames + down - 1
        for _ in range(depth):
            length = 2 * length - 1 + down - 1
        assert model.valid_length(time) == length
        assert model.margin == length - given(frames)
        before, after = model.needed_context(time)
        assert before + time + after == length
        assert before == model.margin / 2
        with torch.no_grad():
            y = model.forward_with_context(torch.zeros(1, 2, length))
        assert y.shape == (1, 4, 2, given(frames))
        with pytest.raises(ValueError, match=f"{length + 1} samples do not fit .*, [0-9]+ would"):
            model.forward_with_context(torch.zeros(1, 2, length + 1))


def plain_wave_unet(model, mixture, context):
    """[2] Sec. 3, from a model's weights: sample by sample where samples are moved."""

    def convolve(x, layer):
        reach = 0 if context else (layer.weight.shape[2] - 1) // 2
        return F.conv1d(F.pad(x, (reach, reach)), layer.weight, layer.bias)

    def leaky(x):
        return torch.maximum(0.2 * x, x)

    def cropped(x, length):
        cut = x.shape[2] - length
        assert cut >= 0 and cut % 2 == 0
        return x[:, :, cut // 2 : x.shape[2] - cut // 2]

    def doubled(x, upsampler):
        share = torch.full((x.shape[1],), 0.5).to(x)
        if upsampler.logits is not None:
            share = 1 / (1 + torch.exp(-upsampler.logits))
        samples = []
        for t in range(x.shape[2]):
            samples.append(x[:, :, t])
            if t + 1 < x.shape[2]:
                samples.append(share * x[:, :, t] + (1 - share) * x[:, :, t + 1])
            elif not context:
                samples.append(x[:, :, t])
        return torch.stack(samples, 2)

    x, skips = mixture, []
    for layer in model.encoder:
        x = leaky(convolve(x, layer))
        skips.append(x)
        x = torch.stack([x[:, :, t] for t in range(x.shape[2]) if t % 2 == 0], 2)
    x = leaky(convolve(x, model.bottom))
    for level in range(len(model.decoder)):
        x = doubled(x, model.upsamplers[level])
        x = torch.cat([cropped(skips[-1 - level], x.shape[2]), x], 1)
        x = leaky(convolve(x, model.decoder[level]))
    mixture = cropped(mixture, x.shape[2])
    x = torch.cat([mixture, x], 1)
    sources = [torch.tanh(convolve(x, layer)) for layer in model.outputs]
    if model.difference_output:
        sources.append(mixture - sum(sources))
    return torch.stack(sources, 1)


@pytest.mark.parametrize(
    ("upsampler", "context", "difference_output", "depth"),
    [
        ("linear", False, False, 3),
        ("learned", False, True, 3),
        ("linear", True, True, 3),
        ("learned", True, False, 3),
        ("learned", True, True, 12),  # M5 at its depth
    ],
)
def test_is_the_plain_implementation(upsampler, context, difference_output, depth):
    torch.manual_seed(0)
    settings = {"depth": depth, "context": context, "difference_output": difference_output}
    model = WaveUNet(VOICE, upsampler, channels=2, **settings).double()
    if depth < 12:
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(1, 2, model.valid_length(1 if depth == 12 else 300)).double()
    with torch.no_grad():
        expected = plain_wave_unet(model, x, context)
        y = model.forward_with_context(x)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-6)


@torch.no_grad()
def test_linear_is_the_align_corners_interpolation():
    upsample = WaveUNet(depth=1, channels=4).upsamplers[0]
    learned = WaveUNet(depth=1, channels=4, upsampler="learned").upsamplers[0].double()
    for time in (1, 2, 33):
        x = torch.randn(2, 8, time).double()
        expected = F.interpolate(x, size=2 * time - 1, mode="linear", align_corners=True)
        torch.testing.assert_close(upsample(x)[..., :-1], expected)
        assert torch.equal(upsample(x)[..., -1], x[..., -1])
        torch.testing.assert_close(learned(x), upsample(x))


@pytest.mark.parametrize("context", [False, True])
@torch.no_grad()
def test_sources_add_up_and_forward_is_the_middle_with_zeros_around(context):
    torch.manual_seed(0)
    model = WaveUNet(context=context, **SMALL).double()
    x = 3 * torch.randn(2, 2, 501).double()
    y = model(x)
    torch.testing.assert_close(y.sum(1), x, rtol=0, atol=1e-12)
    assert y[:, :-1].abs().amax() < 1
    missing = model.valid_length(501) - 501
    padded = F.pad(x, (missing // 2, missing - missing // 2))
    start = missing // 2 - model.margin // 2
    assert torch.equal(y, model.forward_with_context(padded)[..., start : start + 501])


@torch.no_grad()
def test_context_is_what_the_neighbours_are():
    """A segment with its context gives what the whole signal gives there, to its very ends."""
    torch.manual_seed(0)
    model = WaveUNet(upsampler="learned", depth=3, channels=4).double()
    whole, length = model.valid_length(2000), model.valid_length(400)
    x = torch.randn(1, 2, whole).double()
    expected = model.forward_with_context(x)
    for start in range(0, whole - length, 2**3 * 50):
        y = model.forward_with_context(x[..., start : start + length])
        assert y.shape[-1] == length - model.margin
        torch.testing.assert_close(y, expected[..., start : start + y.shape[-1]])


@pytest.mark.parametrize("name", layers.available())
@torch.no_grad()
def test_sample_2t_is_that_of_frame_t(name):
    """An impulse is heard around twice its frame, or between that sample and the next."""
    upsample = WaveUNet(upsampler=name, depth=1, channels=1).upsamplers[0].double()
    frames = torch.zeros(1, 2, 201).double()
    silence = upsample(frames)
    frames[..., 100] = 1
    heard = (upsample(frames) - silence).abs().amax((0, 1)).gt(1e-12).nonzero().flatten()
    middle = (heard[0] + heard[-1]).item() / 2
    staying = ("hold", "learned", "linear", "resample", "sinc", "stretch")
    assert middle == (200 if name in staying else 200.5)


def test_weights_start_as_glorots():
    torch.manual_seed(0)
    model = WaveUNet(depth=4)
    for layer in [*model.encoder, model.bottom, *model.decoder]:
        fan = (layer.in_channels + layer.out_channels) * layer.kernel_size[0]
        assert float(layer.weight.std()) == pytest.approx((2 / fan) ** 0.5, rel=0.1)
        assert not layer.bias.any()
