"""Networks whose upsampler is chosen by name; each is registered with Asteroid."""

from .base import MusicSeparator, PortableModel, load_model
from .demucs_like import DemucsLike
from .melgan import MelGANGenerator

__all__ = ["DemucsLike", "MelGANGenerator", "MusicSeparator", "PortableModel", "load_model"]
