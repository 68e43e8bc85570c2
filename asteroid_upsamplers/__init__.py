"""Upsampling layers for audio synthesis networks: an Asteroid plug-in.

Importing the package registers its models with Asteroid.
"""

from . import layers, models
from ._version import __version__
from .errors import UsageError

__all__ = ["UsageError", "__version__", "layers", "models"]
