"""The repair that changes the output on given audio least, and the one that only minds silence."""

import pytest
import torch
from torch import nn

from asteroid_upsamplers import layers
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.repair import calibrated as module
from asteroid_upsamplers.repair import repair


def coloured(*shape, seed=0):
    """Noise with a strong slow part, which has different weights in the channels."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    return noise + torch.linspace(1, 3, shape[1], dtype=torch.float64)[:, None]


@pytest.mark.parametrize("along", [None, "mean"])
def test_no_other_change_is_heard_less(along, monkeypatch):
    """Against the conditions of Karush, Kuhn and Tucker, for a matrix measured on the layer."""
    monkeypatch.setattr(module, "SHRINK", 1e-12)
    torch.manual_seed(0)
    layer = nn.ConvTranspose1d(3, 2, 6, 2, bias=False).double()
    x = nn.functional.pad(coloured(1, 3, 60), (2, 2))
    size = layer.weight.numel()
    units = torch.eye(size, dtype=torch.float64).view(size, *layer.weight.shape)
    columns = torch.stack([nn.functional.conv_transpose1d(x, w, stride=2).flatten() for w in units])
    signals = torch.eye(3, dtype=torch.float64) if along is None else x.mean(2)
    difference = torch.tensor([1.0, -1, 1, -1, 1, -1], dtype=torch.float64)
    rows = torch.einsum("ci,oO,k->coiOk", signals, torch.eye(2, dtype=torch.float64), difference)
    rows = rows.reshape(-1, size)
    count = len(rows)
    matrix = torch.zeros(size + count, size + count, dtype=torch.float64)
    matrix[:size, :size] = columns @ columns.T
    matrix[size:, :size], matrix[:size, size:] = rows, rows.T
    right = torch.cat([torch.zeros(size), -rows @ layer.weight.detach().flatten()])
    wanted = layer.weight.flatten() + torch.linalg.solve(matrix, right)[:size]
    network = nn.Sequential(layer)
    found = repair(network, "calibrated", calibration=x, along=along).network[0].weight
    torch.testing.assert_close(found.flatten(), wanted, rtol=0, atol=1e-6)


def noisy_tail(silence=-2.0):
    """Two layers, the second of which receives another constant once the first is repaired."""
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.ConvTranspose1d(4, 6, 8, 4, padding=2),
        nn.LeakyReLU(0.1),
        nn.ConvTranspose1d(6, 1, 4, 2, padding=1),
    )
    network.silence = silence
    return network


def test_silence_is_silent_and_the_rest_hardly_changed():
    network, x = noisy_tail(), coloured(1, 4, 400).float()
    silence = torch.full((1, 4, 400), -2.0)
    changes = {}
    for along in (None, "silence"):
        repaired = repair(network, "calibrated", calibration=x, along=along).network
        quiet = repaired(silence)[0, 0, 800:1600]
        assert (quiet - quiet.mean()).abs().max() < 1e-5
        changes[along] = float((repaired(x) - network(x)).norm())
    assert changes["silence"] < 0.7 * changes[None]
    assert (network(silence)[0, 0, 800:1600].std()) > 1e-2


def test_groups_and_layers_that_hear_nothing():
    torch.manual_seed(0)
    grouped = nn.Sequential(nn.ConvTranspose1d(4, 6, 9, 4, padding=3, groups=2))
    x = coloured(2, 4, 50).float()
    for along in (None, "mean"):
        assert repair(grouped, "calibrated", calibration=[x, x], along=along).layers[0].change > 0
    nothing = nn.Sequential(layers.Transposed(2, 1, stride=4, bias=False))
    found = repair(nothing, "calibrated", calibration=x[:, :2], along="silence")
    assert "zeros" in found.warnings[-1] and not found.originals
    assert found.layers[0].status == "left as it is"


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose1d(4, 1, 8, 4)

    def forward(self, x):
        return self.up(input=x)


def test_layers_that_are_called_with_named_arguments():
    report = repair(Named(), "calibrated", calibration=coloured(1, 4, 50))
    assert report.layers[0].tone_db_after < -100


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "needs calibration"),
        ({"calibration": torch.zeros(1, 3, 50)}, "refused an input of shape"),
        ({"calibration": torch.full((1, 4, 50), torch.nan)}, "NaN"),
        ({"calibration": [1.0]}, "must be a tensor"),
        ({"calibration": 1.0}, "calibration must be tensors, not float"),
        ({"calibration": torch.zeros(1, 4, 50, device="meta")}, "it is on meta"),
        ({"calibration": torch.zeros(1, 4, 50), "silence": "-2"}, "'silence' must be float"),
        ({"calibration": []}, "calibration is empty"),
        ({"calibration": torch.zeros(1, 4, 1)}, "shorter than the filters"),
        ({"calibration": torch.zeros(1, 4, 50), "along": "speech"}, "along must be"),
    ],
)
def test_refusals(settings, words):
    with pytest.raises(UsageError, match=words):
        repair(noisy_tail(), "calibrated", **settings)
