"""A trained model with another decoder: where it starts, and that it can go on."""

import logging

import asteroid.models
import pytest
import torch

from asteroid_upsamplers import layers, models
from asteroid_upsamplers.blocks.decoder import sounds
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models import swap_decoder
from tests.models.test_with_upsampler import NAMES, settings_of

EXACT = ("haar", "lazy_wavelet", "stretch", "subpixel", "transposed")


def trained(name, **more):
    torch.manual_seed(1)
    return getattr(asteroid.models, name)(**settings_of(name), **more).eval()


def error_of(model, old, wav):
    """Energy of the difference, as a share of that of the old model's output."""
    with torch.no_grad():
        return float((model(wav) - old(wav)).square().sum() / old(wav).square().sum())


@pytest.mark.parametrize("upsampler", EXACT)
@pytest.mark.parametrize("name", NAMES)
def test_families_that_give_the_same_output(name, upsampler):
    old = trained(name)
    model = swap_decoder(old, upsampler)
    assert type(model).__name__ == f"Upsampler{name}"
    assert not model.training
    assert error_of(model, old, torch.randn(2, 400)) < 1e-10
    assert type(model).from_pretrained(model.serialize()).get_model_args()["upsampler"] == upsampler


@pytest.mark.parametrize("upsampler", [n for n in layers.available() if n not in EXACT])
@pytest.mark.parametrize("name", NAMES)
def test_the_others_start_nearer_than_a_random_decoder(name, upsampler):
    old, wav = trained(name), torch.randn(2, 2000)
    fitted = error_of(swap_decoder(old, upsampler), old, wav)
    torch.manual_seed(0)
    drawn = error_of(swap_decoder(old, upsampler, init="random"), old, wav)
    assert fitted < 1
    assert fitted < drawn


def test_the_encoder_and_the_masks_are_the_old_ones():
    old = trained("ConvTasNet")
    model = swap_decoder(old, "nearest")
    for key, value in old.state_dict().items():
        if not key.startswith("decoder."):
            assert torch.equal(model.state_dict()[key], value)
    before = {key: value.clone() for key, value in old.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model(torch.randn(1, 400)).square().mean().backward()
    optimizer.step()
    assert all(torch.equal(before[key], value) for key, value in old.state_dict().items())


@pytest.mark.parametrize("fb_name", ["stft", "analytic_free", "param_sinc"])
def test_constrained_filterbanks_keep_their_decoder_or_lose_the_constraint(fb_name):
    torch.manual_seed(1)
    settings = {**settings_of("ConvTasNet"), "n_filters": 32, "kernel_size": 32, "stride": 16}
    old = asteroid.models.ConvTasNet(**settings, fb_name=fb_name).eval()
    wav = torch.randn(2, 400)
    assert error_of(swap_decoder(old, "transposed"), old, wav) == 0
    assert error_of(swap_decoder(old, "subpixel"), old, wav) < 1e-9


def test_there_and_back():
    old = trained("ConvTasNet")
    there = swap_decoder(old, "subpixel")
    back = swap_decoder(there, "transposed")
    assert type(back) is type(there)
    assert error_of(back, old, torch.randn(2, 400)) < 1e-10
    nearest = swap_decoder(there, "nearest")
    again = swap_decoder(nearest, "linear")
    assert again.get_model_args()["upsampler"] == "linear"
    assert sounds(again.decoder).values.shape[0] == 8


def test_precision_and_mode_are_kept():
    old = trained("ConvTasNet").double().train()
    model = swap_decoder(old, "linear")
    assert model.training
    assert model(torch.randn(1, 400).double()).dtype == torch.float64


def test_how_near_it_is_is_said(caplog):
    old = trained("ConvTasNet")
    with caplog.at_level(logging.INFO):
        swap_decoder(old, "nearest")
    (record,) = caplog.records
    assert "nearest starts with an error of -" in record.message


@pytest.mark.parametrize(
    ("model", "arguments", "words"),
    [
        ("ConvTasNet", ("neerest",), "did you mean nearest"),
        ("ConvTasNet", ("nearest", "lstsq"), "init is 'lstsq', allowed is one of least_squares"),
        (models.DemucsLike(channels=2, depth=2), ("nearest",), "no encoder/masker/decoder model"),
        (asteroid.models.ConvTasNet, ("nearest",), "a model is needed"),
    ],
    ids=["name", "init", "demucs", "class"],
)
def test_what_cannot_be_swapped_is_refused(model, arguments, words):
    with pytest.raises(UsageError, match=words) as caught:
        swap_decoder(trained(model) if isinstance(model, str) else model, *arguments)
    assert "\n" not in str(caught.value)
