"""Layers as ONNX programs with a free time axis, run by onnxruntime."""

import io

import onnxruntime
import pytest
import torch

from asteroid_upsamplers import layers

QUICK = ["linear", "subpixel"]
OTHERS = [name for name in layers.available() if name not in QUICK]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", [*QUICK, *[pytest.param(n, marks=pytest.mark.slow) for n in OTHERS]]
)
def test_one_program_for_all_lengths(name):
    torch.manual_seed(0)
    layer = layers.make(name, 3, 2, stride=4).eval()
    free = {"x": {2: torch.export.Dim("time", min=8, max=10**6)}}
    program = torch.onnx.export(
        layer, (torch.randn(1, 3, 50),), dynamo=True, dynamic_shapes=free, verbose=False
    )
    file = io.BytesIO()
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue())
    (given,) = session.get_inputs()
    for time in (8, 33, 500):
        x = torch.randn(1, 3, time)
        (found,) = session.run(None, {given.name: x.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), layer(x), rtol=1e-5, atol=1e-5)
