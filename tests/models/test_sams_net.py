"""``SamsNet``: size, sliced attention against a loop, masks."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from asteroid_upsamplers.models.sams_net import SamsNet
from asteroid_upsamplers.models.sliced_attention import SlicedAttention

SMALL = {"n_fft": 256, "hop_length": 64, "channels": 4, "n_heads": 2, "n_blocks": 2}
SMALL |= {"slice_frames": 8}


def test_published_size():
    """3.7 M ([1] Table 1), whether the paper counts one source or four."""
    for settings, count in (({}, 3_772_472), ({"sources": ("vocals",)}, 3_770_162)):
        with torch.device("meta"):
            model = SamsNet(**settings)
        assert sum(p.numel() for p in model.parameters()) == count
        assert set(model.state_dict()) == set(dict(model.named_parameters()))


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
                heads.append(scores.exp() / scores.exp().sum(1, keepdim=True) @ value)
            mixed = torch.cat(heads, 1) @ layer.output.weight.T + layer.output.bias
            for (row, frame), point in zip(points, mixed, strict=True):
                y[example, :, row, frame] = point
    return y


@pytest.mark.parametrize(("n_heads", "slice_frames", "frames"), [(2, 4, 9), (6, 7, 3), (2, 1, 4)])
def test_attention_is_that_of_a_loop(n_heads, slice_frames, frames):
    layer = SlicedAttention(6, n_heads, slice_frames).double()
    x = torch.randn(2, 6, 3, frames, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), attention_by_loops(layer, x), rtol=0, atol=1e-12)


def test_work_grows_with_the_length_and_not_its_square():
    model = SamsNet(**SMALL).eval()

    def work(slices):
        frames = slices * SMALL["slice_frames"]
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter, sdpa_kernel(SDPBackend.MATH):
            model.masks(torch.rand(1, 2, model.bins, frames))
        return counter.get_total_flops()

    assert work(6) == 6 * work(1)


@pytest.mark.parametrize(("n_fft", "hop_length"), [(256, 64), (256, 100), (4, 2), (4096, 2048)])
def test_masks_of_ones_give_the_mixture(n_fft, hop_length):
    model = SamsNet(**{**SMALL, "n_fft": n_fft, "hop_length": hop_length}).double()
    for time in (1, 127, 2047):
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


@torch.no_grad()
def test_masks_follow_both_finer_levels_and_lie_between_none_and_all():
    """Where nothing comes from below, the masks follow the features of the level itself."""
    torch.manual_seed(0)
    model = SamsNet(**SMALL).double()
    spectrum = torch.rand(1, 2, model.bins, 20, dtype=torch.float64)
    for level in (0, 1):
        model.mask_layers[level].upsampler.weight.zero_()
        assert model.masks(spectrum).std(-1).min() > 1e-6
    model.mask_layers[-1].upsampler.weight.mul_(1e5)
    masks = model.masks(spectrum)
    assert 0 <= masks.min() < 1e-3
    assert 0.999 < masks.max() <= 1


@torch.no_grad()
def test_masks_follow_the_pitch():
    """Without the learned constants of the rows the inner rows of a flat spectrum are alike."""
    torch.manual_seed(0)
    model = SamsNet(**{**SMALL, "n_fft": 8192}).double()
    flat = torch.ones(1, 2, model.bins, 8, dtype=torch.float64)
    model.pitch.normal_()
    assert model.masks(flat)[..., 1024:3072:64, :].std(-2).max() > 1e-6
    model.pitch.zero_()
    assert model.masks(flat)[..., 1024:3072:64, :].std(-2).max() < 1e-12


def test_silence_gives_silence_and_finite_gradients():
    model = SamsNet(normalize=True, **SMALL)
    y = model(torch.zeros(1, 2, 3000))
    assert not y.any()
    assert not model.separate(torch.zeros(1, 2, 3000)).any()
    y.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
