"""Asteroid's models with the upsampler by name: one battery, Asteroid's files, what is refused."""

import copy
import io
import subprocess
import sys

import asteroid.models
import numpy as np
import pytest
import soundfile
import torch
from asteroid.models.base_models import BaseModel
from asteroid_filterbanks import make_enc_dec

from asteroid_upsamplers import layers, models
from asteroid_upsamplers.blocks import ChannelwiseUpsampler, UpsamplerDecoder, UpsamplingUNet
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
NAMES = list(SMALL)


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


@pytest.mark.parametrize("upsampler", layers.available())
@pytest.mark.parametrize("name", NAMES)
def test_shapes_learning_and_files(name, upsampler, tmp_path):
    theirs, ours = pair(name, upsampler=upsampler)
    assert isinstance(ours.decoder, UpsamplerDecoder)
    for shape in ((301,), (3, 250), (2, 1, 501)):
        wav = torch.randn(shape)
        assert ours(wav).shape == theirs(wav).shape

    torch.save(ours.serialize(), tmp_path / "model.pth")
    twin = BaseModel.from_pretrained(str(tmp_path / "model.pth")).eval()
    assert type(twin) is type(ours)
    assert twin.get_model_args() == ours.get_model_args()
    assert twin.get_model_args()["upsampler"] == upsampler
    wav = torch.randn(2, 400)
    with torch.no_grad():
        assert torch.equal(twin(wav), ours(wav))

    ours.train()
    x = torch.randn(2, 1, 400)
    target = torch.cat([x, -x], 1) * 0.3
    optimizer = torch.optim.Adam(ours.parameters(), 1e-2)
    losses = []
    for _ in range(8):
        loss = (ours(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        losses.append(float(loss))
        for parameter in ours.decoder.parameters():
            assert parameter.grad is not None
            assert parameter.grad.abs().max() > 0
        optimizer.step()
    assert min(losses[1:]) < losses[0]


@pytest.mark.parametrize("name", NAMES)
def test_without_further_settings_it_is_asteroids(name):
    theirs, ours = pair(name)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in theirs.state_dict().items()
    }
    wav = torch.randn(2, 400)
    assert torch.equal(ours(wav), theirs(wav))


@pytest.mark.parametrize("upsampler", ["haar", "lazy_wavelet", "stretch", "subpixel"])
@pytest.mark.parametrize("name", NAMES)
def test_with_the_same_seed_it_starts_where_asteroids_does(name, upsampler):
    theirs, ours = pair(name, upsampler=upsampler)
    wav = torch.randn(2, 400)
    torch.testing.assert_close(ours(wav), theirs(wav), atol=1e-5, rtol=1e-4)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("upsampler", layers.available())
@pytest.mark.parametrize("name", NAMES)
def test_traced_for_any_shape(name, upsampler):
    """As Asteroid's tests do with its models: traced at one shape, called with others."""
    _, ours = pair(name, upsampler=upsampler)
    traced = torch.jit.trace(ours, (torch.rand(1, 201),))
    with torch.no_grad():
        for shape in ((240,), (3, 250), (2, 1, 501)):
            wav = torch.rand(shape)
            torch.testing.assert_close(traced(wav), ours(wav))


@pytest.mark.parametrize("upsampler", layers.available())
def test_compiled(upsampler):
    _, ours = pair("ConvTasNet", upsampler=upsampler)
    compiled = torch.compile(ours, backend="aot_eager")
    with torch.no_grad():
        for time in (400, 650):
            wav = torch.randn(2, time)
            torch.testing.assert_close(compiled(wav), ours(wav))


@pytest.mark.parametrize("name", NAMES)
def test_asteroids_files_load(name, tmp_path):
    """Files of Asteroid 0.7.0 hold a TorchVersion; ours and Asteroid's own loading read them."""
    theirs, _ = pair(name)
    package = theirs.serialize()
    assert type(package["infos"]["software_versions"]["torch_version"]) is not str
    path = str(tmp_path / "theirs.pth")
    torch.save(package, path)
    wav = torch.randn(2, 400)
    loaded = type(theirs).from_pretrained(path).eval()
    assert type(loaded) is type(theirs)
    assert torch.equal(loaded(wav), theirs(wav))
    ours = getattr(models, f"Upsampler{name}").from_pretrained(path).eval()
    assert type(ours).__name__ == f"Upsampler{name}"
    assert torch.equal(ours(wav), theirs(wav))


def test_files_with_code_are_still_refused(tmp_path):
    class Code:
        def __reduce__(self):
            return (print, ("run",))

    path = str(tmp_path / "code.pth")
    torch.save({"model_name": "ConvTasNet", "state_dict": {}, "model_args": Code()}, path)
    with pytest.raises(Exception, match="weights_only|Weights only"):
        asteroid.models.ConvTasNet.from_pretrained(path)
    with pytest.raises(UsageError, match="never run"):
        models.UpsamplerConvTasNet.from_pretrained(path)


def test_round_trip_in_a_fresh_process(tmp_path):
    _, ours = pair("ConvTasNet", upsampler="cubic", upsampler_kwargs={"coefficient": -0.5})
    torch.save(ours.serialize(), tmp_path / "ours.pth")
    wav = torch.randn(1, 300)
    torch.save((wav, ours(wav).detach()), tmp_path / "pair.pt")
    code = (
        "import sys, torch, asteroid_upsamplers\n"
        "from asteroid.models import BaseModel\n"
        "model = BaseModel.from_pretrained(sys.argv[1]).eval()\n"
        "wav, expected = torch.load(sys.argv[2])\n"
        "assert torch.equal(model(wav), expected)\n"
        "print(type(model).__name__, model.decoder.upsampler.coefficient)\n"
    )
    arguments = [sys.executable, "-c", code, tmp_path / "ours.pth", tmp_path / "pair.pt"]
    result = subprocess.run(arguments, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["UpsamplerConvTasNet", "-0.5"]


def test_separates_as_asteroids(tmp_path):
    theirs, ours = pair("ConvTasNet")
    wav = torch.randn(1, 4000)
    torch.testing.assert_close(ours.separate(wav), theirs.separate(wav))
    torch.testing.assert_close(ours.torch_separate(wav), theirs.torch_separate(wav))
    assert np.allclose(ours.separate(wav.numpy()), theirs.separate(wav.numpy()), atol=1e-6)
    soundfile.write(tmp_path / "mix.wav", wav[0].numpy() * 0.1, 8000)
    ours.file_separate(str(tmp_path / "mix.wav"))
    assert soundfile.info(tmp_path / "mix_est2.wav").frames == 4000


@pytest.mark.parametrize("upsampler", ["linear", "transposed", "haar"])
@pytest.mark.parametrize("name", ["SuDORMRFNet", "SuDORMRFImprovedNet"])
def test_the_maskers_upsamples_are_exchanged_too(name, upsampler):
    theirs, ours = pair(name, masker_upsampler=upsampler)
    assert any(isinstance(m, ChannelwiseUpsampler) for m in ours.masker.modules())
    wav = torch.randn(2, 400)
    if upsampler != "linear":
        torch.testing.assert_close(ours(wav), theirs(wav), atol=1e-5, rtol=1e-4)
    twin = type(ours).from_pretrained(ours.serialize()).eval()
    assert torch.equal(twin(wav), ours(wav))


class UNetTasNet(asteroid.models.base_models.BaseEncoderMaskerDecoder):
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
    assert asteroid.models.get("UpsamplerUNetTasNet") is cls
    assert with_upsampler(again) is asteroid.models.get("UpsamplerUNetTasNet") is not cls
    with_upsampler(UNetTasNet)


@pytest.mark.parametrize("fb_name", ["free", "stft", "analytic_free", "param_sinc"])
def test_filterbanks_of_every_kind(fb_name):
    settings = {**settings_of("ConvTasNet"), "n_filters": 32, "kernel_size": 32, "stride": 8}
    for upsampler in ("transposed", "nearest"):
        cls = models.UpsamplerConvTasNet
        model = cls(**settings, fb_name=fb_name, upsampler=upsampler).eval()
        twin = cls.from_pretrained(model.serialize()).eval()
        wav = torch.randn(2, 400)
        assert torch.equal(twin(wav), model(wav))


@pytest.mark.parametrize(
    ("cls", "arguments", "options"),
    [
        (asteroid.models.DeMask, (), {}),
        (asteroid.models.DCUNet, ("mini",), {"fix_length_mode": "pad"}),
    ],
)
def test_asteroids_other_models(cls, arguments, options):
    wav, made = torch.randn(1, 8000), []
    for family, more in ((cls, {}), (with_upsampler(cls), {"upsampler": "subpixel"})):
        torch.manual_seed(0)
        made.append(family(*arguments, **options, **more).eval())
    torch.testing.assert_close(made[1](wav), made[0](wav), atol=1e-5, rtol=1e-4)


def test_options_of_the_filterbank_go_through():
    settings = {**settings_of("ConvTasNet"), "n_filters": 32, "kernel_size": 33}
    model = models.UpsamplerConvTasNet(
        **settings, fb_name="param_sinc", min_low_hz=70, upsampler="linear"
    )
    assert model.encoder.filterbank.min_low_hz == 70


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"upsampler": "neerest"}, "did you mean nearest"),
        ({"n_filter": 3}, "UpsamplerConvTasNet: unknown option 'n_filter': did you mean n_filters"),
        ({"upsamplers": "nearest"}, "unknown option 'upsamplers': did you mean upsampler"),
        ({"min_low_hz": 3}, "unknown option 'min_low_hz'"),
        ({"in_channels": 3}, "unknown option 'in_channels'"),
        ({"upsampler": "haar", "stride": 6}, "stride is 6, allowed is a power of two"),
        ({"upsampler": "cubic", "upsampler_kwargs": {"slope": 1}}, "upsampler_kwargs of cubic"),
        ({"masker_upsampler": "linear"}, "TDConvNet: no nn.Upsample"),
        ({"masker_upsampler_kwargs": {"bias": True}}, "without a masker_upsampler"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(UsageError, match=words) as caught:
        models.UpsamplerConvTasNet(**{**settings_of("ConvTasNet"), **settings})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "cls", [models.DemucsLike, asteroid.models.XUMX, torch.nn.Linear, "ConvTasNet"], ids=str
)
def test_other_models_are_refused(cls):
    with pytest.raises(UsageError, match=r"no encoder/masker/decoder model; allowed are"):
        with_upsampler(cls)


def test_another_decoder_is_refused():
    class Odd(asteroid.models.ConvTasNet):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.decoder = torch.nn.Identity()

    with pytest.raises(UsageError, match=r"Odd: its decoder is a Identity, allowed"):
        with_upsampler(Odd)(**settings_of("ConvTasNet"))


def test_an_option_of_the_same_name_is_refused():
    class Taken(asteroid.models.ConvTasNet):
        def __init__(self, n_src, upsampler=None):
            super().__init__(n_src)

    with pytest.raises(UsageError, match="Taken has an option 'upsampler' already"):
        with_upsampler(Taken)


@pytest.mark.parametrize(("saved", "asked"), [("nearest", "linear"), ("transposed", "nearest")])
def test_weights_of_another_upsampler_are_refused(saved, asked, tmp_path):
    """Also where the shapes agree, and also by Asteroid's own loading."""
    _, ours = pair("ConvTasNet", upsampler=saved)
    path = str(tmp_path / "model.pth")
    torch.save(ours.serialize(), path)
    message = f"upsampler is '{asked}', the weights were saved with '{saved}'; allowed"
    with pytest.raises(UsageError, match=message) as caught:
        models.UpsamplerConvTasNet.from_pretrained(path, upsampler=asked)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=f"weights of upsampler {saved}, this model has {asked}"):
        BaseModel.from_pretrained(path, upsampler=asked)
    assert models.UpsamplerConvTasNet.from_pretrained(path, upsampler=saved)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            {"upsampler_kwargs": {"coefficient": -0.75}},
            "upsampler_kwargs is {'coefficient': -0.75}",
        ),
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


def test_an_asteroid_file_with_another_upsampler_is_refused(tmp_path):
    theirs, _ = pair("ConvTasNet")
    with pytest.raises(UsageError, match="saved with 'transposed'; allowed"):
        models.UpsamplerConvTasNet.from_pretrained(theirs.serialize(), upsampler="nearest")


def test_what_is_given_is_not_changed():
    theirs, _ = pair("ConvTasNet")
    package = theirs.serialize()
    before = copy.deepcopy(package["model_args"])
    models.UpsamplerConvTasNet.from_pretrained(package, upsampler="transposed")
    assert package["model_args"] == before
    assert package["model_name"] == "ConvTasNet"


def test_copies_and_pickles():
    _, ours = pair("ConvTasNet", upsampler="nearest")
    file = io.BytesIO()
    torch.save(ours, file)
    file.seek(0)
    wav = torch.randn(1, 300)
    for twin in (copy.deepcopy(ours), torch.load(file, weights_only=False)):
        assert torch.equal(twin(wav), ours(wav))
