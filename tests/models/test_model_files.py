"""Model files: loaded by name in a fresh process, refused in one line, and never run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from asteroid.models import BaseModel

from asteroid_upsamplers.models import DemucsLike, load_demucs_checkpoint, load_model

from . import hostile

SMALL = {"channels": 4, "depth": 3}


@pytest.fixture
def package():
    torch.manual_seed(0)
    return DemucsLike(**SMALL).serialize()


def saved(package, path):
    torch.save(package, path)
    return path


def output_of(model):
    with torch.no_grad():
        return model(torch.linspace(-1, 1, 1000).repeat(1, 2, 1))


def test_loads_by_name_in_a_fresh_process(tmp_path):
    model = DemucsLike(upsampler="subpixel", **SMALL).eval()
    torch.save(model.serialize(), tmp_path / "model.pth")
    torch.save(output_of(model), tmp_path / "expected.pt")
    script = """
import sys, torch, asteroid_upsamplers.models
from asteroid.models import BaseModel
model = BaseModel.from_pretrained(sys.argv[1]).eval()
assert type(model).__name__ == "DemucsLike"
expected = torch.load(sys.argv[2], weights_only=True)
with torch.no_grad():
    found = model(torch.linspace(-1, 1, 1000).repeat(1, 2, 1))
torch.testing.assert_close(found, expected)
"""
    words = [sys.executable, "-W", "ignore", "-c", script]
    subprocess.run([*words, tmp_path / "model.pth", tmp_path / "expected.pt"], check=True)


def test_files_of_version_0_1_load_as_they_were(package, tmp_path):
    """Written before some of the settings were there."""
    expected = output_of(DemucsLike.from_pretrained(package).eval())
    for setting in ("resample", "normalize"):
        assert package["model_args"].pop(setting) is False
    assert torch.equal(output_of(load_model(saved(package, tmp_path / "model.pth"))), expected)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_weights_of_a_wrapped_model_load(package, tmp_path, prefix):
    """DDP and ``torch.compile`` put a prefix before all names."""
    expected = output_of(DemucsLike.from_pretrained(package).eval())
    package["state_dict"] = {prefix + key: value for key, value in package["state_dict"].items()}
    assert torch.equal(output_of(load_model(saved(package, tmp_path / "model.pth"))), expected)


class Payload:
    """Pickles into a call that would leave a mark."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (self.mark, "w"))


def test_pickled_code_is_refused_and_not_run(package, tmp_path):
    mark, path = tmp_path / "mark", tmp_path / "model.pth"
    package["infos"]["note"] = Payload(str(mark))
    saved(package, path)
    for load in (load_model, DemucsLike.from_pretrained):
        with pytest.raises(ValueError, match=r"model\.pth: .*refused, .* pickled code"):
            load(path)
    assert not mark.exists()


def truncated(package, path):
    path.write_bytes(saved(package, path).read_bytes()[:2000])


def flipped(package, path):
    bits = bytearray(saved(package, path).read_bytes())
    bits[len(bits) // 2] ^= 1
    path.write_bytes(bits)


def without_a_weight(package, path):
    first = next(iter(package["state_dict"]))
    del package["state_dict"][first]
    saved(package, path)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda package, path: None, "model.pth: no such file"),
        (lambda package, path: path.write_text("not a model\n" * 100), "not a model file|refused"),
        (truncated, "not a model file"),
        (flipped, "damaged"),
        (lambda package, path: saved(torch.zeros(3), path), "it needs model_args, model_name"),
        (
            lambda package, path: saved({"pytorch-lightning_version": "2.6"}, path),
            "use best_model.pth",
        ),
        (lambda package, path: saved({**package, "model_name": "Net"}, path), "Net"),
        (
            lambda package, path: saved({**package, "model_args": {"upsampler": "neerest"}}, path),
            "did you mean nearest",
        ),
        (without_a_weight, "encoder.0.downsample.weight"),
    ],
)
def test_what_is_no_model_file_is_named_in_one_line(package, tmp_path, write, words):
    write(package, tmp_path / "model.pth")
    with pytest.raises(ValueError, match=words) as caught:
        load_model(tmp_path / "model.pth")
    assert "model.pth" in str(caught.value)
    assert "\n" not in str(caught.value)


KINDS = {
    "empty": "it is empty",
    "text": "torch did not write it",
    "a pointer of git-lfs": "git lfs pull",
    "a web page": "a web page: download the file itself",
    "safetensors": "a safetensors file",
    "hdf5": "an HDF5 file",
    "a zip": "a zip archive of other files",
    "TorchScript": "a TorchScript program, which is code and is never run",
    "compressed 8": "it is compressed",
}


def test_what_is_often_taken_for_a_model_file_is_named(tmp_path):
    path, contents = tmp_path / "model.pth", dict([*hostile.kinds(), *hostile.archives()])
    for kind, words in KINDS.items():
        path.write_bytes(contents[kind])
        with pytest.raises(ValueError, match=f"model.pth: not a model file: .*{words}"):
            load_model(path)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path, make):
    make(tmp_path / "model.pth")
    for load in (load_model, load_demucs_checkpoint):
        with pytest.raises(ValueError, match="not a file"):
            load(tmp_path / "model.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(package, tmp_path, value):
    """By every way in; the weight is named."""
    name, weight = next(iter(package["state_dict"].items()))
    weight[0, 0, 0] = value
    path = saved(package, tmp_path / "model.pth")
    ways = [
        (load_model, path),
        (DemucsLike.from_pretrained, path),
        (DemucsLike.from_pretrained, package),
    ]
    for load, target in [*ways, (BaseModel.from_pretrained, str(path))]:
        with pytest.raises(ValueError, match=f"{name} holds NaN or infinite numbers"):
            load(target)


@pytest.mark.parametrize("kind", [torch.int8, torch.bool, torch.complex64])
def test_weights_of_another_kind_are_refused_and_not_cast(package, kind):
    name, weight = next(iter(package["state_dict"].items()))
    package["state_dict"][name] = weight.to(kind)
    with pytest.raises(ValueError, match=f"{name} is {kind}, must be of floats"):
        DemucsLike.from_pretrained(package)


def test_other_precisions_load(package):
    halves = {name: weight.half() for name, weight in package["state_dict"].items()}
    model = DemucsLike.from_pretrained({**package, "state_dict": halves})
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
