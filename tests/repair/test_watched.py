"""Layers that are no modules: convolutions with a shuffle, functions, inverse STFT heads."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, weight_norm

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.repair import repair

SHAPE = (1, 4, 1000)


class Shuffle(nn.Module):
    """A convolution whose channels are brought into time, in either order."""

    def __init__(self, phases_last=True, groups=1, norm=None, between=None):
        super().__init__()
        self.conv = nn.Conv1d(4, 8, 3, padding=1, groups=groups)
        if norm is not None:
            norm(self.conv)
        self.order = (2, 4) if phases_last else (4, 2)
        self.between = between or nn.Identity()

    def forward(self, x):
        y = self.between(self.conv(x)).unflatten(1, self.order)
        y = y if self.order == (2, 4) else y.transpose(1, 2)
        return y.transpose(2, 3).flatten(2)


class Frames(nn.Module):
    """A linear layer makes a frame of samples of every input sample."""

    def __init__(self, norm=None):
        super().__init__()
        self.head = nn.Linear(4, 8)
        if norm is not None:
            norm(self.head)

    def forward(self, x):
        return self.head(x.mT).flatten(1)[:, None]


class Functional(nn.Module):
    def __init__(self, learned=True):
        super().__init__()
        self.basis = nn.Parameter(torch.randn(4, 2, 8), requires_grad=learned)
        if not learned:
            basis = self.basis.data
            del self.basis
            self.register_buffer("basis", basis)

    def forward(self, x):
        return F.conv_transpose1d(x, self.basis, stride=4)


def steady(network, x):
    y = network.double()(x.double()).detach()
    return y[..., y.shape[-1] // 4 : 3 * y.shape[-1] // 4]


@pytest.mark.parametrize(
    "network",
    [
        Shuffle(phases_last=True, groups=2),
        Shuffle(phases_last=False, norm=weight_norm),
        Shuffle(phases_last=False, norm=parametrizations.weight_norm),
        Frames(),
        Frames(norm=weight_norm),
        Functional(),
    ],
)
def test_a_constant_makes_no_tone(network):
    report = repair(network, example=SHAPE)
    assert [layer.status for layer in report.layers] == ["repaired"] and not report.warnings
    for x in (torch.zeros(SHAPE), torch.ones(SHAPE), torch.tensor([1.0, -2, 3, 5])[:, None]):
        y = steady(report.network, x.expand(SHAPE))
        assert float(y.diff().abs().max()) < 1e-6
        assert x.any() == 0 or float(steady(network, x.expand(SHAPE)).diff().abs().max()) > 1e-3


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Functional(learned=False), "its weight is no parameter"),
        (Shuffle(phases_last=False, groups=2), "different groups"),
        (Shuffle(between=nn.BatchNorm1d(8)), "unknown"),
        (nn.Upsample(scale_factor=4), "has none"),
    ],
)
def test_a_line_for_what_cannot_be_repaired(network, words):
    with pytest.raises(UsageError, match=f"nothing to repair: .*{words}"):
        repair(network, example=SHAPE)


class Two(nn.Module):
    """Two shuffles in one module, the second of which runs twice."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Conv1d(4, 4, 3, padding=1), nn.Conv1d(2, 4, 3, padding=1)

    def forward(self, x):
        y = self.one(x)
        for conv in (self.other, self.other):
            y = conv(y.unflatten(1, (2, 2)).transpose(2, 3).flatten(2))
        return y.unflatten(1, (2, 2)).transpose(2, 3).flatten(2)


def test_one_module_runs_several_layers():
    network = Two()
    report = repair(network, example=SHAPE)
    assert [layer.name for layer in report.layers] == ["subpixel", "subpixel#2"]
    y = steady(report.network, torch.ones(SHAPE))
    assert float(y.diff().abs().max()) < 1e-6


def test_a_shuffle_of_a_2d_convolution_is_left():
    network = Shuffle()
    network.conv = nn.Conv2d(4, 8, (1, 3), padding=(0, 1))
    network.between = nn.Flatten(1, 2)
    with pytest.raises(UsageError, match="nothing to repair: .*subpixel.* is unknown"):
        repair(nn.Sequential(nn.Unflatten(1, (4, 1)), network), example=SHAPE)


def test_an_input_that_does_not_fit_is_a_warning():
    report = repair(nn.Sequential(nn.ConvTranspose1d(4, 1, 8, 4)), example=(1, 3, 1000))
    assert "not looked for: the network refused" in report.warnings[0]


class Cancelling(nn.Module):
    """Two layers, the tones of one taken off those of the other."""

    def __init__(self):
        super().__init__()
        self.one, self.other = (nn.ConvTranspose1d(4, 1, 8, 4) for _ in "ab")
        self.other.load_state_dict(self.one.state_dict())
        self.other.weight.data += 0.01 * torch.randn(4, 1, 8)
        self.one.bias.data, self.other.bias.data = torch.zeros(1), torch.zeros(1)

    def forward(self, x):
        return self.one(x + 1) - self.other(x + 1)


def test_layers_that_cancel_are_warned_of():
    warnings = repair(Cancelling(), example=SHAPE).warnings
    assert len(warnings) == 2 and "other layers cancel tones of one" in warnings[0]


class Spectral(nn.Module):
    """An inverse STFT after a convolution, in several ways."""

    def __init__(self, how, norm=None):
        super().__init__()
        self.before, self.head = nn.Conv1d(4, 6, 3, padding=1), nn.Conv1d(6, 18, 1)
        if norm is not None:
            norm(self.head)
        self.how = how
        self.register_buffer("window", torch.hann_window(16))

    def forward(self, x):
        y = self.head(torch.tanh(self.before(x)))
        one, other = y.chunk(2, 1)
        if self.how == "magnitude and phase":
            spectrum = torch.exp(one).clip(max=100) * torch.exp(1j * torch.sin(other))
        elif self.how == "real and imaginary":
            spectrum = torch.complex(one, other)
        else:
            spectrum = torch.view_as_complex(y.unflatten(1, (9, 2)).movedim(2, -1).contiguous())
        if self.how == "normalised":
            spectrum = torch.complex(one, other)
            spectrum = spectrum / spectrum.abs().mean()
        if self.how == "of an odd size":
            spectrum = torch.complex(one, other)
            return torch.istft(spectrum, 17, 4, window=torch.hann_window(17))[:, None]
        return torch.istft(spectrum, 16, 4, window=self.window)[:, None]


@pytest.mark.parametrize("norm", [None, weight_norm])
@pytest.mark.parametrize("how", ["magnitude and phase", "real and imaginary", "in pairs"])
def test_the_outermost_bins_of_a_head_fall_silent(how, norm, monkeypatch):
    network = Spectral(how, norm)
    report = repair(network, example=(1, 4, 200))
    head = report.layers[0]
    assert (head.name, head.status) == ("head", "repaired")
    assert head.tone_db_before > -20 and head.tone_db_after < -80 and head.change > 0
    spectra = []
    monkeypatch.setattr(torch, "istft", lambda z, *_, **__: spectra.append(z.detach()) or z.real)
    for one in (network, report.network):
        one(torch.ones(1, 4, 50))
    monkeypatch.undo()
    assert float(spectra[1][:, [0, -1]].abs().max()) < 1e-6
    torch.testing.assert_close(spectra[1][:, 1:-1], spectra[0][:, 1:-1])
    again = repair(report.network, example=(1, 4, 200))
    assert again.layers[0].status == "has none" and not again.originals
    restored = report.undo().state_dict()
    assert all(torch.equal(restored[k], v) for k, v in network.state_dict().items())


def test_a_convolution_that_is_shuffled_twice_is_repaired_for_the_first_and_says_so():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(1, 8, 3, padding=1)

        def forward(self, x):
            y = self.conv(x)
            for _ in range(2):
                y = y.unflatten(1, (-1, 2)).mT.flatten(2)
            return y

    first, second = repair(Twice(), example=(1, 1, 400)).layers
    assert first.status == "repaired"
    assert second.status == "left as it is" and first.name in second.remark


def test_bins_that_cancel_what_their_neighbours_leave_are_warned_of():
    network = Spectral("real and imaginary")
    nn.init.zeros_(network.head.weight)
    nn.init.zeros_(network.head.bias)
    network.head.bias.data[:9] = 1.0  # an impulse where the window is zero: silence
    (warning,) = (w for w in repair(network, example=(1, 4, 200)).warnings if "bins" in w)
    assert warning.startswith("head: its bins at 0 and half the rate cancel")
    network.head.bias.data[1:8] = 0.0
    assert not any("bins" in w for w in repair(network, example=(1, 4, 200)).warnings)


def test_a_head_whose_bins_depend_on_each_other_stays():
    network = Spectral("normalised")
    report = repair(network, example=(1, 4, 200))
    assert (report.layers[0].status, report.originals) == ("left as it is", {})


def test_a_head_of_an_odd_size_has_no_bin_at_half_the_rate():
    with pytest.raises(UsageError, match="nothing to repair: overlap-add"):
        repair(Spectral("of an odd size"), example=(1, 4, 200))
