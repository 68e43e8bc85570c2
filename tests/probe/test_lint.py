"""What is read from a network's modules without running it."""

import json

import pytest
import torch
from torch import nn

from asteroid_upsamplers import layers
from asteroid_upsamplers.cli import main
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models import DemucsLike, OpenUnmix, UpsamplerConvTasNet, WaveUNet
from asteroid_upsamplers.probe import lint, run_lint

OVERLAP, GAPS, OFFSETS = "partial-overlap", "gaps", "offsets-before-upsampling"
GAINS, BIASES = "unequal-phase-gains", "unequal-phase-biases"

Conv, Transposed = nn.Conv1d, nn.ConvTranspose1d
old_norm, norm = nn.utils.weight_norm, nn.utils.parametrizations.weight_norm


class PixelShuffle1D(nn.Module):
    """As many people write it, since torch's is for images."""

    def __init__(self, upscale_factor):
        super().__init__()
        self.upscale_factor = upscale_factor


def icnr(layer, phases):
    for parameter in layer.parameters():
        parameter.data = parameter.data[::phases].repeat_interleave(phases, 0)
    return layer


CASES = {
    "partial": (lambda: Transposed(2, 2, 3, 2), [OVERLAP]),
    "full": (lambda: Transposed(2, 2, 8, 4), []),
    "no overlap": (lambda: Transposed(2, 2, 4, 4), []),
    "dilated, full": (lambda: Transposed(2, 2, 8, 4, dilation=3), []),
    "dilated, every other sample": (lambda: Transposed(2, 2, 4, 2, dilation=2), [GAPS]),
    "short": (lambda: Transposed(2, 2, 3, 4), [GAPS]),
    "keeps the rate": (lambda: Transposed(2, 2, 3, 1), []),
    "norms": (lambda: nn.Sequential(norm(Transposed(2, 2, 11, 5, bias=False))), [OVERLAP]),
    "old norms": (lambda: old_norm(nn.ConvTranspose2d(2, 2, 3, 2)), [OVERLAP]),
    "3d": (lambda: nn.ConvTranspose3d(2, 2, 3, 2), [OVERLAP]),
    "along frequency": (lambda: nn.ConvTranspose2d(2, 2, (3, 4), (2, 2)), []),
    "not there yet": (lambda: Transposed(2, 2, 3, 2, device="meta"), [OVERLAP]),
    "offsets": (lambda: nn.Sequential(Conv(1, 2, 1), nn.ReLU(), Transposed(2, 2, 8, 4)), [OFFSETS]),
    "no offsets": (lambda: nn.Sequential(Conv(1, 2, 1, bias=False), Transposed(2, 2, 8, 4)), []),
    "shuffle": (
        lambda: nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.PixelShuffle(2)),
        [GAINS, BIASES],
    ),
    "even shuffle": (
        lambda: nn.Sequential(icnr(nn.Conv2d(1, 8, 3), 4), nn.PixelShuffle(2)),
        [],
    ),
    "shuffle of signals": (
        lambda: nn.Sequential(Conv(1, 8, 3, bias=False), PixelShuffle1D(4)),
        [GAINS],
    ),
    "ours, partial": (lambda: layers.Transposed(2, 2, stride=4, kernel_size=6), [OVERLAP]),
    "ours, held": (
        lambda: layers.Transposed(2, 2, stride=4, kernel_size=6, tone_free=True),
        [],
    ),
    "zeros between": (lambda: layers.Stretch(2, 2, stride=4, kernel_size=3), [GAPS]),
    "subpixel": (lambda: layers.Subpixel(2, 2, stride=4), [GAINS, BIASES]),
    "subpixel, icnr": (lambda: layers.Subpixel(2, 2, stride=4, init="icnr"), []),
    "wavelet": (lambda: layers.Haar(2, 2, stride=4, bias=False), [GAINS]),
    "masked": (lambda: UpsamplerConvTasNet(2, n_blocks=1, n_repeats=1), []),
}


@pytest.mark.parametrize("name", CASES)
def test_the_rules(name):
    torch.manual_seed(0)
    build, expected = CASES[name]
    assert [finding.rule for finding in lint(build()).findings] == expected


def test_time_may_be_the_axis_before_the_last():
    report = lint(nn.ConvTranspose2d(2, 2, (3, 4), (2, 2)), time_axis=-2)
    assert [finding.rule for finding in report.findings] == [OVERLAP]


@pytest.mark.parametrize("upsampler", ["nearest", "linear", "transposed"])
def test_the_modified_networks_of_the_paper_are_clean(upsampler):
    """[1] Fig. 9: no biases, so that silence stays silent."""
    report = lint(DemucsLike(upsampler=upsampler, modified=True, channels=4, depth=2))
    assert report.layers == ["decoder.0.upsampler", "decoder.1.upsampler"]
    assert report.findings == []


def test_a_network_is_left_as_it_was():
    network = nn.Sequential(nn.utils.parametrizations.spectral_norm(Transposed(2, 2, 3, 2)))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    lint(network)
    assert network.training
    assert all(torch.equal(before[name], v) for name, v in network.state_dict().items())


def test_what_cannot_be_read():
    """Programs have no modules; networks of functions have none that upsamples."""
    with pytest.raises(UsageError, match="RecursiveScriptModule: there are no torch modules"):
        lint(torch.jit.script(Transposed(1, 1, 4, 2)))
    damaged = nn.Sequential(Transposed(1, 1, 4, 2))
    damaged[0].weight.data[0, 0, 0] = torch.nan
    with pytest.raises(UsageError, match=r"0\.weight holds NaN"):
        lint(damaged)
    assert "Unknown: no upsampling layer was recognised" in str(lint(Conv(1, 1, 3)))


class Interpolation(nn.Module):
    """As people write them: no module of torch's, and no weights."""

    def __init__(self, zeros=False):
        super().__init__()
        self.zeros = zeros

    def forward(self, x):
        return torch.stack([x, 0 * x if self.zeros else x], -1).flatten(-2)


class InverseSTFT(nn.Module):
    def forward(self, x):
        return torch.istft(x, 16, window=torch.ones(16))


def test_what_names_and_source_tell():
    """Modules called interpolation are run on a constant; calls of functions are named."""
    report = lint(nn.Sequential(Conv(1, 4, 3), Interpolation(), Conv(4, 1, 3), InverseSTFT()))
    assert (report.layers, report.findings) == (["1"], [])
    assert report.unknown == ["3 (InverseSTFT) calls istft"]
    assert "not read: 3 (InverseSTFT) calls istft" in str(report)
    zeros = lint(nn.Sequential(Conv(1, 4, 3), Interpolation(zeros=True)))
    assert [finding.rule for finding in zeros.findings] == [OFFSETS]
    assert lint(WaveUNet(channels=4, depth=2)).layers == ["upsamplers.0", "upsamplers.1"]
    assert lint(OpenUnmix(hidden_size=8)).unknown != []


def test_the_graph_of_an_onnx_file(tmp_path):
    """It has the findings of the network that was exported."""
    pytest.importorskip("onnxruntime")
    network = nn.Sequential(
        Conv(1, 2, 3), nn.ReLU(), Transposed(2, 2, 11, 5), nn.Upsample(scale_factor=2)
    )
    path = tmp_path / "it.onnx"
    torch.onnx.export(network, torch.zeros(1, 1, 50), path, dynamo=False)
    report, expected = run_lint(str(path)), lint(network)
    assert (
        [f.rule for f in report.findings]
        == [f.rule for f in expected.findings]
        == [OVERLAP, OFFSETS]
    )
    assert report.findings[0].message == expected.findings[0].message
    assert len(report.layers) == 2


def test_the_command(capsys):
    """Exit status 1 with findings, as linters have it."""
    settings = {"upsampler": "subpixel", "channels": 4, "depth": 1}
    arguments = ["probe", "asteroid_upsamplers.models:DemucsLike", "--lint", "--settings"]
    with pytest.raises(SystemExit) as left:
        main([*arguments, json.dumps(settings), "--json"])
    assert left.value.code == 1
    content = json.loads(capsys.readouterr().out)
    assert content["layers"] == ["decoder.0.upsampler"]
    assert {f["name"] for f in content["findings"]} == {"decoder.0.upsampler"}
    assert [f["rule"] for f in content["findings"]] == [GAINS, BIASES, OFFSETS]
    with pytest.raises(SystemExit) as left:
        main([*arguments, json.dumps({**settings, "upsampler": "nearest"})])
    assert (left.value.code, capsys.readouterr().out[:11]) == (0, "No findings")
    for axis, rules in {"-1": 0, "-2": 1}.items():
        image = {"in_channels": 1, "out_channels": 1, "kernel_size": [3, 4], "stride": [2, 2]}
        command = ["probe", "torch.nn:ConvTranspose2d", "--lint", "--settings", json.dumps(image)]
        with pytest.raises(SystemExit) as left:
            main([*command, "--time_axis", axis])
        assert left.value.code == rules
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main([*arguments, "{}", "--seed", "1"])
    assert (left.value.code, "--seed cannot be used" in capsys.readouterr().err) == (2, True)
