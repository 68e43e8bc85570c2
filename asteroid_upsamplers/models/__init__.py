"""Networks whose upsampler is chosen by name; each is registered with Asteroid."""

from .base import MusicSeparator, load_model
from .demucs_like import DemucsLike

__all__ = ["DemucsLike", "MusicSeparator", "load_model"]
