"""Another decoder for a trained Asteroid model."""

from __future__ import annotations

import logging
import math
from typing import Any, cast

from asteroid.models.base_models import BaseEncoderMaskerDecoder
from asteroid_filterbanks import Decoder

from .. import layers
from ..blocks.decoder import sounds
from ..blocks.fitting import without_fitting
from ..errors import UsageError
from .with_upsampler import UpsamplerModel, with_upsampler

logger = logging.getLogger(__name__)

INITS = ("least_squares", "random")


def swap_decoder(
    model: BaseEncoderMaskerDecoder,
    upsampler: str | type[layers.Upsampler],
    init: str = "least_squares",
    upsampler_kwargs: dict[str, Any] | None = None,
) -> UpsamplerModel:
    """A copy of a trained model with another upsampler in its decoder, to be fine-tuned.

    Args:
        model: Any encoder/masker/decoder model of Asteroid, or one of :func:`with_upsampler`; it
            stays as it is.
        upsampler: Name of a registered upsampler, or its class.
        init: ``"least_squares"`` starts the new decoder with the weights whose output is nearest to
            the old one's, for frames of white noise (``subpixel``, ``stretch`` and the
            wavelets give the same output). ``"random"`` draws the weights.
        upsampler_kwargs: Further settings of the upsampler.

    Returns:
        A model of the class ``with_upsampler(type(model))``, on the same device, in the same
        precision and mode.

    Raises:
        UsageError: (a ``ValueError``) for another kind of model, or what the upsampler cannot do.

    Example:
        >>> import torch
        >>> from asteroid.models import ConvTasNet
        >>> trained = ConvTasNet(n_src=2, n_blocks=2, n_repeats=1)
        >>> model, x = swap_decoder(trained, "subpixel"), torch.randn(1, 8000)
        >>> torch.allclose(model(x), trained(x), atol=1e-5)
        True
    """
    if init not in INITS:
        raise UsageError(f"swap_decoder: init is {init!r}, must be one of {', '.join(INITS)}")
    cls = with_upsampler(cast(Any, model if isinstance(model, type) else type(model)))
    if not isinstance(getattr(model, "decoder", None), Decoder):
        raise UsageError("swap_decoder: needs a model with an asteroid_filterbanks.Decoder")
    settings = {"upsampler": upsampler, "upsampler_kwargs": upsampler_kwargs}
    with without_fitting():
        made = cls(**{**model.get_model_args(), **settings})
    rest = {k: v for k, v in model.state_dict().items() if not k.startswith("decoder.")}
    made.load_state_dict({**made.state_dict(), **rest})
    old, new = model.decoder, made.decoder
    if init == "random":
        if new.upsampler is not None:
            new.upsampler.reset_parameters()
    elif new.upsampler is None and getattr(old, "upsampler", None) is None:
        new.load_state_dict(old.state_dict())
    else:
        error = new.start_from(sounds(old))
        logger.info(
            "decoder: %s starts with an error of %.1f dB of the old one's output, for white frames",
            new.upsampler_name,
            10 * math.log10(max(error, 1e-20)),
        )
    parameter = next(model.parameters())
    return made.to(parameter.device, parameter.dtype).train(model.training)
