"""A notch in the network's last convolution, at the tones of the layer before it."""

import pytest
import torch
from torch import nn

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.repair import repair


def vocoder(stride=2, taps=7):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.ConvTranspose1d(4, 8, 2 * stride, stride, padding=stride // 2),
        nn.LeakyReLU(0.1),
        nn.utils.weight_norm(nn.Conv1d(8, 1, taps, padding=taps // 2)),
        nn.Tanh(),
    )


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_no_response_at_the_tones(stride):
    network = vocoder(stride)
    x = torch.randn(2, 4, 300, generator=torch.Generator().manual_seed(0)) + 1
    before = network(x)
    changes = []
    for calibration in (None, x):
        report = repair(network, "notch", calibration=calibration, example=x)
        (entry,) = [layer for layer in report.layers if layer.status == "repaired"]
        assert (entry.name, entry.stride) == ("2", stride) and entry.tone_db_after < -130
        report.network(x[:1])  # computes the weight
        kernel = report.network[2].weight.detach().double()
        response = torch.fft.fft(nn.functional.pad(kernel, (0, 3 * 4 * 5 - 7)))  # 60 bins
        tones = torch.arange(1, stride) * 60 // stride
        assert response[..., tones].abs().max() < 1e-6 * response.abs().max()
        after = report.network(x)
        changes.append(float((less_tones(after, stride) - less_tones(before, stride)).norm()))
        assert torch.equal(report.undo()(x), before)
    assert changes[1] < changes[0]


def less_tones(y, stride):
    """A signal less the mean of each phase, but for the mean of all."""
    phases = y.detach()[..., : y.shape[-1] // stride * stride].unflatten(-1, (-1, stride))
    return (phases - phases.mean(-2, keepdim=True)).flatten(-2)


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.last = (
            nn.ConvTranspose1d(4, 4, 4, 2, padding=1),
            nn.Conv1d(4, 4, 7, padding=3),
        )

    def forward(self, x):
        y = self.up(x)
        return y * self.last(y)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Masked(), "last is none"),
        (nn.Sequential(nn.Conv1d(4, 4, 3), nn.ConvTranspose1d(4, 1, 4, 2)), "here there is none"),
        (vocoder(4, 3), "at least 4 taps"),
    ],
)
def test_refusals(network, words):
    with pytest.raises(UsageError, match=words):
        repair(network, "notch", example=(1, 4, 100))
    with pytest.raises(UsageError, match="needs calibration"):
        repair(network, "notch")
