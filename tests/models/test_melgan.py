"""MelGAN's generator: size, lengths, every upsampler, files."""

import io

import pytest
import torch
from asteroid.models import get as asteroid_get

from asteroid_upsamplers import layers
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models import MelGANGenerator


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
