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
    """The class with another default, registered under a name of its own, as the tests ask."""

    def initialise(self, *args, **kwargs):
        cls.__init__(self, *args, **{"upsampler": upsampler, **kwargs})

    name = f"{upsampler.title().replace('_', '')}{cls.asteroid_class.__name__}"
    made = type(name, (cls,), {"__init__": initialise})
    asteroid.models.register_model(made)
    return made


def pytest_configure(config):
    upsampler = os.environ.get("UPSAMPLER")
    for name in NAMES if upsampler else ():
        made = with_default(getattr(models, f"Upsampler{name}"), upsampler)
        for module in (asteroid, asteroid.models):
            if hasattr(module, name):
                setattr(module, name, made)
