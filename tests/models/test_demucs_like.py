"""``DemucsLike``: the reference implementation, the sizes of Table 1, and [1] Fig. 9."""

import pytest
import torch

from asteroid_upsamplers.models import DemucsLike

SMALL = {"channels": 4, "depth": 3}
SOURCES = ["drums", "bass", "other", "vocals"]


def reference(channels, depth=6, **settings):
    demucs = pytest.importorskip("demucs.demucs")
    fixed = {"growth": 2, "rewrite": True, "lstm_layers": 2, "dconv_mode": 0, "norm_starts": 999}
    fixed |= {"gelu": False, "resample": False, "normalize": False, "context": 1}
    torch.manual_seed(0)
    return demucs.Demucs(SOURCES, channels=channels, depth=depth, **{**fixed, **settings}).eval()


@pytest.mark.parametrize(
    ("shape", "times"),
    [
        ({"channels": 8}, (1, 44100)),
        ({"channels": 8, "depth": 3, "resample": True}, (1, 2, 5001)),
        ({"channels": 8, "depth": 3, "resample": True, "kernel_size": 7, "stride": 2}, (1, 5001)),
    ],
    ids=str,
)
def test_reference_weights_give_the_reference_output(shape, times):
    theirs = reference(**shape)
    ours = DemucsLike(encoder_context=0, **shape).eval()
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        for time in times:
            x = torch.randn(2, 2, time)
            assert ours.valid_length(time) == theirs.valid_length(time)
            torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


def test_initial_scale_is_the_references():
    """[3]: weights are rescaled so that their deviation is sqrt(0.1 * initial deviation)."""
    torch.manual_seed(0)
    ours, theirs = DemucsLike(channels=16, encoder_context=0), reference(channels=16)
    pairs = [(b.downsample, o[0]) for b, o in zip(ours.encoder, theirs.encoder, strict=True)]
    pairs += [(b.rewrite, o[3]) for b, o in zip(ours.encoder, theirs.encoder, strict=True)]
    pairs += [(b.upsampler, o[3]) for b, o in zip(ours.decoder, theirs.decoder, strict=True)]
    for mine, other in pairs:
        assert float(mine.weight.std() / other.weight.std()) == pytest.approx(1, abs=0.15)
        assert float(mine.bias.abs().max() / other.bias.abs().max()) == pytest.approx(1, abs=0.5)


@pytest.mark.parametrize(
    ("settings", "millions"),
    [
        ({"encoder_context": 0}, 648.548208),  # of [3], exactly
        ({"upsampler": "transposed"}, 703.15),
        ({"upsampler": "nearest"}, 709.97),
        ({"upsampler": "linear", "upsampler_kwargs": {"kernel_size": 10}}, 716.79),
        ({"upsampler": "subpixel"}, 730.44),
    ],
    ids=str,
)
def test_sizes_of_table_1(settings, millions):
    with torch.device("meta"):
        model = DemucsLike(channels=100, **settings)
    count = sum(p.numel() for p in model.parameters()) / 1e6
    assert count == pytest.approx(millions, abs=0.0051 if millions > 700 else 1e-9)


@pytest.mark.parametrize("upsampler", ["transposed", "subpixel", "linear"])
def test_modified_is_silent_in_silence(upsampler):
    """[1] Fig. 9: with the modification silence gives silence; without it, it does not."""
    for modified in (False, True):
        model = DemucsLike(upsampler=upsampler, modified=modified, **SMALL)
        assert model(torch.zeros(1, 2, 3000)).any() != modified
        assert any("bias" in name for name, _ in model.named_parameters()) != modified
        assert isinstance(model.encoder[0].relu, torch.nn.ReLU) != modified
        assert isinstance(model.encoder[1].relu, torch.nn.ReLU)


@pytest.mark.parametrize(
    ("upsampler", "options"),
    [
        ("transposed", {"tone_free": True}),
        ("transposed", {"init": "constant", "trim": True}),
        ("subpixel", {"tone_free": True, "init": "icnr"}),
    ],
    ids=str,
)
def test_options_of_the_upsampler(upsampler, options):
    """They reach the layers, learn, and come back from a file."""
    model = DemucsLike(upsampler=upsampler, upsampler_kwargs=options, **SMALL)
    x = torch.randn(1, 2, 1000)
    model(x).square().mean().backward()
    twin = DemucsLike.from_pretrained(model.serialize())
    assert torch.equal(twin(x), model(x))
    for block in twin.decoder:
        assert options.items() <= block.upsampler.get_config().items()


def test_weights_do_not_know_the_form():
    x = torch.linspace(-1, 1, 4000).sin().double().expand(1, 2, -1)
    for upsampler in ("nearest", "linear", "transposed"):
        settings = {"upsampler": upsampler, **SMALL}
        oracle = DemucsLike(upsampler_kwargs={"form": "plain"}, **settings).double()
        for form in ("folded", "commuted"):
            model = DemucsLike(upsampler_kwargs={"form": form}, **settings).double()
            model.load_state_dict(oracle.state_dict())
            torch.testing.assert_close(model(x), oracle(x))


def test_upsampling_strides():
    """At twice the rate the last layer's tones lie twice as high."""
    assert DemucsLike(**SMALL).upsampling_strides == (4, 4, 4)
    assert DemucsLike(resample=True, **SMALL).upsampling_strides == (4, 4, 2)
