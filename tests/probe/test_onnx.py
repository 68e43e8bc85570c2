"""A network in an ONNX file gets the report of the same network in torch; files are only data."""

import builtins

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn
from torch.nn import functional as F

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.probe import probe, run_probe

from .networks import Interpolation, Subpixel


class Generator(nn.Module):
    """A transposed convolution, interpolations and a shuffle, each with what goes with it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.pre, self.up = nn.Conv1d(20, 4, 5, padding=2), nn.ConvTranspose1d(4, 2, 8, 4)
        self.near, self.mix = Interpolation("nearest"), nn.Conv1d(4, 2, 1)
        self.sub, self.post = Subpixel("view"), nn.Conv1d(2, 1, 5, padding=2)

    def forward(self, x):
        y = F.leaky_relu(self.up(self.pre(x)))
        y = self.sub(torch.tanh(self.mix(self.near(y))))
        return self.post(F.interpolate(torch.tanh(y), scale_factor=2, mode="linear"))


@pytest.fixture(scope="module")
def network():
    return Generator().eval()


@pytest.fixture(scope="module")
def file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "generator.onnx"
    free = ({2: torch.export.Dim.DYNAMIC},)
    program = torch.onnx.export(
        network, (torch.randn(1, 20, 50),), dynamo=True, dynamic_shapes=free, verbose=False
    )
    program.save(path)
    return path


def changed(file, change, name):
    """The same file, with a change."""
    model = onnx.load(file)
    change(model)
    onnx.save(model, file.with_name(name))
    return str(file.with_name(name))


def refused(path, **options):
    with pytest.raises(UsageError) as error:
        run_probe(str(path), **options)
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value)


def test_the_report_is_that_of_the_network_in_torch(network, file):
    kinds = ["transposed", "nearest", "subpixel", "linear"]
    expected, report = probe(network, 16000, (1, 20, 300)), probe(file, 16000, (1, 20, 300))
    assert [layer.kind for layer in report.layers] == kinds
    for layer, other in zip(report.layers, expected.layers, strict=True):
        same = ("name", "kind", "stride", "output_rate_hz")
        assert [getattr(layer, k) for k in same] == [getattr(other, k) for k in same]
        assert layer.tonal_fraction == pytest.approx(other.tonal_fraction, abs=1e-6)
        assert layer.attribution_db == pytest.approx(other.attribution_db, abs=0.1)
        for tone, one in zip(layer.tones, other.tones, strict=True):
            assert tone["level_db"] == pytest.approx(one["level_db"], abs=0.1)
    for tone, one in zip(report.silence.tones[:8], expected.silence.tones[:8], strict=True):
        assert tone == pytest.approx(one, abs=0.1)
    found = {tone["frequency_hz"]: tone["prominence_db"] for tone in report.noise.tones}
    for one in expected.noise.tones[:3]:
        assert found[one["frequency_hz"]] == pytest.approx(one["prominence_db"], abs=0.1)
    assert report.attributed_to == expected.attributed_to == ["sub"]
    assert report.to_dict().keys() == expected.to_dict().keys()
    assert (report.total_factor, report.unseen_factor) == (128, 1)
    assert report.silence.rms_db == pytest.approx(expected.silence.rms_db, abs=0.1)
    assert report.remarks == expected.remarks


def unnamed(model):
    """As other exporters write it, with a rate that the file states."""
    for node in model.graph.node:
        del node.metadata_props[:]
    helper.set_model_props(model, {"sample_rate": "8000"})


def test_files_of_other_exporters(file):
    report = run_probe(changed(file, unnamed, "unnamed.onnx")).report
    assert (report.sample_rate, report.layers[0].name) == (8000, "up")
    assert [layer.stride for layer in report.layers] == [4, 4, 4, 2]
    where = {"save_as_external_data": True, "size_threshold": 0, "location": "w"}
    onnx.save(onnx.load(file), file.with_name("apart.onnx"), **where)
    apart = run_probe(str(file.with_name("apart.onnx")), sample_rate=8000).report
    assert apart.silence == report.silence
    file.with_name("w").unlink()
    assert "w" in refused(file.with_name("apart.onnx"))


def nan(model):
    _of(model, "up.weight")[3] = np.nan


def infinite(model):
    _of(model, "up.weight")[3] = np.inf


def _of(model, name):
    (tensor,) = [one for one in model.graph.initializer if one.name == name]

    class Writer:
        def __setitem__(self, index, value):
            numbers = numpy_helper.to_array(tensor).copy()
            numbers.flat[index] = value
            tensor.CopyFrom(numpy_helper.from_array(numbers, name))

    return Writer()


def custom(model):
    next(n for n in model.graph.node if n.op_type == "Conv").domain = "stranger"
    model.opset_import.append(helper.make_opsetid("stranger", 1))


def misspelt(model):
    model.graph.node[1].op_type = "Snake"


def newer(model):
    model.opset_import[0].version = 999


def cut(model):
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:10]


CHANGES = {
    nan: "up.weight holds NaN",
    infinite: "the first are in up (convolution)",
    custom: "stranger.Conv, which is code outside of the file",
    misspelt: "onnxruntime cannot run it",
    newer: "onnxruntime cannot run it",
    cut: "pre.weight is damaged",
}


def test_what_cannot_be_probed_is_said_in_one_line(file, monkeypatch):
    for change, said in CHANGES.items():
        assert said in refused(changed(file, change, f"{change.__name__}.onnx")), change
    content = file.read_bytes()
    for other in (b"", content[: len(content) // 2], b"text"):
        file.with_name("other.onnx").write_bytes(other)
        assert "damaged, or no ONNX file" in refused(file.with_name("other.onnx"))
    assert "cannot be read" in refused(file.with_name("none.onnx"))
    assert "Input channels" in refused(file, input_shape=(1, 3, 600))
    assert "no input 'a'; its inputs are x float32 (1, 20, " in refused(file, settings={"a": 1})
    imported = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "onnxruntime":
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert refused(file).endswith("pip install asteroid-upsamplers[onnx]")


def test_further_inputs_are_zeros_or_given_and_numbers_of_all_precisions_are_taken(tmp_path):
    """Audio from frames of fixed number in half precision, to which a loudness is added."""
    half = onnx.TensorProto.FLOAT16
    weight = numpy_helper.from_array(np.float16([[[0.5, 0.25, 0.5, 0.5]]]), "decoder.weight")
    nodes = [
        helper.make_node("Add", ["x", "hum"], ["loud"]),
        helper.make_node("ConvTranspose", ["loud", "decoder.weight"], ["y"], strides=[2]),
        helper.make_node("Reshape", ["y", "flat"], ["audio"]),
    ]
    given = [helper.make_tensor_value_info(n, half, s) for n, s in [("x", [1, 1, 500])]]
    given.append(helper.make_tensor_value_info("hum", half, [1, 1, 1]))
    flat = numpy_helper.from_array(np.array([1, 1002]), "flat")  # of this length only
    outputs = [helper.make_tensor_value_info("audio", half, [1, 1002])]
    graph = helper.make_graph(nodes, "fixed", given, outputs, [weight, flat])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "fixed.onnx")
    report = run_probe(str(tmp_path / "fixed.onnx"), sample_rate=8000).report
    assert (report.input_shape, report.silence.rms) == ([1, 1, 500], 0)
    assert [(layer.name, layer.stride) for layer in report.layers] == [("decoder", 2)]
    assert (report.unseen_factor, len(report.remarks)) == (None, 2)
    assert "hum float16 (1, 1, 1) is 0" in report.remarks[0]
    given = {"hum": [[[0.5]]]}
    report = run_probe(str(tmp_path / "fixed.onnx"), sample_rate=8000, settings=given).report
    assert report.silence.rms == pytest.approx(0.5 * (1 - 0.75) / 2, rel=1e-6)
    assert not any("hum" in remark for remark in report.remarks)


def test_zeros_of_the_file_between_samples(tmp_path):
    single = onnx.TensorProto.FLOAT
    numbers = {"last": np.array([-1]), "flat": np.array([1, 1, -1])}
    numbers["zero"] = np.zeros(1, np.float32)
    nodes = [
        helper.make_node("Unsqueeze", ["x", "last"], ["column"]),
        helper.make_node("Shape", ["column"], ["sizes"]),
        helper.make_node("Expand", ["zero", "sizes"], ["none"]),
        helper.make_node("Concat", ["column", "none", "none", "none"], ["stuffed"], axis=-1),
        helper.make_node("Reshape", ["stuffed", "flat"], ["audio"]),
    ]
    given = [helper.make_tensor_value_info("x", single, [1, 1, "t"])]
    outputs = [helper.make_tensor_value_info("audio", single, [1, 1, "s"])]
    weights = [numpy_helper.from_array(value, name) for name, value in numbers.items()]
    graph = helper.make_graph(nodes, "stuffed", given, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "stuffed.onnx")
    report = run_probe(str(tmp_path / "stuffed.onnx"), sample_rate=8000).report
    assert [(layer.kind, layer.stride) for layer in report.layers] == [("stretch", 4)]
