"""Networks and decoders as programs that torch makes of them, at lengths they were not made at."""

import io

import onnxruntime
import pytest
import torch
from asteroid_filterbanks.free_fb import FreeFB
from torch import nn
from torch._dynamo.testing import CompileCounter

from asteroid_upsamplers.blocks import UpsamplerDecoder
from asteroid_upsamplers.models import DemucsLike, MelGANGenerator

LENGTHS = (50, 20, 7, 4, 101)


class Each(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        small = {"n_mels": 4, "channels": 2, "strides": (4,)}
        self.each = nn.ModuleList(
            [
                MelGANGenerator("transposed", **small),
                UpsamplerDecoder(FreeFB(4, 16, stride=8)),
                UpsamplerDecoder(FreeFB(4, 16, stride=8), upsampler="nearest"),
                UpsamplerDecoder(FreeFB(4, 15, stride=4), upsampler="subpixel"),
            ]
        )

    def forward(self, x):
        return [module(x) for module in self.each]


@pytest.mark.filterwarnings("ignore")
def test_generators_and_decoders_in_onnx():
    network = Each().eval()
    program = torch.onnx.export(
        network,
        (torch.randn(1, 4, LENGTHS[0]),),
        dynamo=True,
        dynamic_shapes={"x": {2: torch.export.Dim("frames", min=4, max=10**6)}},
        verbose=False,
    )
    file = io.BytesIO()
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue())
    (given,) = session.get_inputs()
    for frames in LENGTHS:
        x = torch.randn(1, 4, frames)
        found = [torch.from_numpy(y) for y in session.run(None, {given.name: x.numpy()})]
        torch.testing.assert_close(found, network(x), rtol=1e-4, atol=1e-5)


def test_generators_and_decoders_compiled():
    network, counter = Each().eval(), CompileCounter()
    torch._dynamo.reset()
    compiled = torch.compile(network, backend=counter, fullgraph=True)
    with torch.no_grad():
        for frames in LENGTHS:
            x = torch.randn(2, 4, frames)
            torch.testing.assert_close(compiled(x), network(x), rtol=1e-4, atol=1e-5)
    assert counter.frame_count <= 2


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("settings", [{}, {"upsampler": "linear"}, {"resample": True}], ids=str)
def test_a_traced_demucs_pads_each_length_as_it_needs(settings):
    model = DemucsLike(channels=2, depth=3, **settings).eval()
    traced = torch.jit.trace(model, torch.zeros(1, 2, 1000))
    for time in (1000, 3001, 86, 85, 84, 7, 1):
        x = torch.randn(1, 2, time)
        torch.testing.assert_close(traced(x), model(x))
