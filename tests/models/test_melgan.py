"""MelGAN's generator: size, lengths, every upsampler, files."""

import io

import librosa
import numpy as np
import pytest
import torch
from asteroid.models import get as asteroid_get
from torch.nn.utils import weight_norm

from asteroid_upsamplers import layers
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models import LogMelSpectrogram, MelGANGenerator


def test_published_size():
    with torch.device("meta"):
        model = MelGANGenerator()
    assert sum(p.numel() for p in model.parameters()) == 4_266_050


@pytest.mark.parametrize("upsampler", layers.available())
def test_every_upsampler_makes_and_learns_waveforms(upsampler):
    torch.manual_seed(0)
    model = MelGANGenerator(upsampler, n_mels=5, channels=2)
    x = torch.randn(2, 5, 9)
    y = model(x)
    assert y.shape == (2, 1, 9 * 256)
    y.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    package = io.BytesIO()
    torch.save(model.serialize(), package)
    package.seek(0)
    loaded = torch.load(package, weights_only=True)
    twin = asteroid_get("MelGANGenerator").from_pretrained(loaded)
    with torch.no_grad():
        assert torch.equal(twin.eval()(x), model.eval()(x))


def test_transposed_is_the_reference_layer():
    """Length twice the stride, padding half the stride: the middle of torch's own."""
    model = MelGANGenerator(n_mels=4, channels=2).double()
    layer = model.stages[2]
    x = torch.randn(1, layer.in_channels, 10).double()
    theirs = torch.nn.functional.conv_transpose1d(x, layer.weight, layer.bias, 8, padding=4)
    torch.testing.assert_close(layer(x), theirs)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_mels": 0}, "n_mels is 0"),
        ({"strides": (8, 0)}, "strides is 0"),
        ({"strides": ()}, r"len\(strides\) is 0"),
        ({"upsampler": "neerest"}, "did you mean nearest"),
        ({"upsampler_kwargs": {"size": 3}}, "upsampler_kwargs of transposed"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        MelGANGenerator(**settings)


@pytest.mark.parametrize(
    ("shape", "words"), [((80, 9), "is needed"), ((1, 79, 9), "79"), ((1, 80, 3), "at least 4")]
)
def test_wrong_input_is_refused(shape, words):
    with pytest.raises(ValueError, match=words):
        MelGANGenerator(channels=2)(torch.zeros(shape))


class Reference(torch.nn.Module):
    """The published generator, layer by layer, under its own names."""

    def __init__(self, n_mels, channels):
        super().__init__()

        def convolution(*arguments, **options):
            return weight_norm(torch.nn.Conv1d(*arguments, **options))

        class Block(torch.nn.Module):
            def __init__(self, width, dilation):
                super().__init__()
                self.block = torch.nn.Sequential(
                    torch.nn.LeakyReLU(0.2),
                    torch.nn.ReflectionPad1d(dilation),
                    convolution(width, width, 3, dilation=dilation),
                    torch.nn.LeakyReLU(0.2),
                    convolution(width, width, 1),
                )
                self.shortcut = convolution(width, width, 1)

            def forward(self, x):
                return self.shortcut(x) + self.block(x)

        width = 16 * channels
        model = [torch.nn.ReflectionPad1d(3), convolution(n_mels, width, 7)]
        for ratio in (8, 8, 2, 2):
            transposed = torch.nn.ConvTranspose1d(
                width, width // 2, 2 * ratio, ratio, padding=ratio // 2
            )
            model += [torch.nn.LeakyReLU(0.2), weight_norm(transposed)]
            width //= 2
            model += [Block(width, dilation) for dilation in (1, 3, 9)]
        model += [torch.nn.LeakyReLU(0.2), torch.nn.ReflectionPad1d(3)]
        model += [convolution(width, 1, 7), torch.nn.Tanh()]
        self.model = torch.nn.Sequential(*model)

    def forward(self, x):
        return self.model(x)


def test_weights_of_the_reference_give_the_same_output():
    torch.manual_seed(0)
    theirs = Reference(5, 2)
    assert "model.1.weight_g" in theirs.state_dict()
    ours = MelGANGenerator(n_mels=5, channels=2)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 5, 11)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-6, rtol=1e-5)
    assert set(ours.state_dict()) == set(MelGANGenerator(n_mels=5, channels=2).state_dict())


def test_mel_spectrograms_are_librosas():
    rng = np.random.default_rng(0)
    wav = rng.standard_normal(5120).astype(np.float32)
    ours = LogMelSpectrogram()(torch.from_numpy(wav)[None, None])[0]
    magnitudes = librosa.feature.melspectrogram(
        y=np.pad(wav, 384, mode="reflect"),
        sr=22050,
        n_fft=1024,
        hop_length=256,
        n_mels=80,
        power=1,
        center=False,
    )
    np.testing.assert_allclose(ours, np.log10(np.maximum(magnitudes, 1e-5)), atol=1e-4)


@pytest.mark.parametrize("time", [1024, 2560, 2561, 2815])
def test_a_frame_for_every_hop(time):
    mel = LogMelSpectrogram()(torch.zeros(2, 1, time))
    assert mel.shape == (2, 80, time // 256)
    assert torch.equal(mel, torch.full_like(mel, -5))
    assert MelGANGenerator(channels=2)(mel).shape == (2, 1, time // 256 * 256)


@pytest.mark.parametrize("shape", [(2, 1000), (1, 2, 1000), (1, 1, 384)])
def test_other_signals_have_no_mel_spectrogram(shape):
    with pytest.raises(ValueError, match="more than 384"):
        LogMelSpectrogram()(torch.zeros(shape))
