"""Asteroid decoders and mask networks built on any upsampler."""

from .alignment import Alignment, align
from .decoder import UpsamplerDecoder
from .strided import HeldConvolution
from .sudormrf import ChannelwiseUpsampler, exchange_upsamples
from .unet import UpsamplingUNet

__all__ = [
    "Alignment",
    "ChannelwiseUpsampler",
    "HeldConvolution",
    "UpsamplerDecoder",
    "UpsamplingUNet",
    "align",
    "exchange_upsamples",
]
