"""Networks whose upsampler is chosen by name; each is registered with Asteroid."""

from .base import MusicSeparator, PortableModel, load_model
from .cross_net_open_unmix import CrossNetOpenUnmix
from .demucs_like import DemucsLike
from .melgan import LogMelSpectrogram, MelGANGenerator
from .open_unmix import OpenUnmix
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
    "CrossNetOpenUnmix",
    "DemucsLike",
    "LogMelSpectrogram",
    "MelGANGenerator",
    "MusicSeparator",
    "OpenUnmix",
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
