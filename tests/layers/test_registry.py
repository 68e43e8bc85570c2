"""Names of upsamplers: listing, lookup, and errors that suggest the nearest one."""

import pytest
import torch

from asteroid_upsamplers import layers
from asteroid_upsamplers.registry import Registry


def test_table_1_is_available():
    assert {"transposed", "nearest", "linear", "subpixel"} <= set(layers.available())


def test_get_takes_a_name_or_a_class():
    assert layers.get("nearest") is layers.Nearest
    assert layers.get(layers.Nearest) is layers.Nearest


@pytest.mark.parametrize(
    ("name", "hint"),
    [("neerest", "did you mean nearest"), ("sub-pixel", "did you mean subpixel"), ("", "Known:")],
)
def test_unknown_name_suggests_the_nearest(name, hint):
    with pytest.raises(ValueError, match=hint) as caught:
        layers.get(name)
    assert "transposed" in str(caught.value)


@pytest.mark.parametrize("identifier", [torch.nn.Conv1d, None, 3])
def test_what_is_no_upsampler_is_refused(identifier):
    with pytest.raises(ValueError, match="unknown upsampler"):
        layers.get(identifier)


def test_register_adds_a_family_and_guards_names():
    registry = Registry("upsampler", layers.Upsampler)

    class Twice(layers.Nearest):
        name = "twice"

    class Impostor(layers.Nearest):
        name = "twice"

    assert registry.register(Twice) is Twice
    assert registry.register(Twice) is Twice
    assert registry.get("twice") is Twice
    with pytest.raises(ValueError, match="taken"):
        registry.register(Impostor)
    with pytest.raises(ValueError, match="no subclass"):
        registry.register(torch.nn.Conv1d)
    assert "twice" not in layers.available()
