"""The decoder against Asteroid's own, and against overlap-add of its responses."""

import pytest
import torch
from asteroid.models import DeMask
from asteroid_filterbanks import Decoder, make_enc_dec
from torch.nn import functional as F

from asteroid_upsamplers import layers
from asteroid_upsamplers.blocks import UpsamplerDecoder, decoder
from asteroid_upsamplers.blocks.decoder import sounds
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models import with_upsampler

PLAIN = {"fb_name": "free", "n_filters": 12, "kernel_size": 16, "stride": 8}
BANKS = [
    PLAIN,
    {"fb_name": "free", "n_filters": 6, "kernel_size": 23, "stride": 8, "padding": 10},
    {"fb_name": "free", "n_filters": 6, "kernel_size": 9, "stride": 4, "output_padding": 3},
    {"fb_name": "param_sinc", "n_filters": 12, "kernel_size": 17, "stride": 8},
    {"fb_name": "torch_stft", "n_filters": 32, "kernel_size": 32, "stride": 8},
    {**PLAIN, "who_is_pinv": "decoder"},
]
EXACT = ("haar", "lazy_wavelet", "lifting", "stretch", "subpixel")
FORCED = {"trim": True}
"""A setting that says what is the case anyway, and makes "transposed" a layer of ours."""

every_bank = pytest.mark.parametrize(
    "bank", BANKS, ids=lambda bank: "-".join(str(value) for value in bank.values())
)
every_upsampler = pytest.mark.parametrize("name", layers.available())


def decoder_of(bank):
    torch.manual_seed(0)
    return make_enc_dec(**bank)[1]


def made(name, bank=PLAIN):
    theirs = decoder_of(bank)
    settings = FORCED if name == "transposed" else None
    return UpsamplerDecoder.in_place_of(theirs, name, settings), theirs


def assert_same_shapes(ours, theirs):
    for *batch, frames in [(9,), (2, 1), (2, 3, 9), (2, 1, 3, 4)]:
        spec = torch.randn(*batch, len(theirs.get_filters()), frames)
        for length in (None, 5, 10_000):
            assert ours(spec, length=length).shape == theirs(spec, length=length).shape


@every_bank
def test_transposed_is_asteroids_own(bank):
    for settings in (None, FORCED):
        theirs = decoder_of(bank)
        ours = UpsamplerDecoder.in_place_of(theirs, "transposed", settings)
        assert_same_shapes(ours, theirs)
        spec = torch.randn(2, 3, len(theirs.get_filters()), 9)
        edge = slice(32, -32) if bank["fb_name"] == "torch_stft" else slice(None)
        # torch_stft divides by a window that is all but zero at the ends
        found, expected = ours(spec)[..., edge], theirs(spec)[..., edge]
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


@every_bank
def test_a_family_that_can_starts_as_asteroids(bank):
    ours, theirs = made("subpixel", bank)
    assert_same_shapes(ours, theirs)
    spec = torch.randn(2, len(theirs.get_filters()), 9)
    edge = slice(32, -32) if bank["fb_name"] == "torch_stft" else slice(None)
    torch.testing.assert_close(ours(spec)[..., edge], theirs(spec)[..., edge], atol=2e-5, rtol=1e-5)


@every_upsampler
def test_any_upsampler_is_an_overlap_add_of_its_responses(name):
    """As a transposed convolution is, with silence beyond both ends, whatever the family."""
    ours, theirs = made(name, BANKS[1])
    assert_same_shapes(ours, theirs)
    ours = ours.double()
    spec = torch.randn(2, 6, 7).double()
    sound = sounds(ours)
    whole = F.conv_transpose1d(spec, sound.values[:, None], stride=8)
    start = 2000 - sound.start + 10
    y = ours(spec)
    expected = F.pad(whole, (2000, 2000))[..., start : start + y.shape[-1]]
    torch.testing.assert_close(y, expected, atol=1e-9, rtol=0)


@every_upsampler
def test_it_starts_near_asteroids_and_only_the_layer_learns(name):
    """No filters are left over that no gradient would reach; the bank is not touched."""
    ours, theirs = made(name)
    before = {key: value.clone() for key, value in theirs.state_dict().items()}
    spec = torch.randn(2, 12, 400)
    error = (ours(spec) - theirs(spec)).square().mean() / theirs(spec).square().mean()
    assert error < (1e-9 if name in (*EXACT, "transposed") else 0.95)
    ours(spec).square().mean().backward()
    names = dict(ours.named_parameters())
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in names.values())
    assert all(key.startswith("layer.") for key in names)
    assert all(torch.equal(before[key], value) for key, value in theirs.state_dict().items())


def test_filters_that_change_are_followed():
    theirs = decoder_of(PLAIN)
    ours = UpsamplerDecoder.in_place_of(theirs, "transposed")
    with torch.no_grad():
        theirs.filterbank._filters.normal_()
    spec = torch.randn(2, 12, 9)
    assert torch.equal(ours(spec), theirs(spec))


def test_a_stated_init_is_kept():
    ours = UpsamplerDecoder.in_place_of(decoder_of(PLAIN), "subpixel", {"init": "icnr"})
    rows = ours.upsampler.weight
    assert torch.equal(rows, rows[:1].expand_as(rows))


def test_config_rebuilds_the_layer():
    ours = UpsamplerDecoder.in_place_of(decoder_of(PLAIN), "cubic", {"coefficient": -0.5})
    config = ours.get_config()
    assert config["upsampler"] == "cubic"
    assert config["upsampler_kwargs"] == {"coefficient": -0.5}
    assert config["fb_name"] == "FreeFB"
    assert isinstance(ours, Decoder)


def test_starting_from_another_decoder_goes_both_ways():
    theirs = decoder_of(PLAIN)
    subpixel = UpsamplerDecoder.in_place_of(theirs, "subpixel")
    back = UpsamplerDecoder.in_place_of(decoder_of(PLAIN), "transposed")
    with torch.no_grad():
        back.filterbank._filters.zero_()
    assert back.start_from(sounds(subpixel)) < 1e-10
    torch.testing.assert_close(back.filters(), theirs.filters(), atol=1e-6, rtol=0)


def test_a_long_filterbank_takes_a_few_runs_of_the_layer(monkeypatch):
    """DeMask has 512 filters of length 256: neither their number nor their length counts."""
    runs, forward = [], layers.Upsampler.forward

    def counting(self, x):
        runs.append(x.shape)
        return forward(self, x)

    monkeypatch.setattr(layers.Upsampler, "forward", counting)
    model = with_upsampler(DeMask)(upsampler="subpixel")
    assert 0 < len(runs) <= 16
    monkeypatch.setattr(decoder, "fit_responses", None)
    type(model).from_pretrained(model.serialize())  # fits nothing, as all weights are there


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("neerest", None, "did you mean nearest"),
        ("haar", None, "stride must be a power of two, not 10"),
        ("linear", {"kernel": 3}, "'kernel'.*did you mean kernel_size"),
        ("transposed", {"kernel_size": 4}, "kernel_size must be .* not 4"),
    ],
    ids=str,
)
def test_what_a_family_cannot_do_is_refused(name, settings, words):
    theirs = decoder_of({"fb_name": "free", "n_filters": 6, "kernel_size": 20, "stride": 10})
    with pytest.raises(UsageError, match=words) as caught:
        UpsamplerDecoder.in_place_of(theirs, name, settings)
    assert "\n" not in str(caught.value)


def test_filters_that_are_not_free_cannot_start_from_others():
    stft = {"fb_name": "stft", "n_filters": 32, "kernel_size": 32, "stride": 8}
    ours = UpsamplerDecoder.in_place_of(decoder_of(stft), "transposed")
    with pytest.raises(UsageError, match="STFTFB are not free"):
        ours.start_from(sounds(ours))
