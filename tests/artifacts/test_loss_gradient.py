"""Periodic gradients of losses: measured, in closed form, and the remedies."""

import pytest
import torch
from asteroid.losses import SingleSrcMultiScaleSpectral
from torch import nn
from torch.nn import functional as F

from asteroid_upsamplers.artifacts import (
    FeatureLoss,
    MultiScaleDiscriminator,
    PhaseShuffle,
    StridedFeatures,
    loss_gradient,
    strided_gradient,
)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(("kernel_size", "stride"), [(4, 4), (6, 4), (15, 4)])
def test_one_strided_convolution_is_known(power, kernel_size, stride):
    torch.manual_seed(0)
    conv = nn.Conv1d(1, 3, kernel_size, stride, bias=False)
    predicted = strided_gradient(conv.weight, stride, power)
    measured = loss_gradient(
        lambda a, b: (conv(a) - conv(b)).abs().pow(power).mean(), stride, repeats=40
    )
    assert predicted.modulation == pytest.approx(measured.modulation, abs=4 * measured.uncertainty)
    loud = zip(predicted.levels_db, measured.levels_db, strict=True)
    assert all(p == pytest.approx(m, abs=1) for p, m in loud if p > -30)


def test_uneven_overlap_is_periodic_even_for_ones():
    """[1] Sec. 2: the gradient is a transposed convolution, partial overlap makes it periodic."""
    uneven = strided_gradient(torch.ones(1, 1, 3), 2, 2)
    even = strided_gradient(torch.ones(1, 1, 4), 2, 2)
    assert uneven.modulation > 0.3
    assert even.modulation < 1e-12


@pytest.mark.parametrize(
    "loss",
    [F.l1_loss, lambda e, t: SingleSrcMultiScaleSpectral()(e[:, 0], t[:, 0]).mean()],
    ids=["L1", "multi-scale spectral"],
)
def test_losses_without_strided_convolutions_have_none(loss):
    found = loss_gradient(loss, period=16)
    assert found.modulation < 4 * found.uncertainty + 1e-6


def test_strided_features_have_it_and_stride_free_ones_do_not():
    torch.manual_seed(0)
    strided = loss_gradient(FeatureLoss(StridedFeatures()), period=16)
    free = loss_gradient(FeatureLoss(StridedFeatures(stride=1)), period=16)
    assert strided.modulation > 10 * strided.uncertainty
    assert free.modulation < 3 * free.uncertainty
    assert free.modulation < strided.modulation / 5


def test_phase_shuffle_helps():
    torch.manual_seed(0)
    plain = StridedFeatures()
    shuffled = StridedFeatures(phase_shuffle=8)
    shuffled.load_state_dict(plain.state_dict())
    before = loss_gradient(FeatureLoss(plain), period=16)
    after = loss_gradient(FeatureLoss(shuffled), period=16, repeats=32)
    assert after.modulation < before.modulation / 2


@pytest.mark.slow
def test_the_discriminator_of_melgan():
    torch.manual_seed(0)
    before = loss_gradient(FeatureLoss(MultiScaleDiscriminator(4)), period=16, time=2**14)
    assert before.modulation > 5 * before.uncertainty


def test_phase_shuffle_shifts_and_reflects():
    x = torch.arange(10.0).expand(50, 1, -1)
    torch.manual_seed(0)
    shuffled = PhaseShuffle(2)(x)
    around = F.pad(x[:1], (2, 2), mode="reflect")[0, 0]
    allowed = [around[k : k + 10].tolist() for k in range(5)]
    found = [row[0].tolist() for row in shuffled]
    assert all(row in allowed for row in found)
    assert len({tuple(row) for row in found}) == 5
    assert torch.equal(PhaseShuffle(2).eval()(x), x)


def test_the_discriminator_has_the_published_size():
    """Three scales of the reference implementation's layers: 16.9 M parameters in weight norm."""
    features = MultiScaleDiscriminator()(torch.randn(1, 1, 8192))
    assert len(features) == 21
    assert [f.shape[1] for f in features[:7]] == [16, 64, 256, 1024, 1024, 1024, 1]
    assert [f.shape[2] for f in features[:7]] == [8192, 2048, 512, 128, 32, 32, 32]
    assert features[7].shape[2] == 4096
