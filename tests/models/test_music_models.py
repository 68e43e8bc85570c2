"""Laws of the models for music: each once as it comes, each upsampler once in one of them."""

import numpy as np
import pytest
import torch

from asteroid_upsamplers import layers, models
from asteroid_upsamplers.errors import UsageError
from tests.models import laws

SPECTRAL = {"hidden_size": 8, "n_layers": 1, "n_fft": 512, "hop_length": 128, "max_bin": 200}
FRAMES = {"n_filters": 12, "kernel_size": 8, "stride": 4, "n_blocks": 2, "n_repeats": 1}
SLICES = {"n_fft": 256, "hop_length": 64, "channels": 4, "n_heads": 2, "n_blocks": 2}
SMALL = {
    "DemucsLike": {"channels": 4, "depth": 3},
    "WaveUNet": {"channels": 4, "depth": 2},
    "SamsNet": {**SLICES, "slice_frames": 8},
    "MusicConvTasNet": {**FRAMES, "bn_chan": 8, "hid_chan": 8},
    "OpenUnmix": SPECTRAL,
    "CrossNetOpenUnmix": SPECTRAL,
}
CASES = [(name, {}) for name in SMALL]
CASES += [("DemucsLike", {"upsampler": name}) for name in layers.available()]
CASES += [
    ("DemucsLike", {"modified": True, "resample": True, "kernel_size": 7, "stride": 2}),
    ("DemucsLike", {"upsampler": "linear", "upsampler_kwargs": {"padding_mode": "replicate"}}),
    ("DemucsLike", {"encoder_hold": 0, "kernel_size": 7, "stride": 2}),
    ("WaveUNet", {"upsampler": "learned", "context": False}),
    ("WaveUNet", {"upsampler": layers.Sinc, "upsampler_kwargs": {"zeros": 4, "bias": False}}),
    ("SamsNet", {"upsampler": "nearest"}),
    ("MusicConvTasNet", {"upsampler": "linear", "joint": False}),
    *[(name, {"sources": ("a", "b"), "audio_channels": 1}) for name in SMALL],
]


def small(name, **more):
    torch.manual_seed(1)
    return getattr(models, name)(**{**SMALL[name], **more})


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_laws(name, settings):
    model = small(name, **settings)
    laws.learns(model)
    laws.keeps_length(model, (1, 2, 63, 500, 1001))
    laws.round_trip(model, torch.randn(1, model.in_channels, 500))


@pytest.mark.parametrize("name", SMALL)
def test_wrong_input_is_refused(name):
    for shape in ((2, 100), (1, 1, 100), (1, 2, 0), (1, 1, 2, 100)):
        with pytest.raises(ValueError, match=r"must be \(batch, 2, time\)"):
            small(name)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        *[(name, {"sources": ()}, "sources is .*at least one name") for name in SMALL],
        *[(name, {"audio_channels": 0}, "audio_channels must be") for name in SMALL],
        *[
            (name, {"sorces": ("a",)}, f"{name}: .*'sorces': did you mean sources")
            for name in SMALL
        ],
        ("DemucsLike", {"sample_rate": 0}, "sample_rate is 0, must be a number above 0"),
        (
            "DemucsLike",
            {"channels": 0},
            "DemucsLike: channels must be an integer of at least 1, not 0",
        ),
        ("DemucsLike", {"encoder_hold": -1}, "encoder_hold must be an integer of at least 0"),
        ("DemucsLike", {"depth": 1.5}, "depth must be an integer of at least 1, not 1.5"),
        ("DemucsLike", {"kernel_size": 3}, "kernel_size must be an integer of at least 4, not 3"),
        (
            "DemucsLike",
            {"encoder_context": -1},
            "encoder_context must be an integer of at least 0, not -1",
        ),
        ("DemucsLike", {"upsampler": "neerest"}, "did you mean nearest"),
        ("DemucsLike", {"upsampler_kwargs": {"kernel": 9}}, "did you mean kernel_size"),
        ("DemucsLike", {"upsampler_kwargs": {"kernel_size": 12}}, "kernel_size must be at most 8"),
        (
            "WaveUNet",
            {"sources": ("vocals",)},
            r"len\(sources\) must be an integer of at least 2, not 1",
        ),
        ("WaveUNet", {"kernel_size": 14}, "kernel_size is 14, must be odd"),
        (
            "WaveUNet",
            {"up_kernel_size": -1},
            "up_kernel_size must be an integer of at least 1, not -1",
        ),
        ("WaveUNet", {"upsampler_kwargs": {"bias": False}}, "must be empty for linear"),
        (
            "WaveUNet",
            {"upsampler": "transposed", "upsampler_kwargs": {"kernel_size": 6, "trim": False}},
            "must give 4 samples for 2, not 8",
        ),
        ("SamsNet", {"upsampler_kwargs": {"trim": False}}, "its settings must give 4"),
        ("SamsNet", {"n_heads": 5}, r"n_heads is 5, must divide 4 \* channels \(16\)"),
        ("SamsNet", {"n_fft": 4095}, "n_fft is 4095, must be even"),
        ("SamsNet", {"hop_length": 129}, r"hop_length is 129, must be at most half .* \(128\)"),
        (
            "MusicConvTasNet",
            {"kernel_size": 3},
            "kernel_size must be an integer of at least 4, not 3",
        ),
        ("OpenUnmix", {"audio_channels": 3}, "audio_channels is 3, must be 1 or 2"),
        ("OpenUnmix", {"hidden_size": 7}, "hidden_size is 7, must be even"),
        (
            "OpenUnmix",
            {"wiener_iterations": -1},
            "wiener_iterations must be an integer of at least 0, not -1",
        ),
        ("CrossNetOpenUnmix", {"max_bin": 300}, "max_bin is 300, must be at most 257"),
        ("CrossNetOpenUnmix", {"hop_length": 400}, "hop_length is 400, must be at most half"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(name, settings, words):
    laws.refuses(lambda **more: small(name, **more), settings, words)


def test_separate_is_the_network_with_all_channels():
    model = small("DemucsLike").eval()
    x = torch.randn(1, 2, 1000)
    with torch.no_grad():
        expected = model(x)
    assert torch.equal(model.separate(x), expected)
    assert torch.equal(model.separate(x[0]), expected[0])
    np.testing.assert_array_equal(model.separate(x.numpy()), expected.numpy())
    doubles = model.separate(x.double().numpy())
    assert doubles.dtype == np.float64
    np.testing.assert_allclose(doubles, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("wav", "settings", "words"),
    [
        (torch.zeros(1, 1, 1000), {}, r"\(1, 1, 1000\)"),
        (torch.zeros(1000, 2), {}, r"\(1000, 2\)"),
        (torch.zeros(1000), {}, r"\(1000,\)"),
        (torch.zeros(2, 0), {}, "no samples"),
        (torch.zeros(2, 1000, dtype=torch.int16), {}, "torch.int16: must be real numbers"),
        (torch.full((2, 1000), torch.nan), {}, "the audio holds NaN"),
        (torch.zeros(2, 1000), {"shifts": -1}, "shifts is -1, must be an integer of at least 0"),
        (torch.zeros(2, 1000), {"shifts": 1.5}, "shifts is 1.5, must be an integer"),
    ],
)
def test_audio_that_cannot_be_separated_is_refused(wav, settings, words):
    with pytest.raises(UsageError, match=words):
        small("DemucsLike").separate(wav, **settings)


def test_a_network_that_gives_nan_is_named():
    model = small("DemucsLike")
    next(model.parameters()).data.fill_(torch.nan)
    with pytest.raises(UsageError, match="the model gives NaN or infinite samples"):
        model.separate(torch.randn(2, 1000))


def test_normalize_brings_the_level_back():
    model = small("DemucsLike", normalize=True).eval()
    x = torch.randn(2, 1000)
    torch.testing.assert_close(model.separate(10 * x), 10 * model.separate(x))
    assert torch.isfinite(model.separate(0 * x)).all()
