"""A trained model with another decoder: where it starts, and that it can go on."""

import logging

import asteroid.models
import pytest
import torch

from asteroid_upsamplers import layers, models
from asteroid_upsamplers.blocks.decoder import sounds
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models import swap_decoder
from tests.models.test_with_upsampler import SMALL, settings_of

EXACT = ("haar", "lazy_wavelet", "lifting", "stretch", "subpixel", "transposed")


def trained(name="ConvTasNet", **more):
    torch.manual_seed(1)
    return getattr(asteroid.models, name)(**{**settings_of(name), **more}).eval()


def error_of(model, old, wav):
    """Energy of the difference, as a share of that of the old model's output."""
    with torch.no_grad():
        return float((model(wav) - old(wav)).square().sum() / old(wav).square().sum())


@pytest.mark.parametrize("upsampler", layers.available())
def test_where_each_family_starts(upsampler):
    """Exactly where it was, or at least nearer than a random decoder."""
    old, wav = trained(), torch.randn(2, 2000)
    model = swap_decoder(old, upsampler)
    fitted = error_of(model, old, wav)
    torch.manual_seed(0)
    drawn = error_of(swap_decoder(old, upsampler, init="random"), old, wav)
    assert fitted < (1e-10 if upsampler in EXACT else min(1, drawn))
    assert drawn > 0.1


@pytest.mark.parametrize("name", SMALL)
def test_every_model(name):
    old = trained(name)
    model = swap_decoder(old, "subpixel")
    assert type(model).__name__ == f"Upsampler{name}"
    assert not model.training
    assert error_of(model, old, torch.randn(2, 400)) < 1e-10
    again = type(model).from_pretrained(model.serialize())
    assert again.get_model_args()["upsampler"] == "subpixel"


def test_the_encoder_and_the_masks_are_copies_of_the_old_ones():
    old = trained()
    model = swap_decoder(old, "nearest")
    for key, value in old.state_dict().items():
        if not key.startswith("decoder."):
            assert torch.equal(model.state_dict()[key], value)
    before = {key: value.clone() for key, value in old.state_dict().items()}
    model(torch.randn(1, 400)).square().mean().backward()
    torch.optim.SGD(model.parameters(), 0.1).step()
    assert all(torch.equal(before[key], value) for key, value in old.state_dict().items())


@pytest.mark.parametrize("fb_name", ["stft", "param_sinc"])
def test_constrained_filterbanks_keep_their_decoder_or_lose_the_constraint(fb_name):
    old = trained(n_filters=32, kernel_size=32, stride=16, fb_name=fb_name)
    wav = torch.randn(2, 400)
    assert error_of(swap_decoder(old, "transposed"), old, wav) == 0
    assert error_of(swap_decoder(old, "subpixel"), old, wav) < 1e-9


def test_there_and_back():
    old = trained()
    there = swap_decoder(old, "subpixel")
    back = swap_decoder(there, "transposed")
    assert type(back) is type(there)
    assert error_of(back, old, torch.randn(2, 400)) < 1e-10
    again = swap_decoder(swap_decoder(there, "nearest"), "linear")
    assert again.get_model_args()["upsampler"] == "linear"
    assert sounds(again.decoder).values.shape[0] == 8


def test_precision_and_mode_are_kept_and_the_error_is_logged(caplog):
    old = trained().double().train()
    with caplog.at_level(logging.INFO):
        model = swap_decoder(old, "linear")
    assert model.training
    assert model(torch.randn(1, 400).double()).dtype == torch.float64
    (record,) = caplog.records
    assert "linear starts with an error of -" in record.message


@pytest.mark.parametrize(
    ("model", "arguments", "words"),
    [
        (trained, ("neerest",), "did you mean nearest"),
        (trained, ("nearest", "lstsq"), "init is 'lstsq', must be one of least_squares"),
        (lambda: models.DemucsLike(channels=2, depth=2), ("nearest",), "no encoder/masker/decoder"),
        (lambda: asteroid.models.ConvTasNet, ("nearest",), "needs a model"),
    ],
    ids=["name", "init", "demucs", "class"],
)
def test_what_cannot_be_swapped_is_refused(model, arguments, words):
    with pytest.raises(UsageError, match=words) as caught:
        swap_decoder(model(), *arguments)
    assert "\n" not in str(caught.value)
