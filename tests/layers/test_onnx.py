"""Layers as ONNX programs with a free time axis, run by onnxruntime."""

import io

import onnxruntime
import pytest
import torch
from torch import nn

from asteroid_upsamplers import layers


class Each(nn.Module):
    """All of its modules, one beside the other, so that they are exported at once."""

    def __init__(self, modules):
        super().__init__()
        self.each = nn.ModuleList(modules)

    def forward(self, x):
        return [module(x) for module in self.each]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("folded", [False, True])
def test_every_layer_is_one_program_for_all_lengths(folded):
    torch.manual_seed(0)
    more = [{"name": "subpixel", "tone_free": True}, {"name": "transposed", "trim": False}]
    settings = [*({"name": name} for name in layers.available()), *more]
    network = Each(layers.make(one.pop("name"), 3, 2, stride=4, **one) for one in settings).eval()
    if folded:
        layers.fold_for_inference(network)
    free = {"x": {2: torch.export.Dim("time", min=1, max=10**6)}}
    program = torch.onnx.export(
        network, (torch.randn(1, 3, 50),), dynamo=True, dynamic_shapes=free, verbose=False
    )
    file = io.BytesIO()
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue())
    (given,) = session.get_inputs()
    for time in (1, 2, 7, 33, 500):
        x = torch.randn(1, 3, time)
        found = session.run(None, {given.name: x.numpy()})
        for module, y in zip(network.each, found, strict=True):
            torch.testing.assert_close(torch.from_numpy(y), module(x), rtol=1e-5, atol=1e-5)
