"""Nothing half-written is taken for whole; errors that users cause are one line."""

import errno
import json
import re
import shutil
import signal

import numpy as np
import pytest
import torch

from asteroid_upsamplers.audio import write_wav
from asteroid_upsamplers.errors import UsageError, is_out_of_memory, one_line_errors
from asteroid_upsamplers.files import discard, whole_or_nothing, write_json


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with whole_or_nothing(path) as partial:
        partial.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("interruption", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_the_old_file(tmp_path, interruption):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write():
        with whole_or_nothing(path) as partial:
            partial.write_text("ha")
            raise interruption

    with pytest.raises(type(interruption)):
        write()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def test_folders_are_replaced_whole(tmp_path):
    path = tmp_path / "song"
    path.mkdir()
    (path / "old.wav").touch()
    with whole_or_nothing(path) as partial:
        partial.mkdir()
        (partial / "new.wav").touch()
    assert [p.name for p in path.iterdir()] == ["new.wav"]
    assert [p.name for p in tmp_path.iterdir()] == ["song"]


def test_runs_do_not_disturb_each_other_and_what_dead_ones_left_is_removed(tmp_path):
    path, dead, foreign = tmp_path / "file", tmp_path / ".dead.partial", tmp_path / ".x.partial"
    dead.mkdir()
    (dead / ".lock").touch()
    foreign.mkdir()
    with whole_or_nothing(path) as first:
        first.write_text("first")
        assert not dead.exists()
        with whole_or_nothing(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
        assert first.read_text() == "first"
    assert path.read_text() == "first"
    assert sorted(p.name for p in tmp_path.iterdir()) == [".x.partial", "file"]


def test_names_may_be_as_long_as_the_disk_allows(tmp_path):
    path = tmp_path / ("a" * 255)
    with whole_or_nothing(path) as partial:
        partial.touch()
    assert path.exists()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for folder in ("file", "file/below"):
        writing = whole_or_nothing(tmp_path / folder / "a.json")
        with pytest.raises(UsageError, match="file.*: must be a folder, and cannot be"), writing:
            pass


def test_discarding_leaves_nothing_that_looks_whole(tmp_path, monkeypatch):
    folder = tmp_path / "song"
    folder.mkdir()
    (folder / "a.wav").touch()

    def interrupted(path, **how):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            discard(folder)
    assert [path.name[0] for path in tmp_path.iterdir()] == ["."]
    folder.mkdir()
    discard(folder)
    assert list(tmp_path.iterdir()) == []


def test_what_a_library_does_not_say_of_a_failed_write_the_system_does(tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    try:
        with pytest.raises(OSError, match="File too large.*a.wav"):
            write_wav(tmp_path / "a.wav", np.zeros((2**17, 1), np.int16), 8000, "PCM_16")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (UsageError("epochs is 0, must be at least 1"), 2, "epochs is 0"),
        (UsageError("a\nb.wav: no such file"), 2, r"error: a\\nb\.wav: no"),
        (KeyboardInterrupt(), 130, "run the same command again"),
        (OSError(errno.ENOSPC, "No space left on device", "a.wav"), 1, "No space left.*a.wav"),
        (OSError(errno.EACCES, "Permission denied", "b"), 1, "Permission denied: b"),
        (OSError(errno.EIO, "Input/output error", "c"), 1, "Input/output error: c"),
    ],
    ids=["usage", "odd name", "ctrl-c", "disk", "permission", "failing disk"],
)
def test_errors_of_users_are_one_line(capsys, error, status, words):
    with pytest.raises(SystemExit) as caught, one_line_errors():
        raise error
    assert caught.value.code == status
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(words, line)


@pytest.mark.parametrize("error", [RuntimeError("ours"), OSError(errno.EBADF, "odd"), ValueError()])
def test_our_own_mistakes_keep_their_traceback(error):
    with pytest.raises(type(error)), one_line_errors():
        raise error


def test_sigterm_is_one_line_and_puts_away_what_is_half_done(tmp_path, capsys):
    before = signal.getsignal(signal.SIGTERM)

    def write():
        with one_line_errors(), whole_or_nothing(tmp_path / "file") as partial:
            partial.write_text("ha")
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as left:
        write()
    assert left.value.code == 143
    assert capsys.readouterr().err == "terminated: run the same command again to go on\n"
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (MemoryError(), True),
    ],
)
def test_memory_that_torch_did_not_find(error, expected):
    assert is_out_of_memory(error) == expected


def test_json_has_no_nan(tmp_path):
    content = {"a": [1.5, None, "NaN"], "b": {"c": (float("inf"),)}}
    with pytest.raises(UsageError, match=r"^b.c.0 is inf"):
        write_json(tmp_path / "x.json", content)
    assert not list(tmp_path.iterdir())
    content["b"] = -400.0
    write_json(tmp_path / "x.json", content)
    assert json.loads((tmp_path / "x.json").read_text(), parse_constant=pytest.fail) == content
