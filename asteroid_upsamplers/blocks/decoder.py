"""Asteroid's decoder, with the upsampler by name."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from asteroid_filterbanks import Decoder
from asteroid_filterbanks.enc_dec import Filterbank
from torch import Tensor, nn

from .. import layers
from ..errors import UsageError
from .alignment import align
from .fitting import (
    Responses,
    covering_kernel_size,
    fit_responses,
    fitting_wanted,
    impulse_responses,
    tap_responses,
    taps_of,
)


class UpsamplerDecoder(Decoder):
    """Takes the place of ``asteroid_filterbanks.Decoder``: the same input, the same length out.

    With ``"transposed"``, and no further setting, it *is* Asteroid's decoder: its filters are those
    of the filterbank (sinc, analytic, STFT, pseudo-inverse), under the same names. Any other layer
    has weights of its own, which are learned. They start as the filters of the filterbank, or as
    near as the family can come to them (:func:`fit_responses`), unless ``upsampler_kwargs``
    has an ``init`` or the layer has several weights. Frames count as silent beyond both ends, as in
    a transposed convolution.

    Args:
        filterbank: Asteroid's filterbank; gives the features, the stride and the length of a frame.
        is_pinv: Whether the filters (at the start) are the pseudo-inverse of the filterbank's.
        padding: Samples that are cut at both ends, as in ``nn.ConvTranspose1d``.
        output_padding: Samples that are cut less at the last end.
        upsampler: Name of a registered upsampler, or its class.
        upsampler_kwargs: Further settings of the upsampler. It has no bias unless they ask for one,
            and a ``kernel_size`` that covers the filters unless they give one: a transposed
            convolution the filters', another the family's default or as much more as is needed.

    Attributes:
        upsampler: The layer, from the features to one channel; ``None`` for Asteroid's own decoder.
            Its weights are stored under its name, so that those of another are never mistaken for
            them.

    Raises:
        UsageError: (a ``ValueError``) for an unknown upsampler, or settings that it cannot do.

    Shape:
        ``(features, frames)`` -> ``(time,)``, ``(batch, features, frames)`` -> ``(batch, 1,
        time)``, ``(..., features, frames)`` -> ``(..., time)``, with ``time = (frames - 1) * stride
        + kernel_size - 2 * padding + output_padding``.

    Example:
        >>> from asteroid_filterbanks.free_fb import FreeFB
        >>> decoder = UpsamplerDecoder(FreeFB(32, 16, stride=8), upsampler="nearest")
        >>> decoder(torch.zeros(2, 3, 32, 10)).shape
        torch.Size([2, 3, 88])
    """

    def __init__(
        self,
        filterbank: Filterbank,
        is_pinv: bool = False,
        padding: int = 0,
        output_padding: int = 0,
        upsampler: str | type[layers.Upsampler] = "transposed",
        upsampler_kwargs: dict[str, Any] | None = None,
    ):
        super().__init__(filterbank, is_pinv, padding, output_padding)
        family, settings = layers.get(upsampler), dict(upsampler_kwargs or {})
        self.upsampler_name, self.upsampler_kwargs = family.name, settings
        self.layer = nn.ModuleDict()
        self.register_load_state_dict_pre_hook(_refuse_weights_of_another)
        if family is layers.Transposed and not settings:
            return
        filters = self.get_filters().detach()[:, 0]
        layer = _layer(family, len(filters), filters.shape[1], self.stride, settings)
        self.layer[family.name] = layer
        place = (filters.shape[1], padding, output_padding)
        drawn = "init" in settings or filters.is_meta or not fitting_wanted()
        if drawn or taps_of(layer) is None:
            self.alignment = align(layer, *place)
        else:
            taps = tap_responses(layer)
            self.alignment = align(layer, *place, (taps.start, taps.stop))
            fit_responses(layer, Responses(filters, -self.alignment.delay), taps)
        self.filterbank = _without_filters(filterbank)

    @classmethod
    def in_place_of(
        cls,
        decoder: Decoder,
        upsampler: str | type[layers.Upsampler],
        upsampler_kwargs: dict[str, Any] | None = None,
    ) -> UpsamplerDecoder:
        """The decoder for the filterbank and the padding of another one."""
        return cls(
            decoder.filterbank,
            decoder.is_pinv,
            decoder.padding,
            decoder.output_padding,
            upsampler,
            upsampler_kwargs,
        )

    @property
    def upsampler(self) -> layers.Upsampler | None:
        """The layer; ``None`` for Asteroid's own decoder."""
        return cast("layers.Upsampler | None", next(iter(self.layer.values()), None))

    def forward(self, spec: Tensor, length: int | None = None) -> Tensor:
        """The signal of a masked representation, cut to ``length`` samples if that is given."""
        layer = self.upsampler
        if layer is None:
            return super().forward(spec, length)
        spec = self.filterbank.pre_synthesis(spec)
        frames = spec.reshape(-1, *spec.shape[-2:])
        wav = self.alignment.upsample(layer, frames)
        if spec.dim() != 3:
            wav = wav.reshape(*spec.shape[:-2], -1)
        wav = self.filterbank.post_synthesis(wav)
        return wav if length is None else wav[..., :length]

    def filters(self) -> Tensor:
        """What a frame of each feature sounds like: ``(features, 1, samples)``."""
        layer = self.upsampler
        if layer is None:
            return super().filters()
        return impulse_responses(layer).values[:, None].to(next(layer.parameters()))

    def get_filters(self) -> Tensor:
        """As :meth:`filters`, or the pseudo-inverse of the filterbank's in Asteroid's decoder."""
        return super().get_filters() if self.upsampler is None else self.filters()

    def start_from(self, wanted: Responses) -> float:
        """Bring what a frame of each feature sounds like as near as can be to ``wanted``.

        Args:
            wanted: A row for each feature, as :func:`sounds` gives them.

        Returns:
            The energy of the error as a share of the energy of ``wanted``.

        Raises:
            UsageError: If the filters are not free: Asteroid's decoder with a constrained
                filterbank.
        """
        if self.upsampler is not None:
            delayed = Responses(wanted.values, wanted.start - self.alignment.delay)
            return fit_responses(self.upsampler, delayed)
        free = getattr(self.filterbank, "_filters", None)
        if (
            self.is_pinv
            or not isinstance(free, nn.Parameter)
            or free.shape != self.get_filters().shape
        ):
            raise UsageError(
                f"transposed: the filters of {type(self.filterbank).__name__} are not free to "
                "start from others; with upsampler_kwargs={'trim': True} they are"
            )
        reached = wanted.between(0, free.shape[-1])
        with torch.no_grad():
            free.copy_(reached[:, None])
        energy = float(wanted.values.square().sum())
        return 1 - float(reached.square().sum()) / energy if energy else 0.0

    def get_config(self) -> dict[str, Any]:
        """Asteroid's, with the upsampler and its settings."""
        own = {"upsampler": self.upsampler_name, "upsampler_kwargs": self.upsampler_kwargs}
        return {**super().get_config(), **copy.deepcopy(own)}


@torch.no_grad()
def sounds(decoder: Decoder) -> Responses:
    """What a frame of each feature sounds like in a decoder, and where.

    Sample 0 is the first of a transposed convolution without padding. It is what
    :meth:`UpsamplerDecoder.start_from` takes.
    """
    if isinstance(decoder, UpsamplerDecoder) and decoder.upsampler is not None:
        found = impulse_responses(decoder.upsampler)
        return Responses(found.values, found.start + decoder.alignment.delay)
    return Responses(decoder.get_filters().detach()[:, 0].double().cpu(), 0)


def _layer(
    family: type[layers.Upsampler],
    features: int,
    samples: int,
    stride: int,
    settings: dict[str, Any],
) -> layers.Upsampler:
    if "kernel_size" not in settings:
        if family is layers.Transposed:
            kernel_size = samples
        else:
            kernel_size = covering_kernel_size(family, stride, samples)
        settings = {"kernel_size": kernel_size, **settings}
    return layers.make(family, features, 1, stride, **{"bias": False, **settings})


def _without_filters(filterbank: Filterbank) -> Filterbank:
    """A copy that keeps everything but its learnable filters."""
    filterbank = copy.deepcopy(filterbank)
    for name, _ in list(filterbank.named_parameters(recurse=False)):
        delattr(filterbank, name)
    return filterbank


def _refuse_weights_of_another(
    module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *args: Any
) -> None:
    stored = [key[len(prefix) :].split(".") for key in state_dict if key.startswith(prefix)]
    names = {path[1] for path in stored if path[0] == "layer"} or {layers.Transposed.name}
    name = cast(UpsamplerDecoder, module).upsampler_name
    if stored and names != {name}:
        raise UsageError(
            f"decoder: weights of upsampler {', '.join(sorted(names))}, this model has {name} "
            "(models.swap_decoder exchanges the decoder of a trained model)"
        )
