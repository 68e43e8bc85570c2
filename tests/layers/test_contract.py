"""Every family passes the public battery, which rejects layers that break the contract."""

import dataclasses
import inspect

import pytest
import torch
from torch.nn import functional as F

from asteroid_upsamplers import layers
from asteroid_upsamplers.testing import IN, check_upsampler


@pytest.mark.parametrize("name", layers.available())
def test_a_family_as_it_comes(name):
    check_upsampler(layers.get(name))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("transposed", {"tone_free": True}),
        ("transposed", {"tone_free": True, "form": "folded"}),
        ("transposed", {"init": "constant", "form": "commuted"}),
        ("transposed", {"trim": False}),
        ("transposed", {"trim": False, "form": "folded"}),
        ("subpixel", {"init": "icnr"}),
        ("subpixel", {"tone_free": True}),
        ("nearest", {"form": "folded"}),
        ("nearest", {"form": "commuted", "padding_mode": "replicate"}),
        ("linear", {"form": "folded", "padding_mode": "reflect"}),
        ("cubic", {"form": "commuted", "coefficient": -0.5}),
        ("sinc", {"form": "folded", "zeros": 4, "rolloff": 0.8}),
        ("hold", {"order": 2, "form": "folded"}),
        ("resample", {"kernel_size": 3, "zeros": 2}),
        ("linear", {"kernel_size": "mac_neutral"}),
    ],
    ids=str,
)
def test_a_family_with_further_settings(name, settings):
    check_upsampler(layers.get(name), settings, compiled=settings.get("form") == "commuted")


@pytest.mark.parametrize(
    ("name", "settings"),
    [("resample", {"side_kernel_size": 7}), ("lifting", {"stages": 2, "predict_size": 5})],
)
def test_a_family_that_has_learned(name, settings):
    """What starts at zero, or as a known wavelet, holds other values later."""
    family = layers.get(name)

    class Learned(family):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            for own in {"side_weight", "predict", "update"} & dict(self.named_parameters()).keys():
                torch.nn.init.uniform_(getattr(self, own), -0.5, 0.5)

    Learned.__signature__ = inspect.signature(family)
    check_upsampler(Learned, settings, compiled=False)


class FilterFirst(layers.Upsampler):
    """A convolution at the input rate, then an interpolation: a layer as a user would write it."""

    name = "filter_first"

    def __init__(
        self, in_channels, out_channels, stride, kernel_size=None, bias=True, mode="linear"
    ):
        kernel_size = 3 if kernel_size is None else kernel_size
        super().__init__(in_channels, out_channels, stride, kernel_size, bias)
        self.mode = mode
        self.make_parameters((out_channels, in_channels, kernel_size), out_channels)

    def filtered(self, x, weight=None):
        x = F.pad(x, ((self.kernel_size - 1) // 2, self.kernel_size // 2))
        return F.conv1d(x, self.weight if weight is None else weight, self.bias)

    def interpolated(self, x):
        return F.interpolate(x, scale_factor=self.stride, mode=self.mode)

    def upsample(self, x):
        return self.interpolated(self.filtered(x))


def test_a_layer_of_ones_own():
    torch.manual_seed(7)
    check_upsampler(FilterFirst)
    check_upsampler(FilterFirst, {"mode": "nearest"}, compiled=False)
    after = torch.rand(1)
    torch.manual_seed(7)
    assert torch.equal(after, torch.rand(1)), "the caller's random numbers have changed"


class TakesAnyKernelSize(FilterFirst):
    def __init__(self, in_channels, out_channels, stride, kernel_size=None, bias=True):
        super().__init__(in_channels, out_channels, stride, kernel_size or 3, bias)


class TakesAnyChannels(FilterFirst):
    def forward(self, x):
        return super().forward(x[..., :IN, :])


class RoundsAConstant(FilterFirst):
    def __init__(self, in_channels, out_channels, stride, kernel_size=None, bias=True):
        super().__init__(in_channels, out_channels, stride, kernel_size, bias)
        self.register_buffer("gain", torch.tensor(0.3), persistent=False)

    def upsample(self, x):
        return super().upsample(x) * self.gain


class KeepsItsWeight(FilterFirst):
    kept = None

    def filtered(self, x):
        if torch.is_grad_enabled() or self.kept is None:
            self.kept = self.weight.detach().clone()
        return super().filtered(x, self.weight if torch.is_grad_enabled() else self.kept)


class DrawsOnlyItsBias(FilterFirst):
    def reset_parameters(self):
        for name in ("weight", "bias"):
            if getattr(self, name) is not None:
                torch.nn.init.uniform_(getattr(self, name))


class TwoPrograms(FilterFirst):
    def upsample(self, x):
        y = self.filtered(x)
        if x.shape[-1] < 100:
            return self.interpolated(y)
        return torch.cat([self.interpolated(y[:, :1]), self.interpolated(y[:, 1:])], 1)


def with_output(change):
    """The layer with its output changed by a function of the input and the output."""

    class Changed(FilterFirst):
        def upsample(self, x):
            return change(x, super().upsample(x))

    return Changed


def with_settings(change):
    """The layer with its configuration changed."""

    class Changed(FilterFirst):
        def get_config(self):
            return change(super().get_config())

    return Changed


def every_second_frame_louder(x, y):
    frame = torch.arange(x.shape[-1]).repeat_interleave(y.shape[-1] // x.shape[-1])
    return y * (1 + frame % 2)


class KnowsItselfWrongly(layers.Nearest):
    """Says that its responses begin one input sample earlier than they do."""

    def known_system(self):
        system = super().known_system()
        return dataclasses.replace(system, before=system.before + 1)


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (KnowsItselfWrongly, "it_is_linear"),
        (with_output(lambda x, y: y[..., :-1]), "lengths_are_exact"),
        (TakesAnyKernelSize, "impossible_settings_are_refused"),
        (TakesAnyChannels, "wrong_inputs_are_refused"),
        (with_settings(lambda c: c | {"mode": "nearest"}), "configuration_rebuilds_the_layer"),
        (
            with_settings(lambda c: {k: c[k] for k in c if k != "mode"}),
            "configuration_rebuilds_the_layer",
        ),
        (with_output(lambda x, y: y + 0.1), "it_is_linear"),
        (with_output(lambda x, y: y.relu()), "it_is_linear"),
        (with_output(lambda x, y: y * torch.linspace(0, 1, y.shape[-1]).to(y)), "it_is_linear"),
        (with_output(every_second_frame_louder), "it_is_linear"),
        (with_output(lambda x, y: y + y.detach()), "gradients_are_exact"),
        (with_output(lambda x, y: y + torch.zeros(1)), "precisions_are_kept"),
        (RoundsAConstant, "precisions_are_kept"),
        (with_output(lambda x, y: y + 0 * x.view(-1)[0]), "any_input_is_taken"),
        (KeepsItsWeight, "weights_count_as_they_are"),
        (DrawsOnlyItsBias, "parametrizations_work"),
        (with_output(lambda x, y: y if x.shape[-1] < 150 else 2 * y), "folded_it_is_the_same"),
        (TwoPrograms, "one_program_serves_all_lengths"),
    ],
)
def test_a_broken_layer_is_found_out(broken, law):
    with pytest.raises(AssertionError, match=f"{broken.__name__} breaks the law '{law}'"):
        check_upsampler(broken, compiled=law == "one_program_serves_all_lengths")


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("nearest", "form", "fastest"),
        ("linear", "padding_mode", "circular"),
        ("cubic", "coefficient", 1),
        ("sinc", "rolloff", 1.1),
        ("transposed", "trim", 1),
        ("transposed", "tone_free", "yes"),
        ("transposed", "kernel_size", 3),
        ("transposed", "stride", True),
        ("subpixel", "init", "constant"),
        ("haar", "stride", 6),
        ("lifting", "stride", 6),
        ("lifting", "predict_size", 2),
        ("lifting", "update_size", 0),
        ("lifting", "stages", 0.5),
        ("hold", "order", -1),
        ("hold", "order", "1"),
        ("resample", "zeros", 0),
        ("resample", "rolloff", 0),
        ("resample", "side_kernel_size", 3),
        ("subpixel", "kernel_size", "mac_neutral"),
        ("nearest", "kernel_size", "mac-neutral"),
    ],
)
def test_impossible_settings_of_a_family(name, setting, value):
    with pytest.raises(ValueError, match=rf"^{name}: {setting} must .* not {value!r}$"):
        layers.get(name)(**{"in_channels": 2, "out_channels": 3, "stride": 4, setting: value})


@pytest.mark.parametrize("name", layers.available())
def test_a_large_layer_is_planned_without_memory(name):
    with torch.device("meta"):
        layer = layers.get(name)(2000, 1000, 4)
        y = layer(torch.empty(2, 2000, 100))
    assert layer.weight.is_meta and y.shape == (2, 1000, 400)
