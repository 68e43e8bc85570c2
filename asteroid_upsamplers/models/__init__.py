"""Networks whose upsampler is chosen by name; each is registered with Asteroid."""

from .base import MusicSeparator
from .cross_net_open_unmix import CrossNetOpenUnmix
from .demucs_checkpoint import convert_demucs_checkpoint, load_demucs_checkpoint
from .demucs_like import DemucsLike
from .melgan import LogMelSpectrogram, MelGANGenerator
from .music_conv_tasnet import MusicConvTasNet
from .open_unmix import OpenUnmix
from .portable import PortableModel, load_model
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
    "MusicConvTasNet",
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
    "convert_demucs_checkpoint",
    "load_demucs_checkpoint",
    "load_model",
    "swap_decoder",
    "with_upsampler",
]
