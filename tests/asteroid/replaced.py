"""A pytest plug-in: Asteroid's model tests get our classes wherever they import Asteroid's.

``UPSAMPLER`` in the environment says which upsampler the classes have by default; without it
nothing is replaced.
"""

import os

import asteroid
import asteroid.models

from asteroid_upsamplers import models

NAMES = ("ConvTasNet", "DPRNNTasNet", "DPTNet", "LSTMTasNet", "SuDORMRFNet", "SuDORMRFImprovedNet")


def with_default(cls, upsampler):
    """The class with another default, under the name of Asteroid's, which the tests look up."""

    def initialise(self, *args, **kwargs):
        cls.__init__(self, *args, **{"upsampler": upsampler, **kwargs})

    original = type("Original", (cls.asteroid_class,), {})  # so that files say whose they are
    name = cls.asteroid_class.__name__
    return type(name, (cls,), {"__init__": initialise, "asteroid_class": original})


def pytest_configure(config):
    upsampler = os.environ.get("UPSAMPLER")
    for name in NAMES if upsampler else ():
        made = with_default(getattr(models, f"Upsampler{name}"), upsampler)
        for module in (asteroid, asteroid.models):
            if hasattr(module, name):
                setattr(module, name, made)
