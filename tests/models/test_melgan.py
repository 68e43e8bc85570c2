"""MelGAN's generator and its spectrograms: size, lengths, every upsampler, published weights."""

import librosa
import numpy as np
import pytest
import torch
from torch.nn.utils import weight_norm

from asteroid_upsamplers import layers
from asteroid_upsamplers.models import LogMelSpectrogram, MelGANGenerator
from tests.models import laws

SMALL = {"n_mels": 5, "channels": 2}


def test_published_size():
    with torch.device("meta"):
        model = MelGANGenerator()
    assert sum(p.numel() for p in model.parameters()) == 4_266_050


@pytest.mark.parametrize("upsampler", layers.available())
def test_every_upsampler_makes_and_learns_waveforms(upsampler):
    torch.manual_seed(0)
    model = MelGANGenerator(upsampler, **SMALL)
    x = torch.randn(2, 5, 9)
    y = model(x)
    assert y.shape == (2, 1, 9 * model.hop) == (2, 1, 9 * 256)
    y.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    laws.round_trip(model, x)


class Reference(torch.nn.Module):
    """The published generator, layer by layer, under its own names."""

    def __init__(self, n_mels, channels):
        super().__init__()
        nn = torch.nn

        def convolution(*arguments, **options):
            return weight_norm(nn.Conv1d(*arguments, **options))

        class Block(nn.Module):
            def __init__(self, width, dilation):
                super().__init__()
                self.block = nn.Sequential(
                    nn.LeakyReLU(0.2),
                    nn.ReflectionPad1d(dilation),
                    convolution(width, width, 3, dilation=dilation),
                    nn.LeakyReLU(0.2),
                    convolution(width, width, 1),
                )
                self.shortcut = convolution(width, width, 1)

            def forward(self, x):
                return self.shortcut(x) + self.block(x)

        width = 16 * channels
        model = [nn.ReflectionPad1d(3), convolution(n_mels, width, 7)]
        for ratio in (8, 8, 2, 2):
            layer = nn.ConvTranspose1d(width, width // 2, 2 * ratio, ratio, padding=ratio // 2)
            model += [nn.LeakyReLU(0.2), weight_norm(layer)]
            width //= 2
            model += [Block(width, dilation) for dilation in (1, 3, 9)]
        model += [nn.LeakyReLU(0.2), nn.ReflectionPad1d(3), convolution(width, 1, 7), nn.Tanh()]
        self.model = nn.Sequential(*model)

    def forward(self, x):
        return self.model(x)


def test_weights_of_the_reference_give_the_same_output():
    torch.manual_seed(0)
    theirs = Reference(5, 2)
    assert "model.1.weight_g" in theirs.state_dict()
    ours = MelGANGenerator(**SMALL)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 5, 11)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-6, rtol=1e-5)


def test_mel_spectrograms_are_librosas():
    wav = np.random.default_rng(0).standard_normal(5120).astype(np.float32)
    ours = LogMelSpectrogram()(torch.from_numpy(wav)[None, None])[0]
    padded, settings = np.pad(wav, 384, mode="reflect"), {"sr": 22050, "center": False}
    settings |= {"n_fft": 1024, "hop_length": 256, "n_mels": 80, "power": 1}
    magnitudes = librosa.feature.melspectrogram(y=padded, **settings)
    np.testing.assert_allclose(ours, np.log10(np.maximum(magnitudes, 1e-5)), atol=1e-4)


def test_a_frame_for_every_hop():
    for time in (1024, 2815):
        mel = LogMelSpectrogram()(torch.zeros(2, 1, time))
        assert mel.shape == (2, 80, time // 256)
        assert torch.equal(mel, torch.full_like(mel, -5))
        assert MelGANGenerator(channels=2)(mel).shape == (2, 1, time // 256 * 256)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_mels": 0}, "n_mels must be an integer of at least 1, not 0"),
        ({"strides": (8, 0)}, "stride must be .* not 0"),
        ({"strides": ()}, "strides must be .* not 0"),
        ({"upsampler": "neerest"}, "did you mean nearest"),
        ({"upsampler_kwargs": {"kernel": 3}}, "did you mean kernel_size"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings, words):
    laws.refuses(MelGANGenerator, settings, words)


def test_wrong_input_is_refused():
    for shape, words in (((80, 9), "must be"), ((1, 79, 9), "79"), ((1, 80, 3), "at least 4")):
        with pytest.raises(ValueError, match=words):
            MelGANGenerator(channels=2)(torch.zeros(shape))
    for shape in ((2, 1000), (1, 2, 1000), (1, 1, 384)):
        with pytest.raises(ValueError, match="more than 384"):
            LogMelSpectrogram()(torch.zeros(shape))
