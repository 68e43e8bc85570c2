"""Networks whose upsampler is chosen by name; each is registered with Asteroid."""

from .base import MusicSeparator, PortableModel, load_model
from .demucs_like import DemucsLike
from .melgan import LogMelSpectrogram, MelGANGenerator
from .sams_net import SamsNet
from .swap_decoder import swap_decoder
from .wave_unet import WaveUNet
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
    "LogMelSpectrogram",
    "MelGANGenerator",
    "MusicSeparator",
    "PortableModel",
    "SamsNet",
    "UpsamplerConvTasNet",
    "UpsamplerDPRNNTasNet",
    "UpsamplerDPTNet",
    "UpsamplerLSTMTasNet",
    "UpsamplerModel",
    "UpsamplerSuDORMRFImprovedNet",
    "UpsamplerSuDORMRFNet",
    "WaveUNet",
    "load_model",
    "swap_decoder",
    "with_upsampler",
]
