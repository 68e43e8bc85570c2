"""Asteroid's models with any upsampler: one battery, Asteroid's files, what is refused."""

import copy
import io

import asteroid.models
import numpy as np
import pytest
import torch
from asteroid.models.base_models import BaseEncoderMaskerDecoder, BaseModel
from asteroid_filterbanks import make_enc_dec

from asteroid_upsamplers import layers, models
from asteroid_upsamplers.blocks import ChannelwiseUpsampler, UpsamplingUNet
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models import with_upsampler

SMALL = {
    "ConvTasNet": {"n_blocks": 2, "n_repeats": 1, "bn_chan": 4, "hid_chan": 5, "skip_chan": 3},
    "DPRNNTasNet": {"n_repeats": 1, "bn_chan": 4, "hid_size": 4, "chunk_size": 8},
    "DPTNet": {"n_repeats": 1, "n_heads": 2, "ff_hid": 4, "chunk_size": 8},
    "LSTMTasNet": {"n_layers": 1, "hid_size": 4, "dropout": 0.0},
    "SuDORMRFNet": {"num_blocks": 1, "bn_chan": 4, "upsampling_depth": 2},
    "SuDORMRFImprovedNet": {"num_blocks": 1, "bn_chan": 4, "upsampling_depth": 2},
}


def settings_of(name):
    kernel_size = 17 if name.startswith("SuDORMRF") else 16  # its stride is kernel_size // 2
    return {"n_src": 2, "n_filters": 8, "kernel_size": kernel_size, **SMALL[name]}


def pair(name, **more):
    """Asteroid's model, and ours, of the same settings and seed."""
    made = []
    for cls, options in (
        (getattr(asteroid.models, name), {}),
        (getattr(models, f"Upsampler{name}"), more),
    ):
        torch.manual_seed(0)
        made.append(cls(**settings_of(name), **options).eval())
    return made


@pytest.mark.parametrize("name", SMALL)
def test_without_further_settings_it_is_asteroids_to_the_last_bit(name, tmp_path):
    """And loads its files, which hold a TorchVersion, as Asteroid's own loading does now."""
    theirs, ours = pair(name)
    shapes = [{k: v.shape for k, v in model.state_dict().items()} for model in (theirs, ours)]
    assert shapes[0] == shapes[1]
    wav = torch.randn(2, 400)
    assert torch.equal(ours(wav), theirs(wav))
    package = theirs.serialize()
    assert type(package["infos"]["software_versions"]["torch_version"]) is not str
    path = str(tmp_path / "theirs.pth")
    torch.save(package, path)
    for cls in (type(theirs), type(ours)):
        loaded = cls.from_pretrained(path).eval()
        assert type(loaded) is cls
        assert torch.equal(loaded(wav), theirs(wav))


@pytest.mark.parametrize(
    ("name", "upsampler"),
    [("ConvTasNet", name) for name in layers.available()]
    + [(name, "subpixel") for name in SMALL if name != "ConvTasNet"],
)
def test_shapes_learning_and_files(name, upsampler, tmp_path):
    theirs, ours = pair(name, upsampler=upsampler)
    for shape in ((301,), (3, 250), (2, 1, 501)):
        wav = torch.randn(shape)
        found, expected = ours(wav), theirs(wav)
        assert found.shape == expected.shape
        if upsampler in ("haar", "lazy_wavelet", "lifting", "stretch", "subpixel", "transposed"):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    torch.save(ours.serialize(), tmp_path / "model.pth")
    twin = BaseModel.from_pretrained(str(tmp_path / "model.pth")).eval()
    assert type(twin) is type(ours)
    assert twin.get_model_args() == ours.get_model_args()
    assert twin.get_model_args()["upsampler"] == upsampler
    wav = torch.randn(2, 1, 400)
    with torch.no_grad():
        assert torch.equal(twin(wav), ours(wav))
    ours.train()(wav).square().mean().backward()
    for parameter in ours.decoder.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0


@pytest.mark.parametrize("name", ["SuDORMRFNet", "SuDORMRFImprovedNet"])
def test_the_maskers_upsamples_are_exchanged_too(name):
    theirs, ours = pair(name, masker_upsampler="subpixel")
    assert any(isinstance(m, ChannelwiseUpsampler) for m in ours.masker.modules())
    wav = torch.randn(2, 400)
    torch.testing.assert_close(ours(wav), theirs(wav), atol=1e-5, rtol=1e-4)
    twin = type(ours).from_pretrained(ours.serialize()).eval()
    assert torch.equal(twin(wav), ours(wav))


class UNetTasNet(BaseEncoderMaskerDecoder):
    """A user's own model."""

    def __init__(self, n_src, depth=2, fb_name="free", n_filters=8, kernel_size=16, **fb_kwargs):
        encoder, decoder = make_enc_dec(
            fb_name, n_filters=n_filters, kernel_size=kernel_size, **fb_kwargs
        )
        masker = UpsamplingUNet(encoder.n_feats_out, n_src, depth=depth, bn_chan=4, hid_chan=4)
        super().__init__(encoder, masker, decoder)


def test_a_users_own_model():
    cls = with_upsampler(UNetTasNet)
    assert cls is with_upsampler(UNetTasNet) is with_upsampler(cls)
    assert asteroid.models.get("UpsamplerUNetTasNet") is cls
    model = cls(3, depth=1, upsampler="linear", stride=4)
    assert model(torch.randn(2, 300)).shape == (2, 3, 300)
    again = type("UNetTasNet", (UNetTasNet,), {})  # defined anew, as in a notebook
    assert with_upsampler(again) is asteroid.models.get("UpsamplerUNetTasNet") is not cls
    with_upsampler(UNetTasNet)


@pytest.mark.parametrize("fb_name", ["stft", "analytic_free", "param_sinc"])
def test_filterbanks_of_every_kind(fb_name):
    settings = {**settings_of("ConvTasNet"), "n_filters": 32, "kernel_size": 33, "stride": 8}
    options = {"min_low_hz": 70} if fb_name == "param_sinc" else {"kernel_size": 32}
    cls = models.UpsamplerConvTasNet
    model = cls(**{**settings, **options}, fb_name=fb_name, upsampler="nearest").eval()
    assert getattr(model.encoder.filterbank, "min_low_hz", 70) == 70
    twin = cls.from_pretrained(model.serialize()).eval()
    wav = torch.randn(2, 400)
    assert torch.equal(twin(wav), model(wav))


def test_dcunet():
    wav, made = torch.randn(1, 8000), []
    cls = asteroid.models.DCUNet
    for family, more in ((cls, {}), (with_upsampler(cls), {"upsampler": "subpixel"})):
        torch.manual_seed(0)
        made.append(family("mini", fix_length_mode="pad", **more).eval())
    torch.testing.assert_close(made[1](wav), made[0](wav), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"upsampler": "neerest"}, "did you mean nearest"),
        ({"n_filter": 3}, "UpsamplerConvTasNet: unknown option 'n_filter': did you mean n_filters"),
        ({"upsamplers": "nearest"}, "unknown option 'upsamplers': did you mean upsampler"),
        ({"min_low_hz": 3}, "unknown option 'min_low_hz'"),
        ({"upsampler": "haar", "stride": 6}, "stride must be a power of two, not 6"),
        ({"upsampler": "cubic", "upsampler_kwargs": {"coeff": 1}}, "did you mean coefficient"),
        ({"masker_upsampler": "linear"}, "TDConvNet: it has no nn.Upsample"),
        ({"masker_upsampler_kwargs": {"bias": True}}, "without a masker_upsampler"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(UsageError, match=words) as caught:
        models.UpsamplerConvTasNet(**{**settings_of("ConvTasNet"), **settings})
    assert "\n" not in str(caught.value)


class Faulty(layers.Transposed):
    """A user's layer with a mistake in it."""

    name = "faulty"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        len(3)


def test_a_mistake_in_a_users_layer_keeps_its_traceback():
    with pytest.raises(TypeError, match="no len") as caught:
        models.UpsamplerConvTasNet(**settings_of("ConvTasNet"), upsampler=Faulty)
    assert caught.traceback[-1].name == "__init__"
    assert str(caught.traceback[-1].path) == __file__


class Odd(asteroid.models.ConvTasNet):
    """Another decoder than Asteroid's."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.decoder = torch.nn.Identity()


class Taken(asteroid.models.ConvTasNet):
    """An option of the same name."""

    def __init__(self, n_src, upsampler=None):
        super().__init__(n_src)


def test_other_models_are_refused():
    for cls in (models.DemucsLike, asteroid.models.XUMX, torch.nn.Linear, "ConvTasNet"):
        with pytest.raises(UsageError, match="is no encoder/masker/decoder model"):
            with_upsampler(cls)
    with pytest.raises(UsageError, match="Odd: its decoder is a Identity"):
        with_upsampler(Odd)(**settings_of("ConvTasNet"))
    with pytest.raises(UsageError, match="Taken has an option 'upsampler' already"):
        with_upsampler(Taken)


def test_weights_of_another_upsampler_are_refused(tmp_path):
    """Also where the shapes agree, and also by Asteroid's own loading."""
    cls, path = models.UpsamplerConvTasNet, str(tmp_path / "model.pth")
    theirs, ours = pair("ConvTasNet", upsampler="nearest")
    torch.save(ours.serialize(), path)
    with pytest.raises(UsageError, match="upsampler is 'linear', but .* saved with 'nearest'"):
        cls.from_pretrained(path, upsampler="linear")
    with pytest.raises(UsageError, match="weights of upsampler nearest, this model has linear"):
        BaseModel.from_pretrained(path, upsampler="linear")
    with pytest.raises(UsageError, match="saved with 'transposed'"):
        cls.from_pretrained(theirs.serialize(), upsampler="nearest")
    package = theirs.serialize()
    before = copy.deepcopy(package["model_args"])
    cls.from_pretrained(package, upsampler="transposed")
    assert (package["model_args"], package["model_name"]) == (before, "ConvTasNet")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"upsampler_kwargs": {"coefficient": -0.75}}, "upsampler_kwargs is {'coeff.*: -0.75}"),
        ({"upsampler_kwargs": None}, "upsampler_kwargs is {}"),
        ({"masker_upsampler": "linear"}, "masker_upsampler is 'linear', .* saved with None"),
    ],
    ids=str,
)
def test_other_settings_than_the_saved_ones_are_refused(asked, words):
    settings = {"coefficient": -0.5}
    _, ours = pair("ConvTasNet", upsampler="cubic", upsampler_kwargs=settings)
    package, cls = ours.serialize(), models.UpsamplerConvTasNet
    with pytest.raises(UsageError, match=words):
        cls.from_pretrained(package, **asked)
    same = {"upsampler": layers.Cubic, "upsampler_kwargs": settings, "masker_upsampler": None}
    assert cls.from_pretrained(package, **same).get_model_args() == ours.get_model_args()


def test_silence_is_separated_into_silence():
    _, ours = pair("ConvTasNet", upsampler="subpixel")
    assert not ours.separate(torch.zeros(1, 300)).any()
    assert not ours.separate(np.zeros((1, 300), "float32")).any()
    assert ours.separate(torch.randn(1, 300)).any()


def test_copies_and_pickles():
    _, ours = pair("ConvTasNet", upsampler="nearest")
    file = io.BytesIO()
    torch.save(ours, file)
    file.seek(0)
    wav = torch.randn(1, 300)
    for twin in (copy.deepcopy(ours), torch.load(file, weights_only=False)):
        assert torch.equal(twin(wav), ours(wav))
