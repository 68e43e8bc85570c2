"""``SamsNet``: size, sliced attention against a loop, masks, the battery of models."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from asteroid_upsamplers import layers
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models.sams_net import SamsNet, SlicedAttention
from tests import contracts

SMALL = {
    "n_fft": 256,
    "hop_length": 64,
    "channels": 4,
    "n_heads": 2,
    "n_blocks": 2,
    "slice_frames": 8,
}

upsamplers = pytest.mark.parametrize("upsampler", layers.available())


def count(**settings):
    with torch.device("meta"):
        model = SamsNet(**settings)
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("sources", [("drums", "bass", "other", "vocals"), ("vocals",)], ids=len)
@upsamplers
def test_published_size(upsampler, sources):
    """3.7 M, whether the paper counts one source or four."""
    assert count(upsampler=upsampler, sources=sources) == pytest.approx(3.7e6, rel=0.05)


def test_size_that_the_docstring_states():
    assert count() == 3_772_472
    assert count(sources=("vocals",)) == 3_770_162


def attention_by_loops(layer, x):
    """Slice by slice, head by head, point by point."""
    batch, channels, rows, frames = x.shape
    size = channels // layer.n_heads
    weights = layer.queries_keys_values.weight.split(channels)
    y = torch.zeros_like(x)
    for example in range(batch):
        for start in range(0, frames, layer.slice_frames):
            stop = min(start + layer.slice_frames, frames)
            points = [(row, frame) for row in range(rows) for frame in range(start, stop)]
            values = torch.stack([x[example, :, row, frame] for row, frame in points])
            heads = []
            for head in range(layer.n_heads):
                part = slice(head * size, (head + 1) * size)
                query, key, value = (values @ weight[part].T for weight in weights)
                scores = torch.stack([(key @ q) / size**0.5 for q in query])
                shares = scores.exp() / scores.exp().sum(1, keepdim=True)
                heads.append(shares @ value)
            mixed = torch.cat(heads, 1) @ layer.output.weight.T + layer.output.bias
            for (row, frame), point in zip(points, mixed, strict=True):
                y[example, :, row, frame] = point
    return y


@pytest.mark.parametrize(
    ("n_heads", "slice_frames", "frames"), [(1, 4, 8), (2, 4, 9), (3, 5, 14), (6, 7, 3), (2, 1, 4)]
)
def test_attention_is_that_of_a_loop(n_heads, slice_frames, frames):
    layer = SlicedAttention(6, n_heads, slice_frames).double()
    x = torch.randn(2, 6, 3, frames, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), attention_by_loops(layer, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("changed", range(3))
def test_attention_stays_within_its_slice(changed):
    """What happens in one slice is heard at all its points, and at none of another's."""
    layer = SlicedAttention(6, 2, slice_frames=4).double()
    x = torch.randn(1, 6, 3, 10, dtype=torch.float64)  # the last slice has 2 frames
    other = x.clone()
    other[..., 1, 4 * changed] += 1
    with torch.no_grad():
        differs = (layer(x) != layer(other)).any(1).flatten(0, 1)
    expected = torch.zeros(3, 10, dtype=torch.bool)
    expected[:, 4 * changed : 4 * changed + 4] = True
    assert torch.equal(differs, expected)


def test_work_grows_with_the_length_and_not_its_square():
    model = SamsNet(**SMALL).eval()

    def work(slices):
        frames = slices * SMALL["slice_frames"]
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter, sdpa_kernel(SDPBackend.MATH):
            model.masks(torch.rand(1, 2, model.bins, frames))
        return counter.get_total_flops()

    assert work(6) == 6 * work(1)


@pytest.mark.parametrize(
    ("n_fft", "hop_length"),
    [(256, 64), (256, 128), (256, 100), (256, 1), (4, 2), (4096, 1024), (4096, 2048)],
)
@pytest.mark.parametrize("time", [1, 63, 64, 127, 500, 2047])
def test_masks_of_ones_give_the_mixture(n_fft, hop_length, time):
    model = SamsNet(**{**SMALL, "n_fft": n_fft, "hop_length": hop_length}).double()
    x = torch.randn(2, 2, time, dtype=torch.float64)
    spectrogram = model.spectrogram(x)
    ones = torch.ones(2, 4, *spectrogram.shape[1:], dtype=torch.float64)
    y = model.apply_masks(ones, spectrogram, time)
    torch.testing.assert_close(y, x[:, None].expand_as(y), rtol=0, atol=1e-12)


def test_masks_are_what_the_network_gives_to_each_source(monkeypatch):
    """Source ``i`` gets its gain of the mixture, and the other channel gets none of it."""
    model = SamsNet(**SMALL)
    x = torch.randn(2, 2, 1000)
    shape = model.masks(model.spectrogram(x).abs()).shape
    assert shape == (2, 4, 2, 129, 17)
    gains = torch.rand(1, 4, 2, 1, 1)
    monkeypatch.setattr(model, "masks", lambda magnitude: gains.expand(shape))
    torch.testing.assert_close(model(x), x[:, None] * gains[..., 0], rtol=0, atol=1e-5)


def test_masks_are_between_none_and_all():
    torch.manual_seed(0)
    model = SamsNet(**SMALL).eval()
    with torch.no_grad():
        model.mask_layers[-1].upsampler.weight *= 1000
        masks = model.masks(torch.rand(1, 2, model.bins, 20))
    assert 0 <= masks.min() < 1e-3 and 0.999 < masks.max() <= 1


@pytest.mark.parametrize("level", [0, 1])
def test_features_of_both_finer_levels_reach_the_masks(level):
    """Where nothing comes from below, the masks follow the features of the level itself."""
    torch.manual_seed(0)
    model = SamsNet(**SMALL).double()
    with torch.no_grad():
        model.mask_layers[level].upsampler.weight.zero_()
        masks = model.masks(torch.rand(1, 2, model.bins, 20, dtype=torch.float64))
    assert masks.std(-1).min() > 1e-6


def test_masks_follow_the_pitch():
    """Without the learned constants of the rows the inner rows of a flat spectrum are alike."""
    torch.manual_seed(0)
    model = SamsNet(**{**SMALL, "n_fft": 8192}).double()
    flat = torch.ones(1, 2, model.bins, 8, dtype=torch.float64)

    def inner():
        return model.masks(flat)[..., 1024:3072:64, :]

    with torch.no_grad():
        model.pitch.normal_()
        assert inner().std(-2).max() > 1e-6
        model.pitch.zero_()
        assert inner().std(-2).max() < 1e-12


def test_files_hold_what_is_learned_only():
    model = SamsNet(**SMALL)
    assert model.state_dict().keys() == dict(model.named_parameters()).keys()


@upsamplers
def test_round_trip(upsampler):
    contracts.model_round_trip(SamsNet(upsampler=upsampler, **SMALL))


@upsamplers
def test_any_length(upsampler):
    contracts.model_keeps_length(SamsNet(upsampler=upsampler, **SMALL), [1, 100, 5000])


@upsamplers
def test_learns(upsampler):
    torch.manual_seed(1)
    contracts.model_learns(SamsNet(upsampler=upsampler, **SMALL))


@pytest.mark.parametrize("audio_channels", [1, 3])
@pytest.mark.parametrize("sources", [("a", "b"), ("one",)])
def test_other_sources_and_channels(audio_channels, sources):
    model = SamsNet(sources=sources, audio_channels=audio_channels, **SMALL)
    assert model(torch.randn(3, audio_channels, 500)).shape == (
        3,
        len(sources),
        audio_channels,
        500,
    )


@pytest.mark.parametrize("normalize", [False, True])
def test_silence_gives_silence(normalize):
    model = SamsNet(normalize=normalize, **SMALL)
    x = torch.zeros(1, 2, 3000)
    y = model(x)
    assert torch.count_nonzero(y) == 0
    assert torch.count_nonzero(model.separate(x)) == 0
    y.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_the_whole_model_runs_in_double_precision():
    model = SamsNet(**SMALL)
    x = torch.randn(1, 2, 1000)
    with torch.no_grad():
        y = model(x)
        exact = model.double()(x.double())
    assert exact.dtype == torch.float64
    torch.testing.assert_close(y.double(), exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"upsampler": "neerest"}, "did you mean nearest"),
        ({"upsampler_kwargs": {"size": 3}}, "upsampler_kwargs .* of transposed"),
        ({"upsampler_kwargs": {"trim": False}}, "upsampler_kwargs is .*allowed"),
        ({"upsampler_kwargs": {"kernel_size": 2}}, "kernel_size is 2, allowed"),
        ({"audio_channels": 0}, "audio_channels is 0, allowed"),
        ({"channels": 0}, "channels is 0, allowed"),
        ({"n_heads": 0}, "n_heads is 0, allowed"),
        ({"n_heads": 5}, r"n_heads is 5, allowed is a divisor of 4 \* channels \(192\)"),
        ({"n_blocks": 0}, "n_blocks is 0, allowed"),
        ({"slice_frames": 0}, "slice_frames is 0, allowed"),
        ({"n_fft": 2}, "n_fft is 2, allowed"),
        ({"n_fft": 4095}, "n_fft is 4095, allowed is an even number"),
        ({"hop_length": 0}, "hop_length is 0, allowed"),
        ({"hop_length": 2049}, r"hop_length is 2049, allowed is 1 to half of n_fft \(2048\)"),
        ({"sources": ()}, "sources is empty"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(UsageError, match=words) as caught:
        SamsNet(**settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(2, 100), (1, 1, 100), (1, 2, 0), (1, 1, 2, 100)])
def test_wrong_input_is_refused(shape):
    with pytest.raises(ValueError, match="is needed"):
        SamsNet(**SMALL)(torch.zeros(shape))
