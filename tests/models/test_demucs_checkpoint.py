"""Checkpoints of the ``demucs`` package, written as its releases did, against its output."""

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

PLAIN = {
    "growth": 2,
    "rewrite": True,
    "lstm_layers": 2,
    "dconv_mode": 0,
    "norm_starts": 999,
    "gelu": False,
    "normalize": False,
    "context": 1,
}
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
    for time in (1, 777, 50000):
        x = torch.randn(2, theirs.audio_channels, time)
        with torch.no_grad():
            torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("resample", [True, False])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", ["model.th", "model.th.gz"])
def test_state_dicts(tmp_path, resample, half, name):
    theirs = reference(resample=resample)
    if half:
        theirs = theirs.half()
    path = save(early(theirs.state_dict()), tmp_path / name)
    ours = load_demucs_checkpoint(path, resample)
    assert ours.sources == tuple(SOURCES) and ours.sample_rate == 44100
    assert {(p.dtype, p.requires_grad) for p in ours.parameters()} == {(torch.float32, True)}
    assert_same_output(ours, theirs.float())


@pytest.mark.parametrize(
    "settings",
    [
        {"depth": 1},
        {"depth": 4, "channels": 6},
        {"audio_channels": 1},
        {"kernel_size": 6},
        {"kernel_size": 4},
    ],
    ids=str,
)
def test_settings_are_found_in_the_shapes(tmp_path, settings):
    theirs = reference(resample=True, **settings)
    ours = load_demucs_checkpoint(save(theirs.state_dict(), tmp_path / "model.th"))
    expected = {**SMALL, **settings, "resample": True, "encoder_context": 0}
    assert expected.items() <= ours.get_model_args().items()
    assert_same_output(ours, theirs)


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("name", ["light.th", "light.th.gz"])
@pytest.mark.parametrize("named", [True, False])
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


@pytest.mark.parametrize("half", [True, False])
def test_files_of_v2_with_settings(tmp_path, half):
    """They tell how the network was trained, too: in a namespace, with paths."""
    theirs = reference(("one", "two"), resample=True)
    theirs = theirs.half() if half else theirs
    how = argparse.Namespace(musdb=Path("/data"), epochs=180, half=half)
    settings = {**SMALL, "sources": ["one", "two"], "samplerate": 22050, "context": 3}
    settings |= {"normalize": False, "segment_length": 400000, "rescale": 0.1}
    path = save_package(
        tmp_path / "model.th", early(theirs.state_dict()), kwargs=settings, training_args=how
    )
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
    ours = load_demucs_checkpoint(path)
    assert_same_output(ours, theirs)
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


def test_a_state_dict_alone_is_taken_for_v2(tmp_path):
    state = reference(resample=True).state_dict()
    assert load_demucs_checkpoint(save(state, tmp_path / "model.th")).resample


def test_sources_without_names(tmp_path):
    state = reference("abc").state_dict()
    ours = load_demucs_checkpoint(save(state, tmp_path / "model.th"))
    assert ours.sources == ("source1", "source2", "source3")


def changed(state, **values):
    """The state dict with ``name__with__points=value`` put in."""
    return {**state, **{name.replace("__", "."): value for name, value in values.items()}}


def without(state, pattern):
    return {key: value for key, value in state.items() if not re.search(pattern, key)}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (lambda: {"compressed": b"x", "other": 1}, "quantized.*allowed are float32 and float16"),
        (lambda: {"quantized": [], "__quantized": True}, "quantized.*allowed are float32"),
        (lambda: reference(growth=1.5).state_dict(), "growth is 1.5, allowed is 2"),
        (lambda: reference(lstm_layers=0).state_dict(), "lstm_layers is 0, allowed is 2"),
        (lambda: reference(lstm_layers=1).state_dict(), "lstm_layers is 1, allowed is 2"),
        (lambda: reference(lstm_layers=3).state_dict(), "lstm_layers is 3, allowed is 2"),
        (lambda: reference(glu=False).state_dict(), "glu is False, allowed is True"),
        (lambda: reference(rewrite=False).state_dict(), "rewrite is False, allowed is True"),
        (lambda: reference(context=0).state_dict(), "context in samples is 1, allowed is 3"),
        (lambda: reference(context=2).state_dict(), "context in samples is 5, allowed is 3"),
        (lambda: reference(norm_starts=1).state_dict(), "encoder.1.1.weight, allowed are"),
        (lambda: reference(dconv_mode=1).state_dict(), "encoder.0.3.layers.*, allowed are"),
        (lambda: reference(dconv_mode=2).state_dict(), "decoder.0.3.layers.*, allowed are"),
        (
            lambda: changed(small_state(), final__weight=torch.ones(8, 6, 1)),
            "final.weight, allowed are",
        ),
        (lambda: {"separator.network.0.gamma": torch.ones(1)}, "separator.*, allowed are"),
        (lambda: without(small_state(), "encoder.1.3"), "Missing key.*encoder.1"),
        (lambda: without(small_state(), "bias"), "Missing key.*bias"),
        (lambda: without(small_state(), "encoder.0.0"), "it needs encoder.0.0.weight"),
        (
            lambda: changed(small_state(), encoder__0__0__weight=torch.ones(3)),
            "it needs encoder.0.0",
        ),
        (
            lambda: changed(small_state(), encoder__0__3__weight=torch.ones(8, 4, 3)),
            "size mismatch",
        ),
        (lambda: {**small_state(), **early(small_state())}, "layers twice, allowed is"),
        (
            lambda: changed(small_state(), lstm__linear__bias=3),
            "lstm.linear.bias is no tensor of floats",
        ),
        (
            lambda: changed(small_state(), lstm__linear__bias=torch.ones(16, dtype=torch.int8)),
            "lstm.linear.bias is no tensor of floats, allowed are",
        ),
        (lambda: {1: torch.ones(3)}, "its state dict is none"),
        (dict, "it needs encoder.0.0.weight"),
        (lambda: torch.ones(3), "a state dict is needed, or one with its settings"),
        (lambda: (1, 2, 3, 4), "another class than Demucs"),
        (lambda: {"klass": 1, "args": 2, "kwargs": 3, "state": 4}, "another class than Demucs"),
        (lambda: DemucsLike(**SMALL).serialize(), "it holds model_name, allowed are"),
    ],
)
def test_state_dicts_of_other_networks_are_refused(tmp_path, state, message):
    assert_refused(save(state(), tmp_path / "model.th"), message)


LATER = "demucs.demucs.Demucs"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"kind": tuple, "kwargs": {**SMALL, "upsample": True}}, "upsample is True, allowed is F"),
        ({"kwargs": {**SMALL, "rewrite": False}}, "rewrite is False, allowed is True"),
        ({"kwargs": {**SMALL, "glu": False}}, "glu is False, allowed is True"),
        ({"kwargs": {**SMALL, "growth": 1.5}}, "growth is 1.5, allowed is 2"),
        ({"kwargs": {**SMALL, "lstm_layers": 0}}, "lstm_layers is 0, allowed is 2"),
        ({"kwargs": {**SMALL, "context": 1}}, "context in samples is 1, allowed is 3"),
        ({"kwargs": {**SMALL, "normalize": True}}, "normalize is True, allowed is False"),
        ({"klass": LATER, "kwargs": {**SMALL, **PLAIN, "gelu": True}}, "gelu is True, allowed is"),
        ({"klass": LATER, "kwargs": {**PLAIN, "dconv_mode": 1}}, "dconv_mode is 1, allowed is 0"),
        ({"klass": LATER}, "gelu is True, allowed is False"),
        ({"klass": LATER, "kwargs": {**PLAIN, "normalize": True}}, "normalize is True, allowed"),
        ({"klass": LATER, "kwargs": {**PLAIN, "context": 3}}, "context in samples is 7, allowed"),
        ({"kwargs": {**SMALL, "channels": 8}}, "say channels 8, its tensors 4; allowed are equal"),
        ({"kwargs": {"channels": 4}}, "say depth 6, its tensors 3; allowed are equal"),
        ({"args": (["a", "b"],)}, r"sources \['a', 'b'\], its tensors 4; allowed are equal"),
        ({"args": (5,)}, "sources 5, its tensors 4; allowed are equal"),
        ({"args": ([1, 2, 3, 4],)}, r"sources are \[1, 2, 3, 4\], allowed are names"),
        ({"args": (4, 2)}, "allowed is one setting without a name"),
        ({"kwargs": None}, "allowed is one setting without a name"),
        ({"kwargs": {**SMALL, "attention": 1}}, "settings attention, allowed are audio_channels"),
        ({"kwargs": {**SMALL, "stride": 2.5}}, "stride is 2.5.*allowed is a whole number"),
        ({"kwargs": {**SMALL, "stride": 0}}, "stride is 0, allowed is 1 and up"),
        ({"kwargs": {**SMALL, "stride": 9}}, "kernel_size is 8, allowed is the stride"),
        ({"kwargs": {**SMALL, "samplerate": 0}}, "samplerate 0, allowed is"),
        ({"kwargs": {**SMALL, "stride": "4"}}, "stride is '4', allowed is a number"),
        ({"kwargs": {**SMALL, "channels": torch.ones(3)}}, "channels is tensor.*allowed is a num"),
        ({"kwargs": {**SMALL, "channels": torch.ones(9, 9)}}, "channels is tensor.*allowed is a n"),
        ({"klass": "demucs.tasnet.ConvTasNet"}, "holds demucs.tasnet.ConvTasNet.*allowed are"),
        (
            {"klass": "demucs.tasnet.ConvTasNet", "kind": tuple, "legacy": True},
            "holds demucs.tasnet.ConvTasNet, which is never run; allowed are tensors",
        ),
    ],
    ids=str,
)
def test_settings_of_other_networks_are_refused(tmp_path, parts, message):
    assert_refused(save_package(tmp_path / "model.th", early(small_state()), **parts), message)


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("content", ["nothing", "text", "truncated", "gzip", "truncated.gz"])
def test_other_files_are_refused(tmp_path, content, legacy):
    path = save_package(tmp_path / "model.th", small_state(), kind=tuple, legacy=legacy)
    whole = path.read_bytes()
    contents = {
        "nothing": b"",
        "text": b"no checkpoint\n" * 100,
        "truncated": whole[:-3000],
        "gzip": b"\x1f\x8bnonsense",
        "truncated.gz": gzip.compress(whole)[:-3000],
    }
    path.write_bytes(contents[content])
    assert_refused(path, "not a checkpoint of Demucs v1 or v2")


def test_a_missing_file_is_named(tmp_path):
    assert_refused(tmp_path / "model.th", "not a checkpoint.*No such file")
    assert_refused(tmp_path, "not a checkpoint.*directory", tmp_path.name)


def assert_refused(path, message, name="model.th"):
    """With one line that names the file."""
    with pytest.raises(ValueError, match=message) as caught:
        load_demucs_checkpoint(path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 500


class Call:
    """Pickles into a call, and a state for what it gives."""

    def __init__(self, function, *args, state=None):
        self.parts = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.parts


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("place", ["klass", "kwargs", "state", "training_args"])
def test_pickled_code_is_refused_and_not_run(tmp_path, legacy, place):
    mark = tmp_path / "mark"
    with fake("demucs.model.Demucs") as klass:
        package = {"klass": klass, "args": (), "kwargs": SMALL, "state": small_state()}
        package[place] = Call(open, str(mark), "w")
        path = save(package, tmp_path / "model.th", legacy)
    assert_refused(path, r"refused, it holds \S*open, which is never run; allowed are tensors")
    assert not mark.exists()
    with fake("demucs.model.Demucs"):
        torch.load(path, weights_only=False)
    assert mark.exists()  # so it is code


@pytest.mark.parametrize("legacy", [True, False])
def test_the_class_in_a_file_is_a_name_only(tmp_path, legacy):
    """Calling it, or giving it a state, does nothing."""
    theirs = reference(resample=True)
    with fake("demucs.model.Demucs") as klass:
        call = Call(klass, 4, 2, state=(None, {"__class__": 1}))
        package = {"klass": klass, "args": (), "kwargs": SMALL, "training_args": [call, call]}
        package["state"] = early(theirs.state_dict())
        harmless = save(package, tmp_path / "harmless.th", legacy)
        save({**package, "klass": call}, tmp_path / "model.th", legacy)
    assert_same_output(load_demucs_checkpoint(harmless), theirs)
    assert_refused(
        tmp_path / "model.th", "another class than Demucs|refused, it holds pickled code"
    )
    assert not [known for known in torch.serialization.get_safe_globals() if "demucs" in str(known)]


def test_conversion(tmp_path):
    theirs = reference(resample=True)
    path = save(early(theirs.half().state_dict()), tmp_path / "model.th")
    written = convert_demucs_checkpoint(path, tmp_path / "new" / "demucs.pth")
    assert written == tmp_path / "new" / "demucs.pth"
    assert [p.name for p in written.parent.iterdir()] == ["demucs.pth"]
    ours = load_model(written)
    assert type(ours) is DemucsLike
    assert_same_output(ours, theirs.float())


def test_conversion_replaces_nothing_unasked(tmp_path):
    path = save(small_state(), tmp_path / "model.th")
    target = tmp_path / "demucs.pth"
    target.write_text("mine")
    with pytest.raises(ValueError, match=r"demucs\.pth: exists already, allowed is"):
        convert_demucs_checkpoint(path, target)
    with pytest.raises(ValueError, match="not a checkpoint"):
        convert_demucs_checkpoint(tmp_path / "missing.th", target, force_overwrite=True)
    assert target.read_text() == "mine"
    convert_demucs_checkpoint(path, target, resample=False, force_overwrite=True)
    assert load_model(target).resample is False
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="folder: a folder, allowed is"):
        convert_demucs_checkpoint(path, tmp_path / "folder", force_overwrite=True)
    assert (tmp_path / "folder").is_dir()
