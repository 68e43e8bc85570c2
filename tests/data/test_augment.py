"""Augmentation: laws that hold for every batch, and the same numbers for the same seed."""

import pytest
import torch

from asteroid_upsamplers.data import Augment, seeded
from asteroid_upsamplers.data.augment import FlipChannels, FlipSign, Gain, Remix, Shift
from asteroid_upsamplers.errors import UsageError


@pytest.fixture
def batch():
    """(batch, source, channel, time) in which every sample is different."""
    return torch.arange(1.0, 8 * 4 * 2 * 50 + 1).reshape(8, 4, 2, 50)


def test_signs_are_flipped_for_whole_sources(batch):
    ratio = FlipSign()(batch, seeded(0)) / batch
    assert set(ratio.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(ratio, ratio[..., :1, :1].expand_as(ratio))


def test_channels_are_flipped_for_whole_sources(batch):
    y = FlipChannels()(batch, seeded(0))
    flipped = (y != batch).flatten(2).any(-1)
    assert 0 < flipped.sum() < 32
    assert torch.equal(y[flipped], batch[flipped].flip(1))
    assert torch.equal(y[~flipped], batch[~flipped])


def test_gain_is_uniform_within_its_limits():
    ones = torch.ones(500, 4, 2, 3)
    y = Gain(0.25, 1.25)(ones, seeded(0))
    assert torch.equal(y, y[..., :1, :1].expand_as(y))
    gains = y[..., 0, 0].flatten()
    assert 0.25 <= gains.min() < 0.26
    assert 1.24 < gains.max() <= 1.25
    assert gains.mean().item() == pytest.approx(0.75, abs=0.03)


def test_shift_cuts_each_source_at_its_own_place(batch):
    y = Shift(20)(batch, seeded(0))
    assert y.shape == (8, 4, 2, 30)
    starts = y[..., 0, 0] - batch[..., 0, 0]
    assert torch.equal(y, batch[..., :30] + starts[..., None, None])
    assert starts.min() >= 0
    assert starts.max() <= 20
    assert starts.unique().numel() > 5
    assert torch.equal(Shift(0)(batch, seeded(0)), batch)


@pytest.mark.parametrize(("size", "group"), [(8, 4), (8, 3), (5, 4), (8, 1), (3, 8)])
def test_remix_exchanges_sources_within_groups(batch, size, group):
    batch = batch[:size]
    y = Remix(group)(batch, seeded(1))
    for first in range(0, size, group):
        for source in range(4):
            before = batch[first : first + group, source]
            after = y[first : first + group, source]
            assert torch.equal(after.sort(0).values, before)
    assert torch.equal(y, batch) == (group == 1)


def test_remix_mixes_sources_of_different_items(batch):
    origin = Remix(4)(batch, seeded(1))[..., 0, 0] // 400
    assert any(row.unique().numel() > 1 for row in origin)


def test_the_schema_is_repeatable_and_new_for_every_batch(batch):
    augment = Augment(10)
    first = augment(batch, seeded(0, 1, 2))
    assert first.shape == (8, 4, 2, 40)
    assert torch.equal(first, augment(batch, seeded(0, 1, 2)))
    for other in ((0, 1, 3), (0, 2, 2), (1, 1, 2), (1, 0, 2)):
        assert not torch.equal(first, augment(batch, seeded(*other)))


def test_everything_can_be_switched_off(batch):
    off = Augment(0, flip_sign=False, flip_channels=False, remix_group=1, gain_min=1, gain_max=1)
    assert torch.equal(off(batch, seeded(0)), batch)


@pytest.mark.parametrize(
    "settings", [{"gain_min": 2.0}, {"gain_min": -1.0}, {"remix_group": 0}], ids=str
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(UsageError, match="must be"):
        Augment(10, **settings)
