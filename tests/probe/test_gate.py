"""The gate for continuous integration: baselines, limits, and the pytest plugin."""

import copy
import json
import subprocess
import sys
from collections import OrderedDict

import pytest
import torch
from torch import nn

from asteroid_upsamplers import layers
from asteroid_upsamplers.cli import main
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.probe import LoudToneError, require_quiet
from asteroid_upsamplers.probe.gate import compare

pytest_plugins = ["pytester"]

SHAPE = {"sample_rate": 8000, "input_shape": (1, 1, 4000)}
OPTIONS = ["probe", "gated:network", "--sample_rate", "8000", "--input_shape", "1,1,4000"]


def whistling(gain=0.1, more=False, noise=0.0):
    """A constant, and a layer that makes of it a tone at 2000 Hz of ``gain / sqrt(2)`` rms."""
    source = nn.Conv1d(1, 1, 1)
    nn.init.ones_(source.weight)
    nn.init.ones_(source.bias)
    layer = layers.Transposed(1, 1, stride=4, kernel_size=4, bias=False)
    layer.weight.data[...] = 1 + gain * torch.tensor([1.0, 0.0, -1.0, 0.0])
    after = [layers.Nearest(1, 1, stride=2, bias=False)] if more else []
    return nn.Sequential(source, layer, *after, *([Noise(noise)] if noise else []))


class Noise(nn.Module):
    def __init__(self, amplitude):
        super().__init__()
        self.amplitude = amplitude

    def forward(self, x):
        return x + self.amplitude * torch.randn_like(x)


@pytest.fixture
def gate(tmp_path, monkeypatch, capsys):
    """Runs the command on a network, and gives its exit status and its output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "gated.py").write_text("def network(**settings): return built")

    def run(network, *arguments):
        import gated

        gated.built = network
        status = 0
        try:
            main([*OPTIONS, *arguments])
        except SystemExit as left:
            status = left.code
        said = capsys.readouterr()
        return status, (said.err if status == 2 else said.out).strip()

    yield run
    sys.modules.pop("gated", None)


def test_a_baseline(gate, tmp_path):
    assert gate(whistling(), "--save-baseline", "tones.json")[0] == 0
    content = json.loads((tmp_path / "tones.json").read_text())
    assert content.pop("baseline")["options"]["seed"] == 0
    assert content == json.loads(gate(whistling(), "--json")[1])
    against = ("--baseline", "tones.json")
    assert gate(whistling(), *against) == (0, "no regressions against tones.json")
    status, text = gate(whistling(0.2), *against)
    assert status == 1
    assert "regression: silence: tone at 2,000 Hz (layer 1): -17.0 dB, was -23.0 dB" in text
    assert "regression: layer 1: tone at 2,000 Hz: -20.1 dB, was -26.0 dB" in text
    assert gate(whistling(0.2), *against, "--tolerance", "6.1")[0] == 0
    status, text = gate(whistling(0.05), *against)
    assert status == 0
    assert "improvement: silence: tone at 2,000 Hz (layer 1): -29.0 dB, was -23.0 dB" in text
    assert text.endswith("no regressions against tones.json")
    gate(whistling(0), "--save-baseline", "quiet.json")
    status, text = gate(whistling(), "--baseline", "quiet.json", "--json")
    found = {(r["place"], r["frequency_hz"]) for r in json.loads(text)["regressions"]}
    places = [("silence", None), ("silence", 2000), ("noise", 2000), ("layer 1", 2000)]
    assert (status, found) == (1, set(places))


def test_new_layers_and_new_tones_are_regressions(gate):
    gate(whistling(), "--save-baseline", "tones.json")
    status, text = gate(whistling(more=True), "--baseline", "tones.json")
    assert status == 1
    assert "regression: layer 2: is new (nearest x2)" in text
    assert "silence: tone at 1,000 Hz (layer 1): " in text
    gate(whistling(more=True), "--save-baseline", "more.json")
    assert "improvement: layer 2: is gone" in gate(whistling(), "--baseline", "more.json")[1]


def test_layers_that_were_renamed_are_compared(gate):
    gate(whistling(), "--save-baseline", "tones.json")
    renamed = nn.Sequential(OrderedDict(zip("xy", whistling(), strict=True)))
    status, text = gate(renamed, "--baseline", "tones.json")
    assert (status, text) == (0, "renamed: layer 1 is now y\nno regressions against tones.json")
    louder = nn.Sequential(OrderedDict(zip("xy", whistling(0.2), strict=True)))
    status, text = gate(louder, "--baseline", "tones.json")
    assert status == 1
    assert "regression: layer y: tone at 2,000 Hz: -20.1 dB, was -26.0 dB" in text


def test_what_is_unknown_now_is_a_regression(gate, tmp_path):
    gate(whistling(), "--save-baseline", "tones.json")
    before = json.loads((tmp_path / "tones.json").read_text())
    now = copy.deepcopy(before)
    now["layers"][0]["tones"][0]["level_db"] = None
    now["noise"], now["unseen_factor"] = None, 4.0
    assert {str(difference) for difference in compare(before, now, 1).regressions} == {
        "layer 1: its tones are unknown now",
        "noise: its tones are unknown now",
        "network: more upsampling is not seen",
    }
    assert compare(now, before, 1).regressions == []


def test_other_settings_and_damaged_files_are_refused(gate, tmp_path):
    gate(whistling(), "--save-baseline", "tones.json")
    text = (tmp_path / "tones.json").read_text()
    for option, words in {
        ("--seed", "1"): "made with seed 0, this is 1",
        ("--input_shape", "1,1,5000"): "made with input_shape [1, 1, 4000], this is [1, 1, 5000]",
        ("--sample_rate", "16000"): "made with sample_rate 8000.0, this is 16000.0",
        ("--settings", '{"a": 1}'): 'made with settings {}, this is {"a": 1}',
        ("--tolerance", "nan"): "--tolerance nan: must be at least 0",
        ("--save-baseline", "x.json"): "exclude each other",
    }.items():
        status, said = gate(whistling(), "--baseline", "tones.json", *option)
        assert (status, words in said) == (2, True), said
    for damage in (
        *("", "[]", text[:500], "[" * 100_000),
        text.replace('"rms_db": ', '"rms_db": NaN, "x": ', 1),
        text.replace('"rms_db": ', '"rms_db": 1e999, "x": ', 1),
        text.replace('"stride": 4', '"stride": 0'),
        text.replace('"unseen_factor": ', '"unseen_factor": "a", "x": '),
        text.replace('"format": 1', '"format": 2'),
    ):
        (tmp_path / "bad.json").write_text(damage)
        for option in ("--baseline", "--save-baseline"):  # what is no baseline is not replaced
            status, said = gate(whistling(), option, "bad.json")
            assert (status, len(said.splitlines())) == (2, 1)
            assert said.startswith("error: bad.json: is ")
        assert (tmp_path / "bad.json").read_text() == damage
    said = gate(whistling(), "--baseline", "none.json")
    assert said == (2, "error: none.json: cannot be read: No such file or directory")


def test_a_limit():
    """0.1 of a constant 1 becomes a sinusoid of amplitude 0.1: -23.01 dB."""
    assert require_quiet(whistling(), -23.0, **SHAPE).layers[0].name == "1"
    words = r"silence: tone at 2,000 Hz \(layer 1\): -23\.0 dB, at most -23\.1 dB is allowed"
    with pytest.raises(LoudToneError, match=words):
        require_quiet(whistling(), -23.1, **SHAPE)
    with pytest.raises(LoudToneError, match="noise: tone at 2,000 Hz"):
        require_quiet(whistling(), 0, max_prominence_db=6, **SHAPE)
    with pytest.raises(UsageError, match="max_tone_db must be a number"):
        require_quiet(whistling(), float("nan"), **SHAPE)
    noisy = whistling(0, noise=0.01)
    with pytest.raises(LoudToneError, match="most is at no frequency that was looked at"):
        require_quiet(noisy, -60, **SHAPE)
    assert require_quiet(noisy, -60, allow_unknown=True, **SHAPE).silence.rms_db > -60


def test_the_fixture(pytester):
    pytester.makeconftest("from asteroid_upsamplers.pytest_plugin import artifacts_gate")
    pytester.makepyfile(
        f"""
        from {__name__} import SHAPE, whistling

        def test_quiet(artifacts_gate):
            assert artifacts_gate(whistling(0), max_tone_db=-60, **SHAPE).layers

        def test_loud(artifacts_gate):
            artifacts_gate(whistling(), max_tone_db=-60, **SHAPE)
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        "silence: tone at 2,000 Hz (layer 1): -23.0 dB, at most -60 dB is allowed"
    )


def test_pytest_starts_without_torch():
    code = "import asteroid_upsamplers.pytest_plugin, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
