"""Hostile and damaged model files load, or one line says why not; nothing is run or written."""

import os
import resource
import sys
import warnings

import pytest

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models import load_demucs_checkpoint, load_model

from . import hostile

DEEDS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen")
DEEDS += ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod", "os.link", "os.symlink")
DEEDS += ("os.truncate", "os.utime", "shutil.", "tempfile.", "socket.", "pty.", "ctypes.dlopen")


class Watch:
    """What Python does while a block runs, as far as others than the block could notice it."""

    def __init__(self):
        self.seen, self.on = [], False
        sys.addaudithook(self.note)  # stays until the process ends

    def note(self, event, arguments):
        if self.on and (event.startswith(DEEDS) or (event == "open" and writes(*arguments[1:]))):
            self.seen.append(f"{event} {arguments}")

    def __enter__(self):
        self.seen, self.on = [], True
        return self.seen

    def __exit__(self, *error):
        self.on = False


def writes(mode, flags):
    changing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
    return bool(set(mode or "") & set("wax+")) or bool((flags or 0) & changing)


@pytest.fixture(scope="module")
def watch():
    watch = Watch()
    with watch as seen, open(os.devnull, "w"):
        pass
    assert seen  # it does notice
    return watch


def loads(load, path):
    """Whether a file loads; else it was refused in one line that names it."""
    try:
        load(path)
    except UsageError as error:
        said = str(error)
        assert str(path) in said and said.isprintable() and len(said) < 700, said
        return False
    return True


@pytest.mark.parametrize(
    ("seed", "mutants", "share"),
    [(0, 150, 0.1), pytest.param(1, 3000, 1, marks=pytest.mark.slow)],
)
def test_they_load_or_are_refused_in_one_line(tmp_path, monkeypatch, watch, seed, mutants, share):
    here, path = tmp_path / "here", tmp_path / "model.pth"
    here.mkdir()
    monkeypatch.chdir(here)
    count, loaded = 0, []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, content in hostile.files(seed, mutants, share):
        path.write_bytes(content)
        for load in (load_model, load_demucs_checkpoint)[: 1 + (count % 3 == 0)]:
            with watch as seen, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if loads(load, path):
                    loaded.append(name)
            assert not seen, name
        count += 1
    assert count >= 500
    assert "all of torch.float16" in loaded
    assert not [name for name in loaded if name.startswith("sources")]
    assert not list(here.iterdir())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["here", "model.pth"]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20  # of KiB
    assert grown < 2, f"{grown} GiB of memory taken"
