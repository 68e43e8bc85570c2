"""Trained upsamplers in the form that costs least where nothing is learned any more."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..dsp import covering_frames
from ..dsp.polyphase import filtered_frames, interleaved, joined
from ..dsp.precision import becomes_a_program
from ..errors import UsageError
from .base import Upsampler
from .measured import double_copy, linear_system

TOLERANCE = 1e-9


class FoldedUpsampler(nn.Module):
    """What :func:`fold_for_inference` puts in the place of an upsampler.

    One convolution at the input rate to ``out_channels * stride`` channels and the periodic
    shuffle, with all of the layer's filters multiplied out once. Where the edges of the layer's
    output are made otherwise than the middle, the layer itself makes them; in programs that torch
    makes (``torch.compile``, ``torch.export``, tracing) it makes the whole output, at any length.

    Args:
        layer: Any upsampler.

    Shape:
        As that of ``layer``.
    """

    def __init__(self, layer: Upsampler):
        super().__init__()
        self.in_channels, self.out_channels = layer.in_channels, layer.out_channels
        self.stride = layer.stride
        self.more = layer.output_length(1) - layer.stride
        system = linear_system(layer)
        taps = system.low_rate_taps()
        self.past, self.future = taps.shape[-1] - 1 - system.before, system.before
        self.weight = nn.Parameter(taps.flatten(0, 1), requires_grad=False)
        self.bias = nn.Parameter(system.offsets.flatten().clone(), requires_grad=False)
        self.head, self.tail = self._edges(double_copy(layer))
        self.layer = layer.requires_grad_(False) if self.head or self.tail else None
        self.to(next(layer.parameters()))

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, in_channels, time)`` or ``(in_channels, time)``, as the layer."""
        if x.dim() not in (2, 3) or x.shape[-2] != self.in_channels:
            raise ValueError(
                f"the input must be (batch, {self.in_channels}, time) or ({self.in_channels}, time)"
                f", not {tuple(x.shape)}"
            )
        if x.dim() == 2:
            return self(x[None])[0]
        if not x.numel():
            return x.new_zeros(len(x), self.out_channels, self.output_length(x.shape[-1]))
        if self.layer is None:
            return self.middle(x)
        near = self.head + self.tail + self.past + self.future + 1
        if becomes_a_program() or x.shape[-1] < 2 * near:
            return self.layer(x)
        y = self.middle(x)
        head, tail = self.head * self.stride, self.tail * self.stride + self.more
        first = self.layer(x[..., :near])[..., :head]
        last = self.layer(x[..., x.shape[-1] - near :])
        return torch.cat(
            [first, y[..., head : y.shape[-1] - tail], last[..., last.shape[-1] - tail :]], -1
        )

    def output_length(self, time: int) -> int:
        """Samples that come out for ``time`` samples in."""
        return time * self.stride + self.more

    def _save_to_state_dict(self, *args: Any) -> None:
        raise UsageError("a folded model has no weights to save: save it before fold_for_inference")

    def _load_from_state_dict(self, *args: Any) -> None:
        raise UsageError("a folded model takes no weights: load them before fold_for_inference")

    def extra_repr(self) -> str:
        """The settings, for ``print(model)``."""
        return f"{self.in_channels}, {self.out_channels}, stride={self.stride}"

    def middle(self, x: Tensor) -> Tensor:
        """The output as it is far from both ends: ``(batch, in_channels, time)``."""
        length = self.output_length(x.shape[-1])
        further = covering_frames(self.more, self.stride)
        frames = x.shape[-1] + further
        around = max(self.past, self.future + further)
        first = around - self.past
        pieces = filtered_frames(
            x, self.weight, self.bias, self.stride, slice(None), around, first, frames
        )
        return interleaved(joined(pieces))[..., :length]

    @torch.no_grad()
    def _edges(self, layer: nn.Module) -> tuple[int, int]:
        """How many input samples' worth of output is made otherwise, at the start and the end."""
        time = 16 + 8 * (self.past + self.future)
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(1, self.in_channels, time, generator=generator, dtype=torch.float64)
        x = x.to(self.weight.device)
        y = self.middle(x)
        differs = ((layer(x) - y).abs() > TOLERANCE * y.abs().max()).any(1)[0]
        places = differs.nonzero()[:, 0].tolist()
        half = time * self.stride // 2
        head = max((p // self.stride + 1 for p in places if p < half), default=0)
        tail = max((max(1, time - p // self.stride) for p in places if p >= half), default=0)
        if head + tail >= time // 2:
            raise UsageError(f"{layer.name}: its output is nowhere that of a linear filter")
        return head, tail


def fold_for_inference(model: nn.Module) -> nn.Module:
    """Put the folded form in place of every upsampler of a trained model, as
    ``torch.nn.utils.remove_weight_norm`` does with its kind.

    Interpolations, parametrizations (``tone_free``, weight norm) and wavelet steps are multiplied
    out once instead of in every call. That pays for wavelets, ``learned`` and ``tone_free`` layers;
    transposed and linear layers are about as fast or a little slower, and a sinc's weights grow
    (``benchmarks/inference.py`` measures it). The model computes the same, to rounding; it can no
    longer be trained, saved, or change its form: fold after loading. In half precision the rounding
    of folded taps makes a tone, some 55 dB below a constant: fold where the model runs in float32.

    Args:
        model: Any network; it is changed in place. An upsampler itself is left as it is.

    Returns:
        The model, or, if ``model`` is an upsampler itself, its folded form.

    Example:
        >>> from asteroid_upsamplers import layers
        >>> model = nn.Sequential(layers.Linear(2, 3, stride=4), nn.ReLU())
        >>> x = torch.randn(1, 2, 10)
        >>> before = model(x)
        >>> torch.allclose(fold_for_inference(model)(x), before, atol=1e-6)
        True
    """
    if isinstance(model, Upsampler):
        return FoldedUpsampler(model)
    parents = [m for m in model.modules() if not isinstance(m, (Upsampler, FoldedUpsampler))]
    folded: dict[Upsampler, FoldedUpsampler] = {}  # a layer may stand in several places
    for parent in parents:
        for name, child in list(parent._modules.items()):
            if isinstance(child, Upsampler):
                if child not in folded:
                    folded[child] = FoldedUpsampler(child)
                setattr(parent, name, folded[child])
    return model
