"""Upsampling layers are found in networks that are not ours, with the right weights."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from asteroid_upsamplers import layers
from asteroid_upsamplers.artifacts import (
    measure_tone_levels,
    system_of,
    tone_levels,
)
from asteroid_upsamplers.probe import watching


class Shuffle(nn.Module):
    """A subpixel layer as vocoders have it: a convolution, and a reshape of one of many kinds."""

    def __init__(self, how, channels=3, stride=4):
        super().__init__()
        self.conv = nn.Conv1d(2, channels * stride, 3, padding=1)
        self.how, self.stride = how, stride

    def forward(self, x):
        y, s = self.conv(x), self.stride
        batch, channels, time = y.shape
        if self.how == "view":
            return (
                y.view(batch, channels // s, s, time)
                .permute(0, 1, 3, 2)
                .reshape(batch, -1, time * s)
            )
        if self.how == "transpose":
            return y.transpose(1, 2).reshape(batch, time * s, channels // s).transpose(1, 2)
        return y.unflatten(1, (s, -1)).permute(0, 2, 3, 1).flatten(2)


class Upsample(nn.Module):
    def __init__(self, mode, functional):
        super().__init__()
        self.mode, self.functional = mode, functional
        self.up = nn.Upsample(scale_factor=4, mode=mode)
        self.conv = nn.Conv1d(2, 3, 9, padding=4)

    def forward(self, x):
        up = F.interpolate(x, scale_factor=4, mode=self.mode) if self.functional else self.up(x)
        return self.conv(up)


class WeightNormed(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.up = norm(nn.ConvTranspose1d(2, 3, 8, 4, padding=2))

    def forward(self, x):
        return self.up(x)


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 1, 7))

    def forward(self, x):
        return F.conv_transpose1d(x.repeat(1, 2, 1), self.weight, None, 4, groups=4, dilation=1)


NETWORKS = {
    "transposed": lambda: nn.Sequential(nn.ConvTranspose1d(2, 3, 8, 4, padding=2), nn.ReLU()),
    "weight norm": lambda: WeightNormed(nn.utils.parametrizations.weight_norm),
    "old weight norm": lambda: WeightNormed(nn.utils.weight_norm),
    "functional": Functional,
    "dilated": lambda: nn.ConvTranspose1d(2, 3, 5, 4, dilation=3),
    "nearest": lambda: Upsample("nearest", functional=False),
    "linear, functional": lambda: Upsample("linear", functional=True),
    "shuffle, view": lambda: Shuffle("view"),
    "shuffle, transpose": lambda: Shuffle("transpose"),
    "shuffle, unflatten": lambda: Shuffle("unflatten"),
    **{name: lambda name=name: layers.get(name)(2, 3, 4) for name in layers.available()},
}
KINDS = {"weight norm": "transposed", "old weight norm": "transposed", "functional": "transposed"}
KINDS |= {"dilated": "transposed", "linear, functional": "linear"}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
def test_every_kind_is_found_with_its_weights(name):
    torch.manual_seed(0)
    network = NETWORKS[name]().double()
    with torch.no_grad(), watching(network) as calls:
        y = network(torch.randn(2, 2, 50, dtype=torch.float64))
    (call,) = calls
    assert call.kind == KINDS.get(name, name.split(",")[0].replace("shuffle", "subpixel"))
    assert (call.stride, call.time) == (4, y.shape[-1])
    linear = network[0] if isinstance(network, nn.Sequential) else network
    measured = measure_tone_levels(linear, 2, 4)
    assert call.tones().tonal_fraction == pytest.approx(measured.tonal_fraction, abs=1e-6)


def test_a_torch_layer_has_the_tones_of_ours():
    torch.manual_seed(0)
    theirs = nn.ConvTranspose1d(4, 5, 8, 4)
    ours = layers.Transposed(4, 5, 4)
    ours.load_state_dict(theirs.state_dict())
    assert max(tone_levels(theirs).differences(tone_levels(ours)).values()) < 1e-3
    torch.testing.assert_close(system_of(theirs).responses, system_of(ours).responses)


def test_two_dimensions():
    """Strides in frequency and in time; the time axis is the last."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.ConvTranspose2d(2, 3, (8, 4), (4, 2)), nn.UpsamplingNearest2d(scale_factor=2)
    )
    with torch.no_grad(), watching(network) as calls:
        network(torch.randn(1, 2, 10, 20))
    assert [(call.name, call.kind, call.stride) for call in calls] == [
        ("0", "transposed2d", 2),
        ("1", "nearest2d", 2),
    ]
    ones = network[0](torch.ones(1, 2, 30, 30))[0, :, 40:44, 20:22].detach().double()
    power, mean = ones.square().mean((1, 2)).sum(), ones.mean((1, 2)).square().sum()
    assert calls[0].tones().tonal_fraction == pytest.approx(float(1 - mean / power), abs=1e-5)
    assert calls[1].tones().tonal_fraction == 0


def test_names_come_from_the_network():
    network = nn.ModuleDict({"head": nn.Conv1d(1, 2, 3), "up": nn.ModuleList([Functional()])})

    def run(x):
        return network["up"][0](network["head"](x))

    with torch.no_grad(), watching(network) as calls:
        run(torch.randn(1, 1, 50))
        run(torch.randn(1, 1, 50))
    assert [call.name for call in calls] == ["up.0", "up.0#2"]


def test_what_does_not_upsample_is_left_alone():
    network = nn.Sequential(
        nn.Conv1d(2, 8, 3, padding=1),
        nn.Flatten(1),
        nn.Unflatten(1, (8, -1)),
        nn.ConvTranspose1d(8, 2, 3),
        nn.Upsample(scale_factor=0.5),
    )
    with torch.no_grad(), watching(network) as calls:
        network(torch.randn(1, 2, 64))
    assert calls == []


def test_an_output_can_be_changed():
    network = nn.Sequential(nn.ConvTranspose1d(1, 1, 4, 2), layers.Nearest(1, 1, 2))
    x = torch.randn(1, 1, 10)
    with torch.no_grad():
        with watching(network, lambda index, call, y: y * (index == 1)):
            silenced = network(x)
        assert torch.equal(silenced, network[1](torch.zeros(1, 1, 22)))
        assert not torch.equal(network(x), silenced)


def test_the_watch_ends_with_its_block():
    network = nn.ConvTranspose1d(1, 1, 4, 2)
    with pytest.raises(RuntimeError), watching(network) as calls:
        network(torch.randn(1, 3, 10))
    network(torch.randn(1, 1, 10))
    assert calls == []
