"""Names of upsamplers: listing, lookup, building, plug-ins, and errors that suggest a name."""

import subprocess
import sys

import pytest
import torch

from asteroid_upsamplers import layers
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.registry import Registry


def test_names_and_classes():
    assert {"transposed", "nearest", "linear", "subpixel"} <= set(layers.available())  # Table 1
    assert layers.get("nearest") is layers.Nearest
    assert layers.get(layers.Nearest) is layers.Nearest


def test_make_takes_names_classes_and_settings():
    by_name = layers.make("nearest", 3, 2, stride=4, kernel_size=5, bias=False)
    by_class = layers.make(layers.Nearest, 3, 2, 4, kernel_size=5, bias=False)
    assert type(by_name) is type(by_class) is layers.Nearest
    assert by_name.get_config() == by_class.get_config()
    assert (by_name.stride, by_name.kernel_size, by_name.bias) == (4, 5, None)


@pytest.mark.parametrize(
    ("identifier", "settings", "words"),
    [
        ("neerest", {}, "unknown upsampler 'neerest': did you mean nearest"),
        ("sub-pixel", {}, "did you mean subpixel"),
        ("", {}, "Known: .*transposed"),
        (torch.nn.Conv1d, {}, "unknown upsampler"),
        (None, {}, "unknown upsampler"),
        ("nearest", {"kernel": 3}, "unknown setting 'kernel': did you mean kernel_size"),
        ("nearest", {"zeros": 3}, "Known: bias, form, kernel_size, padding_mode"),
        ("nearest", {"bias": 3}, "bias must be True or False, not 3"),
    ],
)
def test_make_says_which_name_or_setting_is_wrong(identifier, settings, words):
    with pytest.raises(UsageError, match=words):
        layers.make(identifier, 3, 2, stride=4, **settings)


def test_an_error_in_a_users_constructor_is_not_hidden():
    class Faulty(layers.Nearest):
        def __init__(self, in_channels, out_channels, stride):
            super().__init__(in_channels, out_channels, stride + "1")

    with pytest.raises(TypeError, match="unsupported operand"):
        layers.make(Faulty, 3, 2, stride=4)


def test_register_adds_a_family_and_guards_names():
    registry = Registry("upsampler", layers.Upsampler, plugins="none.such")

    class Twice(layers.Nearest):
        name = "twice"

    class Impostor(layers.Nearest):
        name = "twice"

    class Nameless(layers.Nearest):
        name = ""

    assert registry.register(Twice) is Twice
    assert registry.register(Twice) is Twice
    assert registry.get("twice") is Twice
    for cls, words in ((Impostor, "taken"), (torch.nn.Conv1d, "no subclass"), (Nameless, "needs")):
        with pytest.raises(ValueError, match=words):
            registry.register(cls)
    assert "twice" not in layers.available()


def test_an_installed_package_adds_a_family(tmp_path, monkeypatch):
    """By an entry point; the package is imported when its layer is asked for, not before."""
    source = "from asteroid_upsamplers import layers\nclass Held(layers.Nearest):\n"
    (tmp_path / "held_layers.py").write_text(source + "    name = 'held'\n")
    information = tmp_path / "held_layers-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: held\nVersion: 1.0\n")
    points = "[asteroid_upsamplers.layers]\nheld = held_layers:Held\nhold = held_layers:Held\n"
    (information / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry("upsampler", layers.Upsampler, plugins="asteroid_upsamplers.layers")
    assert {"held", "hold"} == set(registry.available()) < set(layers.available())
    assert "held_layers" not in sys.modules
    layer = registry.get("held")(2, 3, stride=4)
    assert type(layer).__module__ == "held_layers" and layer.name == "held"
    with pytest.raises(ValueError, match="entry point 'hold': .* has another name"):
        registry.get("hold")


def test_layers_artifacts_and_the_probe_load_no_heavy_packages():
    heavy = (
        "asteroid librosa openunmix torchaudio pytorch_lightning musdb museval matplotlib pandas"
    )
    code = (
        "import sys, asteroid_upsamplers.layers, asteroid_upsamplers.artifacts, "
        "asteroid_upsamplers.probe\n"
        f"print(*(name for name in '{heavy}'.split() if name in sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
