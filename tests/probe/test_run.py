"""``asteroid-upsamplers probe``: targets, text, JSON, and the page in a real browser."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch

from asteroid_upsamplers.cli import main
from asteroid_upsamplers.models import DemucsLike

RATE = 44100
DEMUCS = "asteroid_upsamplers.models:DemucsLike"


@pytest.fixture
def model_file(tmp_path):
    torch.manual_seed(0)
    torch.save(DemucsLike(channels=4, depth=3).serialize(), tmp_path / "model.pth")
    return tmp_path / "model.pth"


@pytest.fixture
def recording(tmp_path):
    hum = 0.01 * np.sin(2 * np.pi * np.arange(2 * RATE) / 4 + 0.5)
    noise = 0.05 * np.random.default_rng(0).standard_normal((2 * RATE, 2))
    soundfile.write(tmp_path / "whistling.wav", noise + hum[:, None], RATE)
    return tmp_path / "whistling.wav"


def run(capsys, *arguments):
    main(["probe", *map(str, arguments)])
    return capsys.readouterr().out


def test_a_model_file(model_file, capsys):
    text = run(capsys, model_file, "--seconds", 2)
    assert "decoder.2.upsampler" in text
    assert "Tones in silence come from: decoder" in text
    assert "; the loudest is 11,025 Hz at -" in text or "; the loudest is 22,050 Hz at -" in text
    assert "What to do: Give decoder" in text
    content = json.loads(run(capsys, model_file, "--seconds", 2, "--json"))
    assert (content["sample_rate"], content["input_shape"]) == (RATE, [1, 2, 2 * RATE])
    assert [layer["kind"] for layer in content["layers"]] == ["transposed"] * 3


def test_asteroids_own_file(tmp_path, capsys):
    """With a ``TorchVersion`` inside, as Asteroid 0.7.0 writes it."""
    from .networks import conv_tasnet

    torch.save(conv_tasnet().serialize(), tmp_path / "asteroid.pth")
    content = json.loads(run(capsys, tmp_path / "asteroid.pth", "--json"))
    assert [layer["name"] for layer in content["layers"]] == ["decoder"]
    assert content["sample_rate"] == 8000


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_archives_of_programs_are_run_only_where_the_user_says_so(tmp_path, capsys):
    """By their names or by an option; names, channels and lengths are read from the archive."""
    network = torch.nn.Sequential(torch.nn.Conv1d(20, 4, 3), torch.nn.ConvTranspose1d(4, 1, 8, 4))
    x, free = torch.randn(1, 20, 200), ({2: torch.export.Dim("time", min=8)},)
    torch.jit.trace(network, x).save(tmp_path / "traced.ts")
    shutil.copy(tmp_path / "traced.ts", tmp_path / "traced.pt")
    torch.jit.script(network).save(tmp_path / "scripted.jit")
    exported = torch.export.export(network, (x,), dynamic_shapes=free)
    torch.export.save(exported, tmp_path / "exported.pt2")
    torch.export.save(torch.export.export(network, (x,)), tmp_path / "fixed.pt2")
    torch.save(network.state_dict(), tmp_path / "weights.ts")
    for name in ("traced.ts", "traced.pt", "scripted.jit", "exported.pt2", "fixed.pt2"):
        allowed = ["--torchscript"] if name == "traced.pt" else []
        content = json.loads(
            run(capsys, tmp_path / name, "--sample_rate", 8000, "--json", *allowed)
        )
        found = [(layer["name"], layer["stride"]) for layer in content["layers"]]
        assert found == [("1", 4)], name
        assert content["input_shape"] == [1, 20, 200 if name == "fixed.pt2" else 400], name
    refused = {"traced.pt": "pass --torchscript", "weights.ts": "no archive of torch.jit.save"}
    for name, words in (refused | {"none.ts": "no such file"}).items():
        with pytest.raises(SystemExit, match="2"):
            run(capsys, tmp_path / name)
        assert words in capsys.readouterr().err


def test_a_factory(capsys):
    settings = json.dumps({"upsampler": "nearest", "channels": 4, "depth": 3})
    text = run(capsys, DEMUCS, "--settings", settings, "--input_shape", "1,2,60000")
    assert "No tones found." in text
    assert "input 1 x 2 x 60000" in text
    text = run(capsys, DEMUCS, "--settings", settings, "--input_shape", "1,2,400")
    assert "Unknown whether there are tones, see the notes." in text
    assert "What to do" not in text
    settings = json.dumps({"n_mels": 20, "channels": 2})
    vocoder = ["asteroid_upsamplers.models:MelGANGenerator", "--settings", settings]
    content = json.loads(run(capsys, *vocoder, "--json", "--seconds", 2))
    assert content["input_shape"] == [1, 20, round(2 * 22050 / 256)]  # frames, not samples


def test_tones_of_what_was_not_seen_blame_no_layer(monkeypatch, capsys):
    def network(x):
        kernel = np.array([1.0, 0.5, 0.0, 0.5], np.float32)
        return torch.from_numpy(np.kron(x.numpy() + 1, kernel))

    monkeypatch.setattr(torch.nn, "stranger", lambda: network, raising=False)
    text = run(capsys, "torch.nn:stranger", "--seconds", 1)
    assert "come from: a step that was not seen; the loudest is 11,025 Hz at -9.0 dB." in text
    assert "What to do: Look for" in text


def test_a_recording(recording, tmp_path, capsys):
    text = run(capsys, recording, "--strides", "2,4", "--html", tmp_path / "page.html")
    assert "Steady tones at 1 of 2 frequencies" in text
    content = json.loads(run(capsys, recording, "--strides", "2,4", "--json"))
    assert content["tones"]["present"] == [True, False]
    page = (tmp_path / "page.html").read_text()
    assert "<img" in page
    assert "<audio" in page


STRANGER = """
import sys, torch
leave = sys.exit
def fails():
    return leave.nothing
def network():
    layer = torch.nn.ConvTranspose1d(1, 1, 4, 2)
    layer.weight.data[0, 0, 0] = float("nan")
    return layer
def lazy():
    return torch.nn.LazyConvTranspose1d(1, 4)
"""
CONV1D = '{"in_channels": 1, "out_channels": 1, "kernel_size": 3}'
UPSAMPLE = ["torch.nn:Upsample", "--settings", '{"scale_factor": 2}', "--seconds", "1"]
REFUSED = {
    "no such file, and no package.module:factory": ["nowhere.wav"],
    "nowhere.pth: no such file": ["nowhere.pth"],
    "text.wav: not readable as audio": ["text.wav"],
    "No module named": ["no.such.package:Network"],
    "has no attribute 'Network'": ["torch.nn:Network"],
    "cannot be built with no settings": ["torch.nn:Conv1d"],
    "gives a dict, but must give a network": ["builtins:dict"],
    "gives a network without weights": ["stranger:lazy"],
    "stranger:network: weight holds NaN": ["stranger:network"],
    "stranger:leave: cannot be built with no settings: SystemExit": ["stranger:leave"],
    "(stranger.py, line 5: return leave.nothing)": ["stranger:fails"],
    "is a recording: --seconds, --seed cannot": ["text.wav", "--seconds", "3", "--seed", "1"],
    "the given shape: --seconds cannot": [DEMUCS, "--seconds", "3", "--input_shape", "1,2,9999"],
    "strides are [1]": ["text.wav", "--strides", "1"],
    "no audio is called 'x': the network gives a Tensor": [*UPSAMPLE, "--output", "x"],
    "must be positive integers": [DEMUCS, "--input_shape", "1,x"],
    "must be a JSON object": [DEMUCS, "--settings", "[1]"],
    "torch.nn:Conv1d: no upsampling layer was seen": ["torch.nn:Conv1d", "--settings", CONV1D],
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_probed_is_one_line(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "stranger.py").write_text(STRANGER)
    with pytest.raises(SystemExit) as left:
        main(["probe", *REFUSED[words]])
    assert left.value.code == 2
    assert words in capsys.readouterr().err.strip().splitlines()[-1]


LENGTHS = """players => Promise.all(players.map(p => new Promise(done => p.readyState
    ? done(p.duration) : p.addEventListener('loadedmetadata', () => done(p.duration)))))"""
COLUMN = "t => [...t.tBodies[0].rows].map(r => parseFloat(r.cells[4].textContent))"


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_the_page_in_a_browser(model_file, tmp_path, capsys):
    """No errors in the console, nothing fetched, pictures drawn, sounds playable, tables sort."""
    from playwright.sync_api import sync_playwright

    run(capsys, model_file, "--html", tmp_path / "page.html", "--seconds", 2)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        troubles, requests = [], []
        page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else 0)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: requests.append(request.url.split(":")[0]))
        page.goto((tmp_path / "page.html").as_uri())
        widths = page.eval_on_selector_all("img", "images => images.map(i => i.naturalWidth)")
        assert len(widths) == 3
        assert min(widths) > 300
        assert page.eval_on_selector_all("audio", LENGTHS) == pytest.approx([2, 2], abs=0.1)
        head = page.locator("table.sortable").first.locator("th button").nth(4)
        for direction in ("ascending", "descending"):
            head.click()
            assert head.locator("..").get_attribute("aria-sort") == direction
            cells = page.eval_on_selector("table.sortable", COLUMN)
            assert cells == sorted(cells, reverse=direction == "descending")
        # the verdict, the picture and the player that show it, what to do; then the tables
        kinds = ".summary, img, audio, h2, table"
        order = page.eval_on_selector_all(kinds, "all => all.map(e => e.className || e.innerText)")
        heads = ["summary", "Output for silence", "", "", "What to do", "Upsampling layers"]
        assert order[:6] == heads
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert troubles == []
        assert set(requests) <= {"file", "data", "blob"}
        browser.close()
