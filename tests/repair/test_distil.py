"""A repaired network that learns to give what it gave before."""

import math

import pytest
import torch
from torch import nn

from asteroid_upsamplers import layers, models
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.repair import find_sites, repair
from asteroid_upsamplers.repair.inputs import signals
from asteroid_upsamplers.repair.pieces import spectral_loss, without_lines

TRAINING = {"steps": 60, "piece": 512, "lr": 1e-3, "batch": 2, "progress": False}


def vocoder():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.ConvTranspose1d(6, 12, 8, 4, padding=2),
        nn.LeakyReLU(0.1),
        nn.ConvTranspose1d(12, 8, 4, 2, padding=1),
        nn.LeakyReLU(0.1),
        nn.Conv1d(8, 1, 7, padding=3),
        nn.Tanh(),
    )


def data(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 6, 512, generator=generator).cumsum(-1).tanh() + 0.5


def distance(network, seed=9):
    """To the output of the original, without the means of phases, on other data."""
    with torch.no_grad():
        found, wanted = (
            (y - y.unflatten(-1, (-1, 8)).mean(-2).repeat(1, 1, y.shape[-1] // 8)).double()
            for y in (network(data(seed)), vocoder()(data(seed)))
        )
    return float(spectral_loss(found, wanted))


def test_nearer_to_the_original_and_still_without_tones():
    start = repair(vocoder(), calibration=data(0), order=1)
    settings = TRAINING | {"steps": 100, "lr": 5e-3}
    report = repair(vocoder(), "distil", calibration=data(0), order=1, **settings)
    assert distance(report.network) < 0.9 * distance(start.network)
    for site in find_sites(report.network):
        sums = site.taps().sum(3)
        assert (sums.amax(1) - sums.amin(1)).max() < 1e-6
    x = data(3)
    assert torch.equal(report.undo()(x), vocoder()(x))


def test_it_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    from asteroid_upsamplers.repair import distil

    def trained(state):
        return repair(vocoder(), "distil", calibration=data(0), state=state, **TRAINING).network

    whole = trained(None)
    path, step = tmp_path / "state.pt", distil.Training._one_step

    def stopped(self):
        if self.step == 30:
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(distil.Training, "_one_step", stopped)
    with pytest.raises(KeyboardInterrupt):
        trained(path)
    monkeypatch.undo()
    resumed = trained(path)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    other = vocoder()
    other[0].weight.data *= 2
    for network, x, lr in [(vocoder(), 0, 1e-4), (vocoder(), 1, 1e-3), (other, 0, 1e-3)]:
        settings = TRAINING | {"lr": lr, "state": path}
        with pytest.raises(UsageError, match="of another network, of other inputs or settings"):
            repair(network, "distil", calibration=data(x), **settings)
    with pytest.raises(UsageError, match="of another network, of other inputs or settings"):
        repair(vocoder(), "distil", layers="0", calibration=data(0), state=path, **TRAINING)
    path.write_bytes(b"nothing")
    with pytest.raises(UsageError, match="delete it to begin anew"):
        trained(path)


class Function(nn.Module):
    """As Asteroid's decoders: nobody calls the module that has the weight."""

    def __init__(self):
        super().__init__()
        self.filterbank = nn.Module()
        self.filterbank.filters = nn.Parameter(torch.randn(6, 1, 8))

    def forward(self, x):
        return nn.functional.conv_transpose1d(x, self.filterbank.filters, stride=4)


def test_layers_that_are_functions():
    report = repair(Function(), "distil", calibration=data(0), example=(1, 6, 512), **TRAINING)
    assert report.layers[0].tone_db_after < -100
    assert "method 'calibrated' was not tried as a start: filterbank is" in report.warnings[0]


def test_layers_that_a_start_leaves_are_repaired_all_the_same():
    network = nn.Sequential(layers.Lifting(6, 1, stride=4))
    report = repair(network, "distil", calibration=data(0), **TRAINING | {"steps": 1, "lr": 1e-9})
    assert report.layers[0].status == "repaired" and report.layers[0].tone_db_after < -100


def test_inputs_whose_last_axis_is_not_time():
    network = nn.Sequential(nn.Linear(80, 6), Turned(), *vocoder())
    with pytest.raises(UsageError, match="piece=0 takes inputs whole"):
        repair(network, "distil", calibration=torch.randn(1, 50, 80), **TRAINING | {"piece": 128})


class Turned(nn.Module):
    def forward(self, x):
        return x.mT


class Odd(nn.Module):
    """A network that draws noise and changes its input, and may be hard to train."""

    def __init__(self, kind=""):
        super().__init__()
        self.up, self.kind, self.last = nn.ConvTranspose1d(1, 1, 8, 4), kind, 1.0

    def forward(self, x):
        x *= 0.5
        y = self.up(x + torch.randn_like(x)) * self.last
        if self.kind == "keeps its state":
            self.last = y.mean()
        return y.detach() if self.kind == "no gradients" else y


@pytest.mark.parametrize("kind", ["keeps its state", "no gradients"])
def test_a_line_for_what_cannot_be_trained(kind):
    with pytest.raises(UsageError, match="cannot be trained as it is"):
        repair(Odd(kind), "distil", calibration=torch.randn(1, 1, 400), **TRAINING)


@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16])
def test_half_precision(dtype):
    network = nn.Sequential(nn.ConvTranspose1d(6, 2, 8, 4)).to(dtype)
    report = repair(network, "distil", calibration=data(0), in_place=True, **TRAINING)
    assert report.layers[0].tone_db_after < -100 and network[0].weight.isfinite().all()
    assert network[0].weight.grad is None


def test_both_networks_draw_the_same_noise_and_no_input_changes():
    network, x = Odd(), torch.ones(1, 1, 40)
    assert torch.equal(signals(network, x)[0], signals(network, x)[0]) and x.min() == 1


def test_a_separator():
    torch.manual_seed(0)
    network = models.DemucsLike(["a", "b"], channels=4, depth=2)
    x = 0.1 * torch.randn(2, 2, 8192, generator=torch.Generator().manual_seed(0))
    settings = TRAINING | {"steps": 4, "piece": 2048, "lines": 0.0}
    network.requires_grad_(False)
    report = repair(network, "distil", calibration=x, **settings)
    assert not any(p.requires_grad for p in report.network.parameters())
    assert report.network(x).isfinite().all()
    assert all(layer.tone_db_after < -100 for layer in report.layers if layer.tone_db_after)


def test_lines_are_taken_out_and_nothing_else():
    time = torch.arange(4096, dtype=torch.float64)
    noise = torch.randn(4096, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    line = torch.sin(2 * math.pi * time / 8 + 1)
    error = without_lines(noise + line, [1 / 8]) - noise
    assert error.square().mean() < 1e-2 and without_lines(line, [1 / 8]).abs().max() < 1e-9
