"""The decoder against Asteroid's own, and against overlap-add of its responses."""

import pytest
import torch
from asteroid_filterbanks import Decoder, make_enc_dec
from torch.nn import functional as F

from asteroid_upsamplers import layers
from asteroid_upsamplers.blocks import UpsamplerDecoder
from asteroid_upsamplers.blocks.decoder import sounds
from asteroid_upsamplers.errors import UsageError

BANKS = [
    {"fb_name": "free", "n_filters": 12, "kernel_size": 16, "stride": 8},
    {"fb_name": "free", "n_filters": 8, "kernel_size": 10, "stride": 4},
    {"fb_name": "free", "n_filters": 6, "kernel_size": 23, "stride": 8, "padding": 10},
    {"fb_name": "free", "n_filters": 6, "kernel_size": 9, "stride": 4, "output_padding": 3},
    {"fb_name": "analytic_free", "n_filters": 12, "kernel_size": 16, "stride": 8},
    {"fb_name": "param_sinc", "n_filters": 12, "kernel_size": 17, "stride": 8},
    {"fb_name": "stft", "n_filters": 32, "kernel_size": 32, "stride": 8},
    {"fb_name": "torch_stft", "n_filters": 32, "kernel_size": 32, "stride": 8},
    {"fb_name": "free", "n_filters": 12, "kernel_size": 16, "stride": 8, "who_is_pinv": "decoder"},
]
EXACT = ("haar", "lazy_wavelet", "stretch", "subpixel")
FORCED = {"trim": True}
"""A setting that says what is the case anyway, and makes "transposed" a layer of ours."""


def ids(bank):
    return "-".join(str(value) for value in bank.values())


def decoder_of(bank):
    torch.manual_seed(0)
    return make_enc_dec(**bank)[1]


def settings_of(name):
    return FORCED if name == "transposed" else None


@pytest.mark.parametrize("name", layers.available())
@pytest.mark.parametrize("bank", BANKS, ids=ids)
def test_the_same_shapes_as_asteroids(bank, name):
    theirs = decoder_of(bank)
    ours = UpsamplerDecoder.in_place_of(theirs, name, settings_of(name))
    for *batch, frames in [(9,), (1,), (2, 9), (2, 3, 9), (2, 1, 3, 4)]:
        spec = torch.randn(*batch, len(theirs.get_filters()), frames)
        for length in (None, 5, 10_000):
            assert ours(spec, length=length).shape == theirs(spec, length=length).shape


@pytest.mark.parametrize("settings", [None, FORCED, {"form": "folded"}], ids=str)
@pytest.mark.parametrize("bank", BANKS, ids=ids)
def test_transposed_is_asteroids_own(bank, settings):
    theirs = decoder_of(bank)
    ours = UpsamplerDecoder.in_place_of(theirs, "transposed", settings)
    spec = torch.randn(2, 3, len(theirs.get_filters()), 9)
    if bank["fb_name"] == "torch_stft":  # it divides by a window that is all but zero at the ends
        ours, theirs = (lambda x, d=d: d(x)[..., 32:-32] for d in (ours, theirs))
    torch.testing.assert_close(ours(spec), theirs(spec), atol=1e-6, rtol=1e-6)


def test_filters_that_change_are_followed():
    bank = {"fb_name": "free", "n_filters": 12, "kernel_size": 16, "stride": 8}
    theirs = decoder_of(bank)
    ours = UpsamplerDecoder.in_place_of(theirs, "transposed")
    with torch.no_grad():
        theirs.filterbank._filters.normal_()
    spec = torch.randn(2, 12, 9)
    assert torch.equal(ours(spec), theirs(spec))


@pytest.mark.parametrize("name", layers.available())
@pytest.mark.parametrize("bank", BANKS[:4], ids=ids)
def test_any_upsampler_is_an_overlap_add_of_its_responses(bank, name):
    """As a transposed convolution is, with silence beyond both ends, whatever the family."""
    ours = UpsamplerDecoder.in_place_of(decoder_of(bank), name, settings_of(name)).double()
    spec = torch.randn(2, bank["n_filters"], 7).double()
    sound = sounds(ours)
    whole = F.conv_transpose1d(spec, sound.values[:, None], stride=bank["stride"])
    margin = 2000
    start = margin - sound.start + bank.get("padding", 0)
    y = ours(spec)
    expected = F.pad(whole, (margin, margin))[..., start : start + y.shape[-1]]
    torch.testing.assert_close(y, expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("bank", BANKS[:7], ids=ids)
def test_families_that_can_start_exactly_as_asteroids(bank, name):
    theirs = decoder_of(bank)
    ours = UpsamplerDecoder.in_place_of(theirs, name)
    spec = torch.randn(2, len(theirs.get_filters()), 9)
    torch.testing.assert_close(ours(spec), theirs(spec), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["cubic", "learned", "linear", "nearest", "sinc"])
def test_the_others_start_nearer_than_silence(name):
    theirs = decoder_of(BANKS[0])
    ours = UpsamplerDecoder.in_place_of(theirs, name)
    spec = torch.randn(2, 12, 400)
    error = (ours(spec) - theirs(spec)).square().mean() / theirs(spec).square().mean()
    assert error < 0.95


def test_a_stated_init_is_kept():
    ours = UpsamplerDecoder.in_place_of(decoder_of(BANKS[0]), "subpixel", {"init": "icnr"})
    rows = ours.upsampler.weight
    assert torch.equal(rows, rows[:1].expand_as(rows))


@pytest.mark.parametrize("name", layers.available())
@pytest.mark.parametrize("bank", BANKS[4:], ids=ids)
def test_only_the_layer_learns(bank, name):
    """No filters are left over that no gradient would reach; the bank is not touched."""
    theirs = decoder_of(bank)
    before = {key: value.clone() for key, value in theirs.state_dict().items()}
    ours = UpsamplerDecoder.in_place_of(theirs, name, settings_of(name))
    ours(torch.randn(2, len(theirs.get_filters()), 9)).square().mean().backward()
    names = dict(ours.named_parameters())
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in names.values())
    assert all(key.startswith("layer.") for key in names)
    assert all(torch.equal(before[key], value) for key, value in theirs.state_dict().items())


def test_config_rebuilds_the_layer():
    ours = UpsamplerDecoder.in_place_of(decoder_of(BANKS[0]), "cubic", {"coefficient": -0.5})
    config = ours.get_config()
    assert config["upsampler"] == "cubic"
    assert config["upsampler_kwargs"] == {"coefficient": -0.5}
    assert config["fb_name"] == "FreeFB"
    assert isinstance(ours, Decoder)


def test_starting_from_another_decoder_goes_both_ways():
    theirs = decoder_of(BANKS[0])
    subpixel = UpsamplerDecoder.in_place_of(theirs, "subpixel")
    back = UpsamplerDecoder.in_place_of(decoder_of({**BANKS[0], "fb_name": "free"}), "transposed")
    with torch.no_grad():
        back.filterbank._filters.zero_()
    assert back.start_from(sounds(subpixel)) < 1e-10
    torch.testing.assert_close(back.filters(), theirs.filters(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("neerest", None, "did you mean nearest"),
        ("haar", None, "stride is 10, allowed is a power of two"),
        ("linear", {"size": 3}, "upsampler_kwargs of linear: .*size"),
        ("transposed", {"kernel_size": 4}, "kernel_size is 4, allowed is a whole number from 10"),
    ],
    ids=str,
)
def test_what_a_family_cannot_do_is_refused(name, settings, words):
    theirs = decoder_of({"fb_name": "free", "n_filters": 6, "kernel_size": 20, "stride": 10})
    with pytest.raises(UsageError, match=words) as caught:
        UpsamplerDecoder.in_place_of(theirs, name, settings)
    assert "\n" not in str(caught.value)


def test_filters_that_are_not_free_cannot_start_from_others():
    ours = UpsamplerDecoder.in_place_of(decoder_of(BANKS[6]), "transposed")
    with pytest.raises(UsageError, match="STFTFB are not free"):
        ours.start_from(sounds(ours))
