"""``WaveUNet``: the battery, a second implementation, and the sizes and lengths of the paper."""

import math

import pytest
import torch
from torch.nn import functional as F

from asteroid_upsamplers import layers
from asteroid_upsamplers.models import WaveUNet
from tests import contracts

SMALL = {"depth": 2, "channels": 4}
VOICE = ("accompaniment", "vocals")

variants = pytest.mark.parametrize(
    ("upsampler", "context"),
    [(name, context) for name in layers.available() for context in (False, True)],
)


@variants
def test_round_trip(upsampler, context):
    contracts.model_round_trip(WaveUNet(upsampler=upsampler, context=context, **SMALL))


@variants
def test_any_length(upsampler, context):
    model = WaveUNet(upsampler=upsampler, context=context, **SMALL)
    contracts.model_keeps_length(model, [1, 2, 3, 4, 5, 7, 100, 1000])


@variants
def test_learns(upsampler, context):
    torch.manual_seed(1)
    contracts.model_learns(WaveUNet(upsampler=upsampler, context=context, **SMALL))


def count(**settings):
    with torch.device("meta"):
        return sum(p.numel() for p in WaveUNet(**settings).parameters())


def test_published_sizes():
    """M6; M4 has one output of two channels fewer than three; M5 one weight a channel more."""
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


@pytest.mark.parametrize("time", [1, 2, 5, 6, 7, 64, 1000])
@pytest.mark.parametrize(("depth", "down", "up"), [(1, 1, 1), (2, 3, 1), (3, 15, 5), (4, 5, 9)])
def test_valid_length_is_the_least_that_every_level_fits(time, depth, down, up):
    """The bottom frames by trial, then one level after the other."""

    def given(frames):
        for _ in range(depth):
            frames = 2 * frames - 1 - (up - 1)
            if frames < 1:
                return 0
        return frames

    frames = 1
    while given(frames) < time:
        frames += 1
    length = frames + down - 1
    for _ in range(depth):
        length = 2 * length - 1 + down - 1
    model = WaveUNet(depth=depth, channels=1, kernel_size=down, up_kernel_size=up)
    assert model.valid_length(time) == length
    assert model.margin == length - given(frames)
    with torch.no_grad():
        y = model.forward_with_context(torch.zeros(1, 2, length))
    assert y.shape == (1, 4, 2, given(frames))


@pytest.mark.parametrize("time", [1, 7, 100])
@pytest.mark.parametrize("context", [False, True])
def test_needed_context_is_a_valid_length(time, context):
    """Half of the margin is before the first sample asked for, and the rest is enough."""
    model = WaveUNet(depth=3, channels=1, context=context)
    before, after = model.needed_context(time)
    assert before + time + after == model.valid_length(time)
    assert before == model.margin / 2
    x = torch.randn(1, 2, before + time + after)
    with torch.no_grad():
        y = model.forward_with_context(x)
        assert y.shape[-1] >= time
        if context:
            heard = x[..., before : before + y.shape[-1]]
            torch.testing.assert_close(y.sum(1), heard)


def plain_wave_unet(model, mixture, context):
    """[2] Sec. 3, from a model's weights: sample by sample where samples are moved."""

    def convolve(x, layer):
        weight, bias = layer.weight, layer.bias
        reach = 0 if context else (weight.shape[2] - 1) // 2
        return F.conv1d(F.pad(x, (reach, reach)), weight, bias)

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


@pytest.mark.parametrize("context", [False, True])
@pytest.mark.parametrize("difference_output", [False, True])
@pytest.mark.parametrize("upsampler", ["linear", "learned"])
@pytest.mark.parametrize("sources", [VOICE, ("drums", "bass", "other", "vocals")])
def test_is_the_plain_implementation(sources, upsampler, difference_output, context):
    torch.manual_seed(0)
    settings = {"context": context, "difference_output": difference_output}
    model = WaveUNet(sources, upsampler, depth=3, channels=4, **settings).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 2, model.valid_length(300)).double()
    with torch.no_grad():
        expected = plain_wave_unet(model, x, context)
        y = model.forward_with_context(x)
    assert expected.std() > 0.1
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("sources", "upsampler"), [(None, "linear"), (VOICE, "learned")])
def test_m6_and_m5_are_the_plain_implementation(sources, upsampler):
    """At their published depth and lengths of filters, with fewer of them."""
    torch.manual_seed(0)
    names = {} if sources is None else {"sources": sources}
    model = WaveUNet(upsampler=upsampler, channels=2, **names).double()
    x = torch.randn(1, 2, model.valid_length(1)).double()
    with torch.no_grad():
        expected = plain_wave_unet(model, x, context=True)
        torch.testing.assert_close(model.forward_with_context(x), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("time", [1, 2, 30, 31, 32, 33])
def test_linear_is_the_align_corners_interpolation(time):
    x = torch.randn(2, 8, time).double()
    upsample = WaveUNet(depth=1, channels=4).upsamplers[0]
    expected = F.interpolate(x, size=2 * time - 1, mode="linear", align_corners=True)
    torch.testing.assert_close(upsample(x)[..., :-1], expected)
    assert torch.equal(upsample(x)[..., -1], x[..., -1])
    learned = WaveUNet(depth=1, channels=4, upsampler="learned").upsamplers[0].double()
    torch.testing.assert_close(learned(x), upsample(x))


@variants
def test_sources_add_up_to_the_mixture(upsampler, context):
    torch.manual_seed(0)
    model = WaveUNet(upsampler=upsampler, context=context, **SMALL).double()
    x = 3 * torch.randn(2, 2, 501).double()
    with torch.no_grad():
        y = model(x)
        torch.testing.assert_close(y.sum(1), x, rtol=0, atol=1e-12)
        assert y[:, :-1].abs().amax() < 1
        direct = WaveUNet(upsampler=upsampler, difference_output=False, **SMALL).double()(x)
    assert direct.abs().amax() < 1
    assert (direct.sum(1) - x).abs().amax() > 0.1


@variants
def test_later_by_a_bottom_frame(upsampler, context):
    """What the levels decimate falls on the same samples again; the ends see other neighbours."""
    torch.manual_seed(0)
    later = 2 ** SMALL["depth"]
    model = WaveUNet(upsampler=upsampler, context=context, **SMALL).double()
    x = torch.randn(1, 2, 2000).double()
    with torch.no_grad():
        y, shifted = model(x), model(F.pad(x, (later, -later)))
    torch.testing.assert_close(shifted[..., 700 + later : 1300 + later], y[..., 700:1300])
    assert (shifted[..., 701:1300] - y[..., 700:1299]).abs().amax() > 1e-3


@pytest.mark.parametrize("upsampler", ["linear", "learned"])
def test_context_is_what_the_neighbours_are(upsampler):
    """An excerpt with its context gives what the whole signal gives there, to its very ends."""
    torch.manual_seed(0)
    model = WaveUNet(upsampler=upsampler, depth=3, channels=4).double()
    whole, length = model.valid_length(3000), model.valid_length(400)
    x = torch.randn(1, 2, whole).double()
    with torch.no_grad():
        expected = model.forward_with_context(x)
        for start in range(0, whole - length, 2**3 * 50):
            y = model.forward_with_context(x[..., start : start + length])
            assert y.shape[-1] == length - model.margin
            torch.testing.assert_close(y, expected[..., start : start + y.shape[-1]])


@pytest.mark.parametrize("context", [False, True])
def test_forward_is_the_middle_with_zeros_around(context):
    torch.manual_seed(0)
    model = WaveUNet(context=context, **SMALL)
    x = torch.randn(1, 2, 501)
    missing = model.valid_length(501) - 501
    padded = F.pad(x, (missing // 2, missing - missing // 2))
    with torch.no_grad():
        y = model.forward_with_context(padded)
        start = missing // 2 - model.margin // 2
        assert torch.equal(model(x), y[..., start : start + 501])


@pytest.mark.parametrize("name", layers.available())
def test_sample_2t_is_that_of_frame_t(name):
    """An impulse is heard around twice its frame, or between that sample and the next."""
    upsample = WaveUNet(upsampler=name, depth=1, channels=1).upsamplers[0].double()
    frames = torch.zeros(1, 2, 201).double()
    with torch.no_grad():
        silence = upsample(frames)
        frames[..., 100] = 1
        heard = (upsample(frames) - silence).abs().amax((0, 1)).gt(1e-12).nonzero().flatten()
    middle = (heard[0] + heard[-1]).item() / 2
    on_the_sample = ("learned", "linear", "sinc", "stretch")
    assert middle == (200 if name in on_the_sample else 200.5)


def test_weights_start_as_glorots():
    torch.manual_seed(0)
    model = WaveUNet(depth=4)
    for layer in [*model.encoder, model.bottom, *model.decoder]:
        fan = (layer.in_channels + layer.out_channels) * layer.kernel_size[0]
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan), rel=0.1)
        assert torch.count_nonzero(layer.bias) == 0


@pytest.mark.parametrize("context", [False, True])
@pytest.mark.parametrize("audio_channels", [1, 2])
@pytest.mark.parametrize("sources", [VOICE, ("a", "b", "c")])
def test_other_sources_and_channels(audio_channels, sources, context):
    settings = {"sources": sources, "audio_channels": audio_channels, "context": context}
    model = WaveUNet(sample_rate=44100, **settings, **SMALL)
    assert model.sample_rate == 44100
    assert model(torch.zeros(3, audio_channels, 50)).shape == (3, len(sources), audio_channels, 50)


@pytest.mark.parametrize(
    ("upsampler", "options"),
    [
        ("transposed", {"kernel_size": 8, "tone_free": True}),
        ("subpixel", {"init": "icnr"}),
        ("sinc", {"zeros": 4, "bias": False}),
        (layers.Nearest, {"kernel_size": 4, "form": "plain"}),
    ],
    ids=str,
)
def test_options_of_the_upsampler(upsampler, options):
    model = WaveUNet(upsampler=upsampler, upsampler_kwargs=options, **SMALL)
    contracts.model_round_trip(model)
    contracts.model_keeps_length(model, [1, 100])
    for layer in model.upsamplers:
        assert options.items() <= layer.get_config().items()


def test_separate_brings_the_level_back():
    model = WaveUNet(normalize=True, **SMALL).eval()
    x = torch.randn(2, 1000)
    torch.testing.assert_close(model.separate(10 * x), 10 * model.separate(x))
    assert torch.isfinite(model.separate(0 * x)).all()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"sources": ("vocals",)}, r"sources is \['vocals'\], allowed is two names"),
        ({"upsampler": "neerest"}, "did you mean nearest"),
        ({"depth": 0}, "depth is 0, allowed is 1"),
        ({"channels": 0}, "channels is 0, allowed is 1"),
        ({"audio_channels": -1}, "audio_channels is -1, allowed is 1"),
        ({"kernel_size": 14}, "kernel_size is 14, allowed is an odd number"),
        ({"up_kernel_size": -1}, "up_kernel_size is -1, allowed is an odd number"),
        ({"upsampler_kwargs": {"kernel_size": 9}}, "upsampler_kwargs of linear: .*allowed is none"),
        (
            {"upsampler": "learned", "upsampler_kwargs": {"bias": False}},
            "upsampler_kwargs of learned: .*allowed is none",
        ),
        (
            {"upsampler": "transposed", "upsampler_kwargs": {"size": 3}},
            "upsampler_kwargs of transposed: .*size",
        ),
        (
            {"upsampler": "transposed", "upsampler_kwargs": {"kernel_size": 6, "trim": False}},
            "upsampler_kwargs of transposed: .*give 8 samples for 2, allowed",
        ),
        (
            {"upsampler": "nearest", "upsampler_kwargs": {"kernel_size": 0}},
            "kernel_size is 0, allowed",
        ),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message) as caught:
        WaveUNet(**{**SMALL, **setting})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(2, 100), (1, 1, 100), (1, 2, 0), (1, 1, 2, 100)])
@pytest.mark.parametrize("method", ["forward", "forward_with_context"])
def test_wrong_input_is_refused(shape, method):
    with pytest.raises(ValueError, match="is needed"):
        getattr(WaveUNet(**SMALL), method)(torch.zeros(shape))


@pytest.mark.parametrize("context", [False, True])
def test_input_of_no_valid_length_is_refused(context):
    model = WaveUNet(context=context, **SMALL)
    fitting = model.valid_length(9)
    for time in (1, fitting - 1, fitting + 1):
        with pytest.raises(ValueError, match=f"{time} samples do not fit the levels, [0-9]+ do"):
            model.forward_with_context(torch.zeros(1, 2, time))
