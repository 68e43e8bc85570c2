"""``DemucsLike``: the battery, the reference implementation, and the sizes of Table 1."""

import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from asteroid_upsamplers import layers
from asteroid_upsamplers.models import DemucsLike, load_model
from tests import contracts

SMALL = {"channels": 4, "depth": 3}
SOURCES = ["drums", "bass", "other", "vocals"]

variants = pytest.mark.parametrize(
    ("upsampler", "modified"),
    [(name, modified) for name in layers.available() for modified in (False, True)],
)


@variants
def test_round_trip(upsampler, modified):
    contracts.model_round_trip(DemucsLike(upsampler=upsampler, modified=modified, **SMALL))


@variants
def test_any_length(upsampler, modified):
    model = DemucsLike(upsampler=upsampler, modified=modified, **SMALL)
    contracts.model_keeps_length(model, [1, 2, 63, 64, 65, 1000, 4099])


@variants
def test_learns(upsampler, modified):
    torch.manual_seed(1)
    contracts.model_learns(DemucsLike(upsampler=upsampler, modified=modified, **SMALL))


@variants
def test_silence(upsampler, modified):
    """[1] Fig. 9: with the modification silence gives silence; without it, it does not."""
    y = DemucsLike(upsampler=upsampler, modified=modified, **SMALL)(torch.zeros(1, 2, 3000))
    assert (y.abs().max() == 0) == modified


@pytest.mark.parametrize(
    ("upsampler", "options"),
    [
        ("transposed", {"tone_free": True}),
        ("transposed", {"init": "constant", "trim": True}),
        ("subpixel", {"tone_free": True, "init": "icnr"}),
        ("sinc", {"zeros": 4, "form": "commuted"}),
        ("linear", {"padding_mode": "replicate"}),
    ],
    ids=str,
)
def test_options_of_the_upsampler(upsampler, options):
    settings = {"upsampler": upsampler, "upsampler_kwargs": options, **SMALL}
    contracts.model_round_trip(DemucsLike(**settings))
    torch.manual_seed(1)
    contracts.model_learns(DemucsLike(**settings))
    for block in DemucsLike(**settings).decoder:
        original = layers.get(upsampler)(**block.upsampler.get_config())
        expected = float(0.1 * original.weight.detach().std()) ** 0.5  # [3] Sec. 3.2
        assert float(block.upsampler.weight.detach().std()) == pytest.approx(expected, rel=0.3)


@pytest.mark.parametrize("upsampler", ["nearest", "linear", "transposed"])
def test_weights_do_not_know_the_form(upsampler):
    x = torch.linspace(-1, 1, 4000).sin().double().expand(1, 2, -1)
    settings = {"upsampler": upsampler, **SMALL}
    oracle = DemucsLike(upsampler_kwargs={"form": "plain"}, **settings).double()
    for form in ("folded", "commuted", "auto"):
        model = DemucsLike(upsampler_kwargs={"form": form}, **settings).double()
        model.load_state_dict(oracle.state_dict())
        torch.testing.assert_close(model(x), oracle(x))


def test_modified_has_no_bias_and_no_first_relu():
    model = DemucsLike(modified=True, **SMALL)
    assert not [name for name, _ in model.named_parameters() if "bias" in name]
    assert isinstance(model.encoder[0].relu, torch.nn.Identity)
    assert isinstance(model.encoder[1].relu, torch.nn.ReLU)
    assert isinstance(DemucsLike(**SMALL).encoder[0].relu, torch.nn.ReLU)


@pytest.mark.parametrize(("kernel_size", "stride"), [(4, 4), (8, 5), (7, 2)])
@variants
def test_other_kernels_and_strides(upsampler, modified, kernel_size, stride):
    if not layers.get(upsampler).allows_stride(stride):
        return
    settings = {"kernel_size": kernel_size, "stride": stride, **SMALL}
    model = DemucsLike(upsampler=upsampler, modified=modified, **settings)
    contracts.model_keeps_length(model, [1, 500, 777])


@pytest.mark.parametrize("mono", [1, 2])
@pytest.mark.parametrize("sources", [("a", "b"), ("one",)])
def test_other_sources_and_channels(mono, sources):
    model = DemucsLike(sources=sources, audio_channels=mono, **SMALL)
    assert model(torch.zeros(3, mono, 500)).shape == (3, len(sources), mono, 500)


def reference(channels, depth=6, **settings):
    demucs = pytest.importorskip("demucs.demucs")
    fixed = {
        "growth": 2,
        "rewrite": True,
        "lstm_layers": 2,
        "dconv_mode": 0,
        "norm_starts": 999,
        "gelu": False,
        "resample": False,
        "normalize": False,
        "context": 1,
    }
    return demucs.Demucs(SOURCES, channels=channels, depth=depth, **{**fixed, **settings})


@pytest.mark.parametrize("time", [1, 5000, 44100, 44101])
def test_reference_weights_give_the_reference_output(time):
    theirs = reference(channels=8).eval()
    ours = DemucsLike(channels=8, encoder_context=0).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 2, time)
    with torch.no_grad():
        assert ours.valid_length(time) == theirs.valid_length(time)
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [{}, {"kernel_size": 7, "stride": 2}], ids=str)
@pytest.mark.parametrize("time", [1, 2, 333, 5000, 5001])
def test_at_twice_the_rate_the_output_is_the_references_too(shape, time):
    theirs = reference(channels=8, depth=3, resample=True, **shape).eval()
    ours = DemucsLike(channels=8, depth=3, encoder_context=0, resample=True, **shape).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 2, time)
    with torch.no_grad():
        assert ours.valid_length(time) == theirs.valid_length(time)
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("upsampler", ["transposed", "subpixel", "linear"])
def test_battery_at_twice_the_rate(upsampler):
    model = DemucsLike(upsampler=upsampler, resample=True, **SMALL)
    contracts.model_round_trip(model)
    contracts.model_keeps_length(model, [1, 2, 63, 64, 65, 1000, 4099])
    torch.manual_seed(1)
    contracts.model_learns(DemucsLike(upsampler=upsampler, resample=True, **SMALL))


def test_files_from_before_resample_load_as_they_were(tmp_path):
    model = DemucsLike(**SMALL).eval()
    package = model.serialize()
    assert package["model_args"].pop("resample") is False
    torch.save(package, tmp_path / "model.pth")
    x = torch.randn(1, 2, 1000)
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path / "model.pth")(x), model(x))


def test_weights_of_the_first_releases_load_too():
    theirs = reference(channels=8).eval()
    old = {
        re.sub(r"^(..coder\.\d)\.3\.", r"\1.2.", key): value
        for key, value in theirs.state_dict().items()
    }
    ours = DemucsLike(channels=8, encoder_context=0)
    ours.load_state_dict(old)
    assert torch.equal(ours.decoder[0].upsampler.weight, theirs.decoder[0][3].weight)


def test_initial_scale_is_the_references():
    """[3]: weights are rescaled so that their deviation is sqrt(0.1 * initial deviation)."""
    torch.manual_seed(0)
    ours = DemucsLike(channels=16, encoder_context=0)
    theirs = reference(channels=16)
    for block, other in zip(ours.encoder, theirs.encoder, strict=True):
        for conv, expected in ((block.downsample, other[0]), (block.rewrite, other[3])):
            ratio = conv.weight.std() / expected.weight.std()
            assert ratio.item() == pytest.approx(1, abs=0.15)
    for block, other in zip(ours.decoder, theirs.decoder, strict=True):
        ratio = block.upsampler.weight.std() / other[3].weight.std()
        assert ratio.item() == pytest.approx(1, abs=0.15)
        assert block.upsampler.bias.abs().max() <= 1.2 * other[3].bias.abs().max() + 0.05


@pytest.mark.parametrize(
    ("settings", "millions"),
    [
        ({"upsampler": "transposed"}, 703),
        ({"upsampler": "nearest"}, 716),
        ({"upsampler": "linear"}, 716),
        ({"upsampler": "subpixel"}, 729),
        ({"upsampler": "transposed", "modified": True}, 703),
        ({"upsampler": "subpixel", "modified": True}, 729),
    ],
    ids=str,
)
def test_sizes_of_table_1(settings, millions):
    with torch.device("meta"):
        model = DemucsLike(channels=100, **settings)
    count = sum(p.numel() for p in model.parameters())
    assert count / 1e6 == pytest.approx(millions, rel=0.01)


def test_size_of_demucs_is_exact():
    with torch.device("meta"):
        model = DemucsLike(channels=100, encoder_context=0)
    assert sum(p.numel() for p in model.parameters()) == 648_548_208


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"upsampler": "neerest"}, "did you mean nearest"),
        ({"upsampler_kwargs": {"kernel": 9}}, "kernel"),
        ({"upsampler_kwargs": {"kernel_size": 2}}, "kernel_size is 2, allowed"),
        ({"upsampler_kwargs": {"kernel_size": 12}}, "longer outputs.*kernel_size up to 8"),
        ({"channels": 0}, "channels is 0, allowed"),
        ({"depth": 0}, "depth is 0, allowed"),
        ({"kernel_size": 3}, "kernel_size is 3, allowed is the stride"),
        ({"encoder_context": -1}, "encoder_context is -1, allowed"),
        ({"sources": ()}, "sources is empty"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message) as caught:
        DemucsLike(**setting)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(2, 100), (1, 1, 100), (1, 2, 0), (1, 1, 2, 100)])
def test_wrong_input_is_refused(shape):
    with pytest.raises(ValueError, match="is needed"):
        DemucsLike(**SMALL)(torch.zeros(shape))


def test_separate_is_the_network_in_stereo():
    model = DemucsLike(**SMALL).eval()
    x = torch.randn(1, 2, 1000)
    with torch.no_grad():
        expected = model(x)
    assert torch.equal(model.separate(x), expected)
    assert torch.equal(model.separate(x[0]), expected[0])
    np.testing.assert_array_equal(model.separate(x.numpy()), expected.numpy())
    assert torch.isfinite(model.separate(torch.zeros(1, 2, 1000))).all()
    with pytest.raises(ValueError, match=r"\(1, 1, 1000\)"):
        model.separate(x[:, :1])


def test_files_are_separated_in_stereo_at_their_own_level(tmp_path):
    model = DemucsLike(sources=("drums", "rest"), sample_rate=8000, **SMALL).eval()
    x = 2 * torch.randn(2, 4000)
    soundfile.write(tmp_path / "song.wav", x.T.numpy(), 8000, subtype="FLOAT")
    model.separate(str(tmp_path / "song.wav"), output_dir=str(tmp_path / "out"))
    expected = model.separate(x)
    for index, source in enumerate(("drums", "rest")):
        y, rate = soundfile.read(tmp_path / "out" / f"song_{source}.wav", dtype="float32")
        assert rate == 8000
        np.testing.assert_allclose(y.T, expected[index].numpy(), atol=1e-6)


def test_files_of_another_rate_are_resampled_only_if_asked(tmp_path):
    model = DemucsLike(sample_rate=8000, **SMALL)
    path = tmp_path / "song.wav"
    soundfile.write(path, np.random.default_rng(0).standard_normal((4410, 2)) / 10, 11025)
    with pytest.raises(ValueError, match="11025 Hz"):
        model.separate(str(path))
    model.separate(str(path), resample=True)
    info = soundfile.info(tmp_path / "song_drums.wav")
    assert (info.samplerate, info.frames, info.channels) == (11025, 4410, 2)
    (tmp_path / "broken.wav").write_bytes(b"RIFFnonsense")
    with pytest.raises(ValueError, match=r"broken\.wav: not readable"):
        model.separate(str(tmp_path / "broken.wav"))


def test_loads_by_name_in_a_fresh_process(tmp_path):
    torch.manual_seed(0)
    model = DemucsLike(upsampler="subpixel", **SMALL).eval()
    torch.save(model.serialize(), tmp_path / "model.pth")
    x = torch.linspace(-1, 1, 1000).repeat(1, 2, 1)
    with torch.no_grad():
        torch.save(model(x), tmp_path / "expected.pt")
    script = f"""
import torch, asteroid_upsamplers
from asteroid.models import BaseModel
model = BaseModel.from_pretrained({str(tmp_path / "model.pth")!r}).eval()
assert type(model).__name__ == "DemucsLike"
x = torch.linspace(-1, 1, 1000).repeat(1, 2, 1)
expected = torch.load({str(tmp_path / "expected.pt")!r}, weights_only=True)
with torch.no_grad():
    torch.testing.assert_close(model(x), expected)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)


class Payload:
    """Pickles into a call that would leave a mark."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (self.mark, "w"))


def test_pickled_code_is_refused_and_not_run(tmp_path):
    mark, path = tmp_path / "mark", tmp_path / "model.pth"
    package = DemucsLike(**SMALL).serialize()
    package["infos"]["note"] = Payload(str(mark))
    torch.save(package, path)
    with pytest.raises(ValueError, match="pickled code") as caught:
        load_model(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not mark.exists()


@pytest.mark.parametrize(
    "content", ["nothing", "text", "truncated", "flipped", "tensor", "checkpoint", "args"]
)
def test_what_is_no_model_file_is_named_in_one_line(tmp_path, content):
    path = tmp_path / "model.pth"
    package = DemucsLike(**SMALL).serialize()
    if content == "nothing":
        path.write_bytes(b"")
    elif content == "text":
        path.write_text("not a model\n" * 100)
    elif content == "truncated":
        torch.save(package, path)
        path.write_bytes(path.read_bytes()[:2000])
    elif content == "flipped":
        torch.save(package, path)
        bits = bytearray(path.read_bytes())
        bits[len(bits) // 2] ^= 1
        path.write_bytes(bits)
    elif content == "tensor":
        torch.save(torch.zeros(3), path)
    elif content == "checkpoint":
        torch.save({"state_dict": {}, "pytorch-lightning_version": "2.6"}, path)
    else:
        torch.save({**package, "model_args": {"upsampler": "neerest"}}, path)
    with pytest.raises(ValueError, match=r"model\.pth") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    if content == "checkpoint":
        assert "best_model.pth" in str(caught.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"missing\.pth: not a model file"):
        load_model(tmp_path / "missing.pth")
