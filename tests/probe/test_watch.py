"""Upsampling layers are found in networks that are not ours, with the right filters."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from asteroid_upsamplers import layers
from asteroid_upsamplers.probe import watching
from asteroid_upsamplers.probe.feed import Feed
from asteroid_upsamplers.probe.watch import upsampling_calls

from .networks import Functional, Interpolation, Subpixel

NETWORKS = {
    "transposed": lambda: nn.ConvTranspose1d(2, 3, 8, 4, padding=2),
    "transposed, dilated": lambda: nn.ConvTranspose1d(2, 3, 5, 4, dilation=3),
    "transposed, function": Functional,
    "transposed, norm": lambda: nn.utils.parametrizations.weight_norm(
        nn.ConvTranspose1d(2, 3, 8, 4)
    ),
    "transposed, old norm": lambda: nn.utils.weight_norm(nn.ConvTranspose1d(2, 3, 8, 4)),
    "nearest": lambda: Interpolation("nearest"),
    "nearest, alone": lambda: nn.Upsample(scale_factor=4),
    "linear": lambda: Interpolation("linear"),
    "linear, groups": lambda: Interpolation("linear", groups=2, bias=False),
    "linear, dilated": lambda: Interpolation("linear", dilation=3),
    "subpixel, view": lambda: Subpixel("view"),
    "subpixel, transpose": lambda: Subpixel("transpose"),
    "subpixel, unflatten": lambda: Subpixel("unflatten"),
    "subpixel, groups": lambda: Subpixel("view", groups=2),
    **{name: lambda n=name: layers.get(n)(2, 3, stride=4) for name in ("cubic", "haar")},
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
@torch.no_grad()
def test_each_kind_is_found_as_the_linear_system_that_it_is(name):
    """Against impulses, and zeros, through the network itself."""
    torch.manual_seed(0)
    network = NETWORKS[name]().double()
    with watching(network) as calls:
        steady = network(torch.zeros(1, 2, 41).double())[0]
        impulses = network(torch.eye(2).double()[:, :, None] * (torch.arange(41) == 20)) - steady
    call, _ = calls
    assert (call.kind, call.stride, call.time) == (name.split(",")[0], 4, steady.shape[1])
    system = call.system()
    responses = torch.zeros(2, *steady.shape[:1], system.responses.shape[2]).double()
    for group, block in enumerate(system.responses.chunk(system.groups)):
        inputs = slice(group * block.shape[1], (group + 1) * block.shape[1])
        outputs = slice(group * len(block), (group + 1) * len(block))
        responses[inputs, outputs] = block.transpose(0, 1)
    torch.testing.assert_close(trimmed(responses), trimmed(impulses))
    offsets = steady[:, 80:84].sort(1).values  # up to a rotation
    torch.testing.assert_close(system.offsets.sort(1).values, offsets)


def trimmed(responses):
    """Without the samples that are zero in all responses at the start and the end."""
    used = (responses.abs() > 1e-9).any(0).any(0).nonzero()
    return responses[..., int(used.min()) : int(used.max()) + 1]


@torch.no_grad()
def test_two_dimensions():
    """Strides along frequency and time (the last axis); tones are what changes in time."""
    torch.manual_seed(0)
    transposed = nn.ConvTranspose2d(2, 4, (7, 4), (4, 2), groups=2)
    network = nn.Sequential(
        transposed,
        nn.UpsamplingBilinear2d(scale_factor=2),
        nn.Upsample(scale_factor=2, mode="bicubic"),
    )
    with watching(network) as calls:
        network(torch.randn(1, 2, 10, 20))
    found = [(call.name, call.kind, call.stride) for call in calls]
    assert found == [("0", "transposed2d", 2), ("1", "linear2d", 2), ("2", "cubic2d", 2)]
    rows = transposed(torch.ones(1, 2, 30, 30))[0, :, 40:44, 20:22].double().flatten(0, 1)
    tonal = 1 - rows.mean(1).square().sum() / rows.square().mean(1).sum()
    assert calls[0].tones().tonal_fraction == pytest.approx(float(tonal), abs=1e-5)
    assert calls[1].tones() is None  # corners aligned: no stride, so nothing is known
    assert calls[2].tones().tonal_fraction < 1e-12


def test_what_stands_between_an_interpolation_and_a_convolution_counts():
    """In place or not; and of two convolutions neither is taken for the layer's own."""
    long, short = nn.Conv1d(2, 1, 9, padding=4), nn.Conv1d(2, 1, 1)
    ways = {
        "convolution": lambda up: long(up),
        "ReLU": lambda up: long(up.relu()),
        "in place": lambda up: long(up.relu_()),
        "two": lambda up: long(up) + short(up),
        "two, turned": lambda up: short(up) + long(up),
    }
    lengths = {}
    for name, way in ways.items():
        with torch.no_grad(), watching(way) as calls:
            way(F.interpolate(torch.randn(1, 2, 40), scale_factor=4))
        found = calls[0].system().responses.abs().sum((0, 1))
        lengths[name] = int((found > 0).sum())
    assert lengths.pop("convolution") == 12
    assert set(lengths.values()) == {4}


def test_a_shuffle_behind_a_change_in_place_is_not_read_as_linear():
    layer = Subpixel("view")
    layer.conv.register_forward_hook(lambda module, args, y: y.relu_())
    with torch.no_grad(), watching(layer) as calls:
        layer(torch.randn(1, 2, 40))
    assert [(call.kind, call.stride, call.tones()) for call in calls] == [("subpixel", 4, None)]


def test_names_come_from_the_network():
    network = nn.ModuleDict({"head": nn.Conv1d(1, 2, 3), "up": nn.ModuleList([Functional()])})
    with torch.no_grad(), watching(network) as calls:
        for _ in range(2):
            network["up"][0](network["head"](torch.randn(1, 1, 50)))
    assert [call.name for call in calls] == ["up.0", "up.0#2"]


def test_what_does_not_upsample_is_left_alone():
    network = nn.Sequential(
        nn.Conv1d(2, 8, 3, padding=1),
        nn.Flatten(1),
        nn.Unflatten(1, (8, -1)),
        nn.ConvTranspose1d(8, 2, 3),
        nn.Upsample(scale_factor=0.5),
        layers.Nearest(2, 2, stride=1),
    )
    with torch.no_grad(), watching(network) as calls:
        network(torch.randn(1, 2, 64))
    assert calls == []


def written_in_part(x):
    y = x.new_zeros(1, 1, 4 * x.shape[2])
    y[..., 1::4] = x
    return y


def added_in_place(x):
    places = torch.arange(0, 4 * x.shape[2], 4)
    return x.new_zeros(1, 1, 4 * x.shape[2]).index_add_(2, places, x)


@torch.no_grad()
def test_an_output_can_be_changed():
    """That of a module, of an operation, a view, and what was written in place, in part or not."""
    stack = nn.Sequential(nn.ConvTranspose1d(1, 1, 4, 2), layers.Nearest(1, 1, stride=2))
    ways = {
        "layer": (stack, lambda x: stack[1](3 * stack[0](x))),
        "view": (lambda x: x.mT.expand(1, -1, 4).flatten(1)[:, None], None),
        "in place": (added_in_place, None),
        "part": (written_in_part, None),
    }
    for name, (way, changed) in ways.items():
        feed = Feed(way, torch.randn(1, 1, 400), 0)
        op = upsampling_calls(feed.trace, feed.shorter)[0].op
        expected = changed(feed.noise)[0] if changed else 3 * way(feed.noise)[0]
        assert torch.allclose(feed.run(1, {op: lambda y: 3 * y}), expected.double()), name


def test_the_watch_ends_with_its_block():
    network = nn.ConvTranspose1d(1, 1, 4, 2)
    with pytest.raises(RuntimeError), watching(network) as calls:
        network(torch.randn(1, 3, 10))
    network(torch.randn(1, 1, 10))
    assert calls == []
    assert not nn.modules.module._global_forward_pre_hooks
    assert not nn.modules.module._global_forward_hooks
