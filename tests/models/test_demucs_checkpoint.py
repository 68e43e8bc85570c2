"""Checkpoints of the ``demucs`` package, written as its releases wrote them, against its output."""

import argparse
import contextlib
import gzip
import io
import re
import sys
import types
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from asteroid_upsamplers.models import (
    DemucsLike,
    convert_demucs_checkpoint,
    load_demucs_checkpoint,
    load_model,
)

PLAIN = {"growth": 2, "rewrite": True, "lstm_layers": 2, "dconv_mode": 0, "norm_starts": 999}
PLAIN |= {"gelu": False, "normalize": False, "context": 1}
SMALL = {"channels": 4, "depth": 3}
SOURCES = ["drums", "bass", "other", "vocals"]


def reference(sources=SOURCES, **settings):
    demucs = pytest.importorskip("demucs.demucs")
    torch.manual_seed(0)
    return demucs.Demucs(sources=list(sources), **{**PLAIN, **SMALL, **settings}).eval()


def small_state():
    return reference(resample=True).state_dict()


def early(state):
    """A state dict under the names of v1 and v2."""
    return {re.sub(r"^(..coder\.\d+)\.3\.", r"\1.2.", key): v for key, v in state.items()}


class Demucs(nn.Module):
    """Stands for the package's class, whose source code torch once wrote into the file."""


@contextlib.contextmanager
def fake(name):
    """A network's class that can be pickled under a name, while the block lasts."""
    module, _, qualified = name.rpartition(".")
    names = {"__module__": module, "__qualname__": qualified}
    stand_in = types.ModuleType(module)
    stand_in.__file__ = __file__
    setattr(stand_in, qualified, type(qualified, (nn.Module,), names))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, module, stand_in)
        yield getattr(stand_in, qualified)


def save(content, path, legacy=False):
    """As torch does now, or as it did before 1.6; gzipped if the name says so."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fake class of another name has no source code
        torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    content = file.getvalue()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def save_package(path, state, klass="demucs.model.Demucs", kind=dict, legacy=False, **parts):
    """A file with settings: v1's is a tuple, later ones are a dict."""
    package = {"args": (), "kwargs": SMALL, "state": state, **parts}
    with fake(klass) as stand_in:
        if kind is tuple:
            content = (stand_in, package["args"], package["kwargs"], state)
        else:
            content = {"klass": stand_in, **package}
        return save(content, path, legacy)


def assert_same_output(ours, theirs):
    """To 1e-5, for a few lengths."""
    assert not ours.training
    for time in (1, 7777):
        x = torch.randn(2, theirs.audio_channels, time)
        with torch.no_grad():
            torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("resample", "half", "name"),
    [(True, False, "model.th"), (False, True, "model.th.gz"), (True, True, "model.th")],
)
def test_state_dicts(tmp_path, resample, half, name):
    theirs = reference(resample=resample)
    theirs = theirs.half() if half else theirs
    path = save(early(theirs.state_dict()), tmp_path / name)
    ours = load_demucs_checkpoint(path, resample)
    assert (ours.sources, ours.sample_rate) == (tuple(SOURCES), 44100)
    assert {(p.dtype, p.requires_grad) for p in ours.parameters()} == {(torch.float32, True)}
    assert_same_output(ours, theirs.float())
    assert load_demucs_checkpoint(path).resample  # alone it is taken for v2's


@pytest.mark.parametrize(
    "settings",
    [{"depth": 1, "kernel_size": 6}, {"depth": 4, "channels": 6, "audio_channels": 1}],
    ids=str,
)
def test_settings_are_found_in_the_shapes(tmp_path, settings):
    theirs = reference("abc", resample=True, **settings)
    ours = load_demucs_checkpoint(save(theirs.state_dict(), tmp_path / "model.th"))
    expected = {**SMALL, **settings, "resample": True, "encoder_context": 0}
    expected["sources"] = ["source1", "source2", "source3"]
    assert expected.items() <= ours.get_model_args().items()
    assert_same_output(ours, theirs)


@pytest.mark.parametrize(
    ("legacy", "name", "named"),
    [(True, "light.th", True), (True, "light.th.gz", False), (False, "light.th", False)],
)
def test_files_of_v1(tmp_path, legacy, name, named):
    """torch wrote a class with its source code then, in a way that it refuses to read today."""
    theirs = reference(resample=False, stride=2)
    settings = {**SMALL, "stride": 2, "context": 3, "samplerate": 22050}
    parts = {"kwargs": {**settings, "sources": 4} if named else settings}
    parts["args"] = () if named else (4,)
    state = early(theirs.state_dict())
    path = save_package(tmp_path / name, state, kind=tuple, legacy=legacy, **parts)
    if path.suffix != ".gz":
        assert (Demucs.__doc__.encode() in path.read_bytes()) == legacy
    ours = load_demucs_checkpoint(path)
    expected = {"sources": SOURCES, "stride": 2, "sample_rate": 22050, "resample": False}
    assert expected.items() <= ours.get_model_args().items()
    assert_same_output(ours, theirs)


@pytest.mark.parametrize("legacy", [True, False])
def test_files_of_v2_with_settings(tmp_path, legacy):
    """They tell how the network was trained, too: in a namespace, with paths."""
    theirs = reference(("one", "two"), resample=True).half()
    how = argparse.Namespace(musdb=Path("/data"), epochs=180, half=True)
    settings = {**SMALL, "sources": ["one", "two"], "samplerate": 22050, "context": 3}
    settings |= {"normalize": False, "segment_length": 400000, "rescale": 0.1}
    parts = {"kwargs": settings, "training_args": how, "legacy": legacy}
    path = save_package(tmp_path / "model.th", early(theirs.state_dict()), **parts)
    ours = load_demucs_checkpoint(path)
    expected = {"sources": ["one", "two"], "sample_rate": 22050, "resample": True}
    assert expected.items() <= ours.get_model_args().items()
    assert_same_output(ours, theirs.float())


@pytest.mark.parametrize("resample", [True, False])
def test_files_of_later_releases(tmp_path, resample):
    theirs = reference(resample=resample, stride=3)
    args, kwargs = theirs._init_args_kwargs
    package = {"klass": type(theirs), "args": args, "kwargs": kwargs}
    package |= {"state": theirs.state_dict(), "training_args": {"epochs": 3}}
    path = save(package, tmp_path / "model.th")
    assert_same_output(load_demucs_checkpoint(path), theirs)
    assert_same_output(load_demucs_checkpoint(path, resample), theirs)
    with pytest.raises(ValueError, match=f"resample is {not resample}, but its settings say"):
        load_demucs_checkpoint(path, not resample)


def test_nothing_of_the_package_is_needed(tmp_path, monkeypatch):
    theirs = reference(resample=True)
    path = save_package(tmp_path / "model.th", early(theirs.state_dict()))
    for name in [*sys.modules, "demucs.model"]:
        if name.partition(".")[0] == "demucs":
            monkeypatch.setitem(sys.modules, name, None)
    assert_same_output(load_demucs_checkpoint(path), theirs)


def assert_refused(path, message):
    """In one line that names the file."""
    with pytest.raises(ValueError, match=message) as caught:
        load_demucs_checkpoint(path)
    said = str(caught.value)
    assert path.name in said
    assert "\n" not in said and "\x1b" not in said
    assert len(said) < 700


def with_ints(state):
    return {**state, "lstm.linear.bias": torch.ones(16, dtype=torch.int8)}


def without(state, pattern):
    return {key: value for key, value in state.items() if not re.search(pattern, key)}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (lambda: {"compressed": b"x", "other": 1}, "holds compressed, .*no quantized weights"),
        (lambda: reference(growth=1.5).state_dict(), "size mismatch"),
        (lambda: reference(lstm_layers=1).state_dict(), "Missing key.*lstm"),
        (lambda: reference(lstm_layers=3).state_dict(), "Unexpected key.*lstm"),
        (lambda: reference(glu=False).state_dict(), "size mismatch"),
        (lambda: reference(rewrite=False).state_dict(), "Missing key.*rewrite"),
        (lambda: reference(context=2).state_dict(), "size mismatch"),
        (lambda: reference(norm_starts=1).state_dict(), "holds encoder.1.1.weight, must hold"),
        (lambda: reference(dconv_mode=1).state_dict(), "holds encoder.0.3.layers"),
        (lambda: without(small_state(), "encoder.0.0"), "needs encoder.0.0.weight"),
        (lambda: {**small_state(), **early(small_state())}, "layers twice"),
        (lambda: with_ints(small_state()), "lstm.linear.bias must be a tensor of float"),
        (lambda: {1: torch.ones(3)}, "needs a state dict"),
        (lambda: torch.ones(3), "needs a state dict"),
        (lambda: {"klass": 1, "args": 2, "kwargs": 3, "state": 4}, "another class than Demucs"),
        (lambda: DemucsLike(**SMALL).serialize(), "holds model_name, must hold"),
    ],
)
def test_state_dicts_of_other_networks_are_refused(tmp_path, state, message):
    assert_refused(save(state(), tmp_path / "model.th"), message)


LATER = "demucs.demucs.Demucs"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"kind": tuple, "kwargs": {**SMALL, "upsample": True}}, "upsample is True, must be False"),
        ({"kwargs": {**SMALL, "normalize": True}}, "normalize is True, must be False"),
        ({"klass": LATER}, "gelu is True, must be False"),
        ({"klass": LATER, "kwargs": {"gelu": False}}, "normalize is True, must be False"),
        ({"args": (["a", "b"],)}, "size mismatch"),
        ({"args": (4, 2)}, "only one, the sources"),
        ({"kwargs": {**SMALL, "attention": 1}}, "attention are none of Demucs"),
        ({"kwargs": {**SMALL, "stride": 0}}, "stride must be an integer of at least 1, not 0"),
        ({"kwargs": {**SMALL, "stride": "4"}}, "stride must be an integer of at least 1, not '4'"),
        ({"kwargs": {**SMALL, "samplerate": 0}}, "sample_rate is 0, must be a number above 0"),
        ({"klass": "demucs.tasnet.ConvTasNet"}, "holds demucs.tasnet.ConvTasNet, .* never run"),
    ],
    ids=str,
)
def test_settings_of_other_networks_are_refused(tmp_path, parts, message):
    assert_refused(save_package(tmp_path / "model.th", early(small_state()), **parts), message)


@pytest.mark.parametrize("legacy", [True, False])
def test_other_files_are_refused(tmp_path, legacy):
    path = save_package(tmp_path / "model.th", small_state(), kind=tuple, legacy=legacy)
    whole = path.read_bytes()
    others = [b"", b"no checkpoint\n" * 100, whole[:-3000], b"\x1f\x8bnonsense"]
    for content in (*others, gzip.compress(whole)[:-3000]):
        path.write_bytes(content)
        assert_refused(path, "not a checkpoint of Demucs v1 or v2")
    assert_refused(tmp_path / "missing.th", "not a checkpoint.*no such file")


class Call:
    """Pickles into a call, and a state for what it gives."""

    def __init__(self, function, *args, state=None):
        self.parts = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.parts


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("place", ["klass", "training_args"])
def test_pickled_code_is_refused_and_not_run(tmp_path, legacy, place):
    mark = tmp_path / "mark"
    with fake("demucs.model.Demucs") as klass:
        package = {"klass": klass, "args": (), "kwargs": SMALL, "state": small_state()}
        package[place] = Call(open, str(mark), "w")
        path = save(package, tmp_path / "model.th", legacy)
        assert_refused(path, r"refused, it holds \S*open, which is never run")
        assert not mark.exists()
        torch.load(path, weights_only=False)
    assert mark.exists()  # so it is code


@pytest.mark.parametrize("legacy", [True, False])
def test_the_class_in_a_file_is_a_name_only(tmp_path, legacy, monkeypatch):
    """Calling it, or giving it a state, does nothing; torch's functions stay as they are."""
    monkeypatch.chdir(tmp_path)  # where torch would write a patch of the source code
    theirs = reference(resample=True)
    with fake("demucs.model.Demucs") as klass:
        call = Call(klass, 4, 2, state=(None, {"__class__": 1, "dump_patches": True}))
        package = {"klass": klass, "args": (), "kwargs": SMALL, "training_args": [call, call]}
        package["state"] = early(theirs.state_dict())
        harmless = save(package, tmp_path / "harmless.th", legacy)
        save({**package, "klass": call}, tmp_path / "model.th", legacy)
    assert_same_output(load_demucs_checkpoint(harmless), theirs)
    assert_refused(tmp_path / "model.th", "another class than Demucs|holds pickled code")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["harmless.th", "model.th"]
    assert not [known for known in torch.serialization.get_safe_globals() if "demucs" in str(known)]


def test_conversion(tmp_path):
    theirs = reference(resample=True)
    path = save(early(theirs.half().state_dict()), tmp_path / "model.th")
    written = convert_demucs_checkpoint(path, tmp_path / "new" / "demucs.pth")
    assert [p.name for p in written.parent.iterdir()] == ["demucs.pth"]
    ours = load_model(written)
    assert type(ours) is DemucsLike
    assert_same_output(ours, theirs.float())
    before = written.read_bytes()
    with pytest.raises(ValueError, match=r"demucs\.pth: exists already"):
        convert_demucs_checkpoint(path, written)
    with pytest.raises(ValueError, match="not a checkpoint"):
        convert_demucs_checkpoint(tmp_path / "missing.th", written, force_overwrite=True)
    assert written.read_bytes() == before
    convert_demucs_checkpoint(path, written, resample=False, force_overwrite=True)
    assert load_model(written).resample is False
    with pytest.raises(ValueError, match="new: is a folder"):
        convert_demucs_checkpoint(path, tmp_path / "new", force_overwrite=True)
