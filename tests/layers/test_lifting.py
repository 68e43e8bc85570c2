"""Inverse wavelets by lifting, against the layers of the authors of [10], and as arithmetic."""

import numpy as np
import pytest
import torch

from asteroid_upsamplers import artifacts, layers
from asteroid_upsamplers.dsp.polyphase import filter_bank

TIME, MARGIN = 24, 8
SIZES = {"stages": 2, "predict_size": 5, "update_size": 3}


def learned(stride=2, **sizes):
    torch.manual_seed(0)
    layer = layers.Lifting(1, 1, stride, **sizes).double()
    for parameter in (layer.predict, layer.update):
        torch.nn.init.uniform_(parameter, -1, 1)
    return layer


def synthesised(layer, subbands):
    """What the steps alone make of ``(1, stride, time)``: ``(1, 1, time * stride)``."""
    padded = torch.nn.functional.pad(subbands, (layer.reach, layer.reach))
    return filter_bank(padded, layer.synthesis(torch.float64))[:, None].detach()


def some_subbands(stride=2):
    subbands = torch.randn(1, stride, TIME, dtype=torch.float64)
    subbands[..., :MARGIN], subbands[..., -MARGIN:] = 0, 0  # the steps go on beyond the ends
    return subbands


@pytest.mark.parametrize("sizes", [{}, SIZES], ids=str)
def test_the_authors_layer_takes_it_apart_again(sizes):
    """Only its analysis can be the oracle: version 1.0.2's own inverses do not undo it (one gives
    the odd samples first, the other scales the wrong way)."""
    dwtls = pytest.importorskip("dwtls.dwt_layers")
    layer, subbands = learned(**sizes), some_subbands()
    stage = {"predict_ksize": layer.predict_size, "update_ksize": layer.update_size}
    theirs = dwtls.WeightNormalizedMultiStageLWT([stage] * layer.stages).double()
    for index, own in enumerate(theirs.pu_stages):
        own._predict_weight.data.copy_(layer.predict[0, index])
        own._update_weight.data.copy_(layer.update[0, index])
    detail, approximation = theirs(synthesised(layer, subbands), no_concat=True)
    taken_apart = torch.cat([approximation, detail], 1)
    torch.testing.assert_close(taken_apart, subbands, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("wavelet", "predict", "update"),
    [("haar", [0, 1, 0], [0, 0.5, 0]), ("cdf22", [0.5, 0.5, 0], [0, 0.25, 0.25])],
)
def test_known_wavelets_are_the_authors(wavelet, predict, update):
    dwtls = pytest.importorskip("dwtls.dwt_layers")
    layer, subbands = layers.Lifting(1, 1, 2).double(), some_subbands()
    layer.predict.data[0, 0], layer.update.data[0, 0] = (
        torch.tensor(predict).double(),
        torch.tensor(update).double(),
    )
    detail, approximation = dwtls.DWT(wavelet).double()(
        synthesised(layer, subbands), no_concat=True
    )
    taken_apart = torch.cat([approximation, detail], 1)
    torch.testing.assert_close(taken_apart, subbands, rtol=0, atol=1e-6)


def analysed_by_hand(layer, y):
    """Predict, subtract, update, add, in numpy; step by step from the output rate down."""
    bands = [y]
    for step in reversed(layer.filters(torch.float64)):
        parts = []
        for band in bands:
            low, high = band[0::2], band[1::2]
            for predict, update in step:
                high = high - np.correlate(low, predict.detach().numpy(), "same")
                low = low + np.correlate(high, update.detach().numpy(), "same")
            parts += [low * np.sqrt(2), high / np.sqrt(2)]
        bands = parts
    return np.stack(bands)


@pytest.mark.parametrize("sizes", [{}, SIZES], ids=str)
def test_the_reconstruction_is_perfect_whatever_was_learned(sizes):
    layer, subbands = learned(4, **sizes), some_subbands(4)
    found = analysed_by_hand(layer, synthesised(layer, subbands)[0, 0].numpy())
    np.testing.assert_allclose(found, subbands[0].numpy(), atol=1e-12)


def test_only_details_make_tones():
    """The sums hold whatever was learned; without a detail a constant stays one."""
    layer = learned(8, **SIZES)
    assert artifacts.tone_levels(layer).tonal_fraction > 1e-3
    with torch.no_grad():
        layer.weight[1:], layer.bias[1:] = 0, 0
    assert artifacts.tone_levels(layer).tonal_fraction < 1e-12


def test_it_starts_as_haar_with_its_details_negated():
    layer, haar = layers.Lifting(3, 2, stride=8, kernel_size=3), layers.Haar(3, 2, stride=8)
    signs = torch.ones(8)
    signs[1::2] = -1
    for bits in (2, 4):
        signs *= torch.where(torch.arange(8) & bits != 0, -1, 1)
    rows = signs.repeat(2)
    with torch.no_grad():
        haar.weight.copy_(layer.weight * rows[:, None, None])
        haar.bias.copy_(layer.bias * rows)
    x = torch.randn(2, 3, 20)
    torch.testing.assert_close(layer(x), haar(x))
