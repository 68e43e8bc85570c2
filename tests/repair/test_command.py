"""``asteroid-upsamplers repair``: files that load, bits that come back, one line for faults."""

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from asteroid.models import BaseModel

from asteroid_upsamplers.cli import main
from asteroid_upsamplers.models import DemucsLike, load_model
from asteroid_upsamplers.probe.pictures import heard
from asteroid_upsamplers.probe.spectrogram import spectrogram
from asteroid_upsamplers.repair.stored import load_target

RATE = 8000
FACTORY = "torch.nn:ConvTranspose1d"
LAYER = {"in_channels": 1, "out_channels": 1, "kernel_size": 8, "stride": 4}


def demucs():
    torch.manual_seed(0)
    return DemucsLike(("a", "b"), channels=2, depth=2, audio_channels=1, sample_rate=RATE)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with a model and a recording, that the commands are called from."""
    monkeypatch.chdir(tmp_path)
    torch.save(demucs().serialize() | {"licenses": "mine"}, "model.pth")
    noise = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE)
    soundfile.write("noise.wav", noise, RATE)
    soundfile.write("stereo.wav", np.stack([noise, noise], 1), RATE)
    soundfile.write("other.wav", noise, 2 * RATE)
    soundfile.write("silence.wav", 0 * noise, RATE)
    soundfile.write("short.wav", noise[:100], RATE)
    np.save("array.npy", noise[None])
    np.save("complex.npy", noise[None].astype(np.complex64))
    (tmp_path / "empty").mkdir()
    (tmp_path / "less" / "test").mkdir(parents=True)
    (tmp_path / "less" / "test" / "a.stem.mp4").touch()
    record = {"format": 1, "names": ["decoder.0.rewrite.bias"], "original": {}}
    torch.save({"state_dict": {}, "repair": record}, "less.pth")
    return tmp_path


def run(*arguments):
    with pytest.raises(SystemExit) as left:
        main(["repair", *map(str, arguments)])
    return left.value.code


SHORT = ("--seconds", 1, "--audio", "noise.wav")


def same_bits(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[k].view(torch.uint8), second[k].view(torch.uint8)) for k in first)


def test_a_model_file(files, capsys):
    status = run("model.pth", "-o", "out.pth", *SHORT, "--json", "--html", "page.html")
    content = json.loads(capsys.readouterr().out)
    assert status == int(content["verdict"]["verdict"] != "safe")
    assert content["written"] == "out.pth"
    assert [layer["status"] for layer in content["repair"]["layers"]] == ["repaired"] * 2
    before, after = torch.load("model.pth"), torch.load("out.pth")
    assert after["licenses"] == "mine"
    assert after["repair"]["method"] == "phases"
    changed = [
        k for k, v in before["state_dict"].items() if not torch.equal(v, after["state_dict"][k])
    ]
    assert set(changed) == set(after["repair"]["original"]) == {
        f"decoder.{block}.upsampler.weight" for block in (0, 1)
    }  # fmt: skip
    page = (files / "page.html").read_text()
    assert page.count("<audio") == page.count("<img") == 6
    main(["repair", "out.pth", "--undo", "-o", "undone.pth", "--json"])
    assert json.loads(capsys.readouterr().out) == {"written": "undone.pth"}
    undone = torch.load("undone.pth")
    assert undone.keys() == before.keys()
    same_bits(undone["state_dict"], before["state_dict"])


def test_before_and_after_are_shown_and_played_at_the_same_gain():
    before = torch.tensor([[0.1], [0.1], [0.8]]) * torch.linspace(-1, 1, 4000)
    captions = [heard("", y, RATE, [], before).caption for y in (before, before / 2)]
    first, second = (caption.partition("amplified by ")[2] for caption in captions)
    assert first == second != ""
    levels = [spectrogram(y.numpy(), reference=before.numpy()).max() for y in (before, before / 2)]
    assert levels == pytest.approx([0.0, -6.02], abs=0.01)


def test_a_finished_training_leaves_no_state(files):
    options = ("--method", "distil", "--options", '{"steps": 1, "piece": 2048}')
    run("model.pth", "-o", "out.pth", *SHORT, *options)
    assert (files / "out.pth").exists() and not (files / "out.pth.state").exists()


def test_a_repaired_file_is_a_model_anywhere(files):
    run("model.pth", "-o", "out.pth", *SHORT)
    load = "asteroid.models.BaseModel.from_pretrained('out.pth')"
    subprocess.run(
        [sys.executable, "-c", f"import asteroid.models, asteroid_upsamplers.models; {load}"],
        check=True,
    )
    main(["separate", "out.pth", "noise.wav", "-d", "cpu"])
    assert soundfile.info("noise_b.wav").frames == 2 * RATE
    assert isinstance(load_model("out.pth"), BaseModel)


@pytest.mark.parametrize("prefix", ["module.", "decoder."])
def test_files_in_other_words(files, prefix):
    """Half precision, and names of DDP or that only the model itself understands."""
    package = demucs().serialize()
    state = package["state_dict"]
    package["state_dict"] = {
        (prefix + k if prefix == "module." else k.replace(".upsampler.", ".2.")): v.half()
        for k, v in state.items()
    }
    torch.save(package, "half.pth")
    run("half.pth", "-o", "out.pth", *SHORT)
    main(["repair", "out.pth", "--undo", "-o", "undone.pth"])
    repaired, undone = load_model("out.pth"), load_model("undone.pth")
    same_bits(undone.state_dict(), load_model("half.pth").state_dict())
    assert not torch.equal(repaired.decoder[1].upsampler.weight, undone.decoder[1].upsampler.weight)
    if prefix == "module.":
        same_bits(torch.load("undone.pth")["state_dict"], package["state_dict"])


def test_a_checkpoint_of_demucs(files, capsys):
    names = {"downsample": "0", "rewrite": ("2", "0"), "upsampler": "2"}
    torch.manual_seed(0)
    model = DemucsLike(channels=2, depth=2, encoder_context=0)
    state = {}
    for key, value in model.state_dict().items():
        side, number, *rest = key.split(".")
        if side in ("encoder", "decoder"):
            new = names[rest[0]]
            rest[0] = new if isinstance(new, str) else new[side == "decoder"]
        state[".".join((side, number, *rest))] = value
    torch.save(state, "demucs.th")
    soundfile.write("music.wav", np.random.default_rng(0).uniform(-0.1, 0.1, (44100, 2)), 44100)
    run("demucs.th", "-o", "out.pth", "--audio", "music.wav", "--seconds", 0.5)
    assert load_model("out.pth").resample
    assert "Repair of demucs.th" in capsys.readouterr().out


def test_swapped_layers(files):
    """The file says which they are, and the original layers come back."""
    size = {"channels": 2, "depth": 1, "audio_channels": 1, "sample_rate": RATE}
    model = DemucsLike(("a",), "subpixel", modified=True, **size)
    torch.save(model.serialize(), "subpixel.pth")
    run("subpixel.pth", "-o", "out.pth", "--method", "swap", *SHORT)
    assert load_model("out.pth").decoder[0].upsampler.name == "nearest"
    main(["repair", "out.pth", "--undo", "-o", "undone.pth"])
    same_bits(load_model("undone.pth").state_dict(), model.state_dict())


def test_a_factory(files):
    options = [FACTORY, "--settings", json.dumps(LAYER), "--seconds", 1]
    torch.manual_seed(3)
    run(*options, "-o", "state.pt")
    torch.manual_seed(3)
    layer, state = torch.nn.ConvTranspose1d(**LAYER), torch.load("state.pt")
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    layer.load_state_dict(state)
    sums = layer.weight.detach().unflatten(-1, (-1, 4)).sum(-2)
    assert float(sums.max() - sums.min()) < 1e-6
    main(["repair", "state.pt", "--undo", "-o", "undone.pt"])
    same_bits(torch.load("undone.pt"), before)


REFUSED = {
    "model.pth: is an input": ["model.pth", "-o", "model.pth", "-f"],
    "noise.wav: is an input": ["model.pth", "--audio", "noise.wav", "--html", "noise.wav"],
    "new.pth: cannot be the page and": ["model.pth", "-o", "new.pth", "--html", "new.pth"],
    "noise.wav: exists already (-f replaces it)": ["model.pth", "-o", "noise.wav"],
    "empty: is a folder": ["model.pth", "-o", "empty", "-f"],
    "model.pth is no folder that can be": ["model.pth", "-o", "model.pth/new.pth"],
    "nowhere.pth: no such file": ["nowhere.pth"],
    "noise.wav: no model file": ["noise.wav"],
    "net.onnx: an ONNX file is not repaired": ["net.onnx"],
    "holds its settings (--settings)": ["model.pth", "--settings", '{"a": 1}'],
    "model.pth: nothing to repair": None,
    "no layer 'decoder.7' to repair": ["model.pth", "--layers", "decoder.7"],
    "other.wav: 16000 Hz, the network takes 8000 Hz": ["model.pth", "--audio", "other.wav"],
    "stereo.wav: 2 channel(s), the network takes 1": ["model.pth", "--audio", "stereo.wav"],
    "silence.wav: silent or too short": ["model.pth", "--audio", "silence.wav"],
    "short.wav: silent or too short": ["model.pth", "--audio", "short.wav"],
    "gone.wav: no such file": ["model.pth", "--audio", "gone.wav"],
    "array.npy: an array of shape (1, 16000), must be (2, time)": None,
    "--method distil needs audio": ["model.pth", "--method", "distil"],
    "test: no songs": ["model.pth", "--songs", "empty"],
    "empty: the network names no sources": [FACTORY, "--songs", "empty"],
    "empty: is a folder or a device": ["model.pth", "--html", "empty"],
    "seconds must be a number above 0": ["model.pth", "--seconds", "-1"],
    "complex.npy: cannot be read as an array (of complex64": [
        "model.pth",
        "--audio",
        "complex.npy",
    ],
    "option 'steps' must be int, not 'many'": '{"steps": "many"}',
    "option 'seed' must be int, not 1e+30": '{"seed": 1e30}',
    "seed must be from 0 to": '{"seed": -1}',
    "--undo goes with -o, -f and --json": ["model.pth", "--undo", "--layers", "decoder.1"],
    "model.pth: holds no record of a repair": ["model.pth", "--undo", "-o", "new.pth"],
    "decoder.0.rewrite.bias is missing": ["less.pth", "--undo", "-o", "new.pth"],
    "less: holds .stem.mp4 files, wav files are needed": ["model.pth", "--songs", "less"],
    "--undo needs a file": ["model.pth", "--undo"],
}


@pytest.mark.parametrize(("words", "arguments"), REFUSED.items())
def test_one_line_for_what_is_wrong(files, capsys, words, arguments):
    if arguments is None:
        arguments = special(words)
    if isinstance(arguments, str):
        given = ("--method", "distil", "--audio", "noise.wav", "--options", arguments)
        arguments = ["model.pth", *given]
    if arguments[0] == FACTORY:
        arguments = [*arguments, "--settings", json.dumps(LAYER)]
    short = () if {"--undo", "--seconds"} & set(arguments) else ("--seconds", 1)
    assert run(*arguments, *short) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in error
    assert error.startswith("error: ")
    assert not {"new.pth", "state.pt"} & {path.name for path in files.iterdir()}


def special(words):
    """Targets that need more than a word."""
    if "nothing" in words:
        model = DemucsLike(("a",), upsampler="nearest", channels=2, depth=1, sample_rate=RATE)
        torch.save(model.serialize(), "model.pth")
        return ["model.pth"]
    torch.save(DemucsLike(("a",), channels=2, depth=1, sample_rate=RATE).serialize(), "two.pth")
    return ["two.pth", "--audio", "array.npy"]


def test_json_is_all_on_standard_output(files, capsys):
    """Whatever the network prints."""
    network = f"    return torch.nn.ConvTranspose1d(**{LAYER})\n"
    (files / "talks.py").write_text(f"import torch\ndef made():\n    print('hello')\n{network}")
    run("talks:made", "--seconds", 1, "--json")
    output = capsys.readouterr()
    assert json.loads(output.out)["written"] is None and "hello" in output.err


def test_a_function_is_no_network():
    with pytest.raises(ValueError, match="must give a torch module"):
        load_target("functools:lru_cache", {})
