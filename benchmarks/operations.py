"""How many multiply-adds a network asks for, counted on shapes alone.

Convolutions and matrix products are counted by torch; the recurrent layers, which its counter does
not see on every device, by the closed formula of :func:`lstm_macs`.
"""

from __future__ import annotations

import torch
from steps import SOURCES, TorchInterpolation
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from asteroid_upsamplers import layers
from asteroid_upsamplers.models import DemucsLike

GATES = 4


class _Counted(nn.Module):
    """Takes the place of an LSTM: outputs of its shape, and a count of its multiply-adds."""

    def __init__(self, lstm: nn.LSTM):
        super().__init__()
        self.lstm, self.macs = lstm, 0

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """``(time, batch, channels)`` -> ``(time, batch, directions * hidden)``."""
        self.macs += x.shape[0] * x.shape[1] * lstm_macs(self.lstm)
        directions = 2 if self.lstm.bidirectional else 1
        return x.new_empty(*x.shape[:2], directions * self.lstm.hidden_size), None


def lstm_macs(lstm: nn.LSTM) -> int:
    """Multiply-adds for one sample: four gates, each of the input and of the state before."""
    hidden, directions = lstm.hidden_size, 2 if lstm.bidirectional else 1
    inputs = [lstm.input_size, *[directions * hidden] * (lstm.num_layers - 1)]
    return sum(directions * GATES * hidden * (size + hidden) for size in inputs)


def forward_macs(
    upsampler: str, channels: int, depth: int, time: int, encoder_context: int = 1
) -> int:
    """Multiply-adds of ``DemucsLike`` for one extract, with the layers as users would write them.

    Interpolations are counted as the convolution at the high rate alone, whatever form is taken in
    fact: what is saved thereby shows as a higher rate.

    Args:
        upsampler: Name of a registered upsampler.
        channels: Of the first block.
        depth: Blocks each way.
        time: Samples of the extract.
        encoder_context: As ``DemucsLike``'s.
    """
    settings = {"channels": channels, "depth": depth, "encoder_context": encoder_context}
    with torch.device("meta"):
        model = DemucsLike(SOURCES, upsampler, **settings)
        mixture = torch.empty(1, 2, time)
        for block in model.decoder:
            block.upsampler = _as_written(block.upsampler, model.stride)
    recurrent = _Counted(model.lstm.lstm)
    model.lstm.lstm = recurrent
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(mixture)
    return counter.get_total_flops() // 2 + recurrent.macs


def _as_written(layer: nn.Module, stride: int) -> nn.Module:
    """In place of an interpolation, torch's two layers: copying samples takes no products."""
    interpolates = isinstance(layer, layers.PolyphaseUpsampler)
    if not interpolates or isinstance(layer, layers.Transposed):
        return layer
    return TorchInterpolation(layer.in_channels, layer.out_channels, stride, "nearest")
