"""For all tests and examples: what one of them registers is forgotten after it."""

import pytest

from asteroid_upsamplers.layers import base


@pytest.fixture(autouse=True)
def registry_as_it_was():
    """Examples in the docs register layers of their own, and others list what is registered."""
    classes = base._REGISTRY._classes
    before = dict(classes)
    yield
    classes.clear()
    classes.update(before)
