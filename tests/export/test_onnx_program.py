"""Networks as ONNX files, run by onnxruntime at lengths that the export did not see."""

import onnx
import onnxruntime
import pytest
import torch
from asteroid_filterbanks.free_fb import FreeFB
from torch import nn

from asteroid_upsamplers import UsageError, layers, models
from asteroid_upsamplers.blocks import UpsamplerDecoder
from asteroid_upsamplers.export import export_onnx, onnx_program
from asteroid_upsamplers.probe import run_probe

SMALL = {"n_filters": 8, "kernel_size": 16, "n_repeats": 1, "n_blocks": 2, "bn_chan": 4}


class Beside(nn.Module):
    """All of its modules, one beside the other."""

    def __init__(self, modules):
        super().__init__()
        self.each = nn.ModuleList(modules)

    def forward(self, x):
        return torch.cat([module(x) for module in self.each], 1)


class Delayed(nn.Module):
    """Its length is a number when it is traced, so that the program holds for that length only."""

    def forward(self, x):
        return x[..., : int(x.shape[-1]) - 3]


def every_layer():
    more = [{"name": "subpixel", "tone_free": True}, {"name": "transposed", "tone_free": True}]
    settings = [*({"name": name} for name in layers.available()), *more]
    made = [layers.make(one.pop("name"), 3, 2, stride=4, **one) for one in settings]
    wide = {"groups": 2, "dilation": 2, "padding": 3, "output_padding": 1}
    grouped = nn.Sequential(nn.Conv1d(3, 4, 1), nn.ConvTranspose1d(4, 6, 5, stride=4, **wide))
    short = nn.ConvTranspose1d(3, 2, 3, stride=4, output_padding=1, bias=False)
    return Beside([*made, nn.utils.parametrizations.weight_norm(short), grouped])


NETWORKS = {
    "layers": every_layer,
    "DemucsLike": lambda: models.DemucsLike(channels=2, depth=3, sample_rate=8000),
    "resampled": lambda: models.DemucsLike(
        upsampler="subpixel", channels=2, depth=2, resample=True
    ),
    "MelGAN": lambda: models.MelGANGenerator(n_mels=12, channels=2, strides=(4, 2)),
    "ConvTasNet": lambda: models.UpsamplerConvTasNet(2, hid_chan=4, skip_chan=4, **SMALL),
    "music": lambda: models.MusicConvTasNet(hid_chan=4, **SMALL),
    "WaveUNet": lambda: models.WaveUNet(depth=2),
    "decoder": lambda: UpsamplerDecoder(FreeFB(12, 15, stride=4), upsampler="subpixel"),
}


def operators(path):
    return {node.op_type for node in onnx.load(path).graph.node}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_gives_what_the_network_gives(name, tmp_path):
    torch.manual_seed(0)
    network = NETWORKS[name]().train()
    example = (1, 12, 50) if name == "decoder" else None
    path = export_onnx(network, tmp_path / "plain.onnx", example, conv_transpose=False)
    assert "ConvTranspose" not in operators(path)
    assert network.training
    session = onnxruntime.InferenceSession(path)
    (given,) = session.get_inputs()
    network.eval()
    for batch, time in ((1, 333), (2, 1000), (4, 71)):
        x = torch.randn(batch, given.shape[1], time)
        (found,) = session.run(None, {"input": x.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(found), network(x), rtol=1e-4, atol=1e-5)


def test_transposed_convolutions_stay_what_they_are_unless_asked(tmp_path):
    path = export_onnx(layers.Transposed(1, 1, stride=4), tmp_path / "layer.onnx")
    assert "ConvTranspose" in operators(path)


def test_the_file_states_the_sample_rate(tmp_path):
    network = models.DemucsLike(channels=2, depth=2, sample_rate=8000)
    path = export_onnx(network, tmp_path / "model.onnx")
    report = run_probe(str(path), seconds=1).report
    assert report.sample_rate == 8000
    assert [layer.stride for layer in report.layers] == [4, 4]


def refused(network, path, **options):
    with pytest.raises(UsageError) as caught:
        export_onnx(network, path, **options)
    assert "\n" not in str(caught.value)
    assert list(path.parent.iterdir()) == [path] * path.exists()
    return str(caught.value)


def test_what_cannot_be_exported_is_told_in_a_line(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    hooked = nn.Sequential(nn.Conv1d(1, 1, 1))
    hooked[0].register_forward_hook(lambda *_: None)
    damaged = nn.Conv1d(1, 1, 1)
    nn.init.constant_(damaged.weight, torch.nan)
    folded = layers.fold_for_inference(nn.Sequential(layers.Linear(1, 1, stride=2)))
    assert "0 has hooks" in refused(hooked, path)
    assert "weight holds NaN" in refused(damaged, path)
    assert "before fold_for_inference" in refused(folded, path)
    assert "depends on the length" in refused(Delayed(), path)
    assert "OpenUnmix cannot be exported" in refused(models.OpenUnmix(), path)
    assert "(batch, channels, time)" in refused(nn.Conv1d(1, 1, 1), path, example=(4,))
    path.write_bytes(b"mine")
    assert "exists" in refused(nn.Conv1d(1, 1, 1), path)
    monkeypatch.setattr(onnx_program, "without_transposed", lambda program: 1 / 0)
    said = refused(nn.Conv1d(1, 1, 1), path, conv_transpose=False, overwrite=True)
    assert "division by zero" in said
    assert path.read_bytes() == b"mine"


def test_a_program_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    def louder(program):
        model = onnx.load_from_string(program)
        for tensor in model.graph.initializer:
            values = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values * 1.001, tensor.name))
        return model.SerializeToString()

    monkeypatch.setattr(onnx_program, "without_transposed", louder)
    said = refused(nn.Conv1d(1, 1, 3), tmp_path / "x.onnx", conv_transpose=False)
    assert "1.0e-03 of the largest sample away" in said
