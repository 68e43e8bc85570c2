"""``asteroid-upsamplers probe``: targets, text, JSON, and the page in a real browser."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from asteroid_upsamplers.cli import main
from asteroid_upsamplers.models import DemucsLike

RATE = 44100


@pytest.fixture
def model_file(tmp_path):
    torch.manual_seed(0)
    model = DemucsLike(channels=4, depth=3)
    torch.save(model.serialize(), tmp_path / "model.pth")
    return tmp_path / "model.pth"


@pytest.fixture
def recording(tmp_path):
    rng = np.random.default_rng(0)
    hum = 0.01 * np.sin(2 * np.pi * np.arange(2 * RATE) / 4 + 0.5)
    path = tmp_path / "whistling.wav"
    soundfile.write(path, 0.05 * rng.standard_normal((2 * RATE, 2)) + hum[:, None], RATE)
    return path


def run(capsys, *arguments):
    main(["probe", *map(str, arguments)])
    return capsys.readouterr().out


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        main(["probe", *map(str, arguments)])
    assert left.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_a_model_file(model_file, capsys):
    text = run(capsys, model_file, "--seconds", 2)
    assert "decoder.2.upsampler" in text
    assert "Tones in silence come from: decoder" in text
    assert "11,025 Hz" in text
    content = json.loads(run(capsys, model_file, "--seconds", 2, "--json"))
    assert content["sample_rate"] == RATE
    assert content["input_shape"] == [1, 2, 2 * RATE]
    assert [layer["kind"] for layer in content["layers"]] == ["transposed"] * 3


def test_asteroids_own_file(tmp_path, capsys):
    """With a ``TorchVersion`` inside, as Asteroid 0.7.0 writes it."""
    from asteroid.models import ConvTasNet

    model = ConvTasNet(2, n_blocks=1, n_repeats=1, bn_chan=8, hid_chan=8, skip_chan=8, n_filters=16)
    torch.save(model.serialize(), tmp_path / "asteroid.pth")
    content = json.loads(run(capsys, tmp_path / "asteroid.pth", "--json"))
    assert [layer["name"] for layer in content["layers"]] == ["decoder"]
    assert content["sample_rate"] == 8000


def test_a_factory(capsys):
    settings = json.dumps({"upsampler": "nearest", "channels": 4, "depth": 3})
    target = "asteroid_upsamplers.models:DemucsLike"
    text = run(capsys, target, "--settings", settings, "--input_shape", "1,2,60000")
    assert "nearest" in text
    assert "No tones found." in text
    assert "input 1 x 2 x 60000" in text


def test_a_vocoder_is_given_frames(capsys):
    target = "asteroid_upsamplers.models:MelGANGenerator"
    settings = json.dumps({"n_mels": 20, "channels": 2})
    content = json.loads(run(capsys, target, "--settings", settings, "--json", "--seconds", 2))
    assert content["input_shape"] == [1, 20, round(2 * 22050 / 256)]


def test_a_recording(recording, capsys):
    text = run(capsys, recording, "--strides", "2,4")
    assert "at 1 of 2" in text
    assert "11,025 Hz" in text
    content = json.loads(run(capsys, recording, "--strides", "2,4", "--json"))
    assert content["tones"]["present"] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.wav"], "no such file, and no package.module:factory"),
        (["nowhere.pth"], "nowhere.pth: no such file"),
        (["no.such.package:Network"], "No module named"),
        (["torch.nn:Network"], "has no attribute 'Network'"),
        (["torch.nn:ConvTranspose1d"], "cannot be built with no settings"),
        (["builtins:dict"], "gives a dict, but must give a network"),
        (["asteroid_upsamplers.models:DemucsLike", "--input_shape", "1,x"], "whole numbers"),
        (["asteroid_upsamplers.models:DemucsLike", "--settings", "[1]"], "a JSON object is needed"),
        (
            [
                *("torch.nn:Conv1d", "--settings"),
                '{"in_channels": 1, "out_channels": 1, "kernel_size": 3}',
            ],
            "torch.nn:Conv1d: no upsampling layer was seen",
        ),
        (
            [
                *("torch.nn:ConvTranspose1d", "--input_shape", "1,3,999", "--settings"),
                '{"in_channels": 1, "out_channels": 1, "kernel_size": 4, "stride": 2}',
            ],
            "refused an input of shape (1, 3, 999)",
        ),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_what_cannot_be_probed_is_one_line(arguments, words, capsys):
    assert words in refused(capsys, *arguments)


def test_a_damaged_recording(tmp_path, capsys):
    (tmp_path / "text.wav").write_text("no audio")
    assert "cannot be read" in refused(capsys, tmp_path / "text.wav")


BROWSER = shutil.which("chromium")


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None:
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.parametrize("what", ["network", "recording", "nothing"])
def test_the_page_in_a_browser(what, browser, model_file, recording, tmp_path, capsys):
    """No errors in the console, nothing fetched, pictures drawn, sounds playable, tables sort."""
    target = {"network": model_file, "recording": recording}.get(what)
    if what == "nothing":
        target = tmp_path / "silent.wav"
        soundfile.write(target, np.zeros(RATE), RATE)
    page_file = tmp_path / "page.html"
    run(capsys, target, "--html", page_file, "--seconds", 2)
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    troubles, requests = [], []
    page.on(
        "console",
        lambda message: troubles.append(message.text) if message.type == "error" else None,
    )
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_file.as_uri())
    page.wait_for_load_state("load")
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    widths = page.eval_on_selector_all("img", "images => images.map(i => i.naturalWidth)")
    assert all(width > 300 for width in widths)
    durations = page.eval_on_selector_all(
        "audio",
        """players => Promise.all(players.map(p => new Promise(done =>
            p.readyState ? done(p.duration) : p.addEventListener('loadedmetadata',
            () => done(p.duration)))))""",
    )
    if what == "nothing":
        assert widths == durations == []
        assert "every sample is 0" in page.inner_text("body")
    else:
        assert len(widths) == {"network": 3, "recording": 1}[what]
        assert durations == pytest.approx([2.0] * len(durations), abs=0.1)
        column = 4 if what == "network" else 1
        head = page.locator("table.sortable").first.locator("th button").nth(column)
        for direction in ("ascending", "descending"):
            head.click()
            assert head.locator("..").get_attribute("aria-sort") == direction
            cells = page.eval_on_selector(
                "table.sortable",
                f"t => [...t.tBodies[0].rows].map(r => parseFloat(r.cells[{column}].textContent))",
            )
            assert cells == sorted(cells, reverse=direction == "descending")
    overflow = page.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert not overflow
    assert troubles == []
    page.close()


@pytest.mark.slow
def test_the_command(model_file):
    command = [sys.executable, "-m", "asteroid_upsamplers.cli", "probe", str(model_file), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(result.stdout)["silence"]["rms"] > 0
