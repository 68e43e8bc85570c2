"""Networks whose upsampler is chosen by name; each is registered with Asteroid."""

from .base import MusicSeparator, PortableModel, load_model
from .demucs_like import DemucsLike
from .melgan import MelGANGenerator
from .swap_decoder import swap_decoder
from .with_upsampler import (
    UpsamplerConvTasNet,
    UpsamplerDPRNNTasNet,
    UpsamplerDPTNet,
    UpsamplerLSTMTasNet,
    UpsamplerModel,
    UpsamplerSuDORMRFImprovedNet,
    UpsamplerSuDORMRFNet,
    with_upsampler,
)

__all__ = [
    "DemucsLike",
    "MelGANGenerator",
    "MusicSeparator",
    "PortableModel",
    "UpsamplerConvTasNet",
    "UpsamplerDPRNNTasNet",
    "UpsamplerDPTNet",
    "UpsamplerLSTMTasNet",
    "UpsamplerModel",
    "UpsamplerSuDORMRFImprovedNet",
    "UpsamplerSuDORMRFNet",
    "load_model",
    "swap_decoder",
    "with_upsampler",
]
