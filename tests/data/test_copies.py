"""Copies follow what they were made from: made again when it changed, and only then."""

import errno
import itertools
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock

from asteroid_upsamplers.data import identity
from asteroid_upsamplers.data.copies import ORIGIN, update_copies
from asteroid_upsamplers.errors import UsageError

SONGS = [Path("train", name) for name in ("a", "b", "c")]


def write_set(root, content="content"):
    for song in SONGS:
        (root / song).mkdir(parents=True)
        for name in ("drums.wav", "bass.wav"):
            (root / song / name).write_text(f"{content} of {song.name}/{name}")
    return root


class Copying:
    """Copies of a set; ``made`` are the songs that the last update copied."""

    def __init__(self, base):
        self.base, self.how, self.then, self.bad = base, "as it is", lambda: None, ()

    def update(self, root, songs=()):
        self.made = set()

        def make(folder, paths):
            self.made.add(paths[0].parent.name)
            for path in paths:
                shutil.copyfile(path, folder / path.name)
            self.then()

        originals = {s: sorted((root / s).glob("*.wav")) for s in SONGS if (root / s).exists()}
        originals = {s: paths for s, paths in originals.items() if s not in self.bad}
        folder, problems = update_copies(
            self.base, root, originals, songs or originals, make, self.how, "", progress=False
        )
        for song in originals.keys() - problems.keys():
            for path in originals[song]:
                assert (folder / song / path.name).read_bytes() == path.read_bytes()
        self.folder, self.problems = folder, problems
        return self.made


@pytest.fixture
def copying(tmp_path, monkeypatch):
    """A set that has been copied, long ago."""
    monkeypatch.setattr(identity, "SETTLED_NS", 0)
    copying = Copying(tmp_path / "copies")
    assert copying.update(write_set(tmp_path / "set")) == {"a", "b", "c"}
    return copying


def test_another_content_with_the_same_size_and_times_is_noticed(copying, tmp_path):
    assert copying.update(tmp_path / "set") == set()
    path = tmp_path / "set" / "train" / "b" / "drums.wav"
    times = path.stat()
    path.write_text(path.read_text().swapcase())
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert copying.update(tmp_path / "set") == {"b"}


def test_a_change_within_the_same_tick_of_the_clock_is_noticed(copying, tmp_path, monkeypatch):
    """Even where nothing but the content tells."""
    monkeypatch.setattr(identity, "_stamp", lambda path, folder: {"path": str(path), "ctime_ns": 1})
    monkeypatch.setattr(identity.time, "time_ns", lambda: 2)
    monkeypatch.setattr(identity, "SETTLED_NS", 5)
    copying.update(tmp_path / "set")
    path = tmp_path / "set" / "train" / "b" / "drums.wav"
    path.write_text(path.read_text().swapcase())
    assert copying.update(tmp_path / "set") == {"b"}


def test_stems_and_songs_that_come_go_or_are_other_files_are_noticed(copying, tmp_path):
    songs = tmp_path / "set" / "train"
    (songs / "a" / "vocals.wav").write_text("new")
    (songs / "b" / "bass.wav").unlink()
    (songs / "c" / "bass.wav").unlink()
    (songs / "c" / "bass.wav").symlink_to(songs / "a" / "bass.wav")
    assert copying.update(tmp_path / "set") == {"a", "b", "c"}
    assert not (copying.folder / "train" / "b" / "bass.wav").exists()
    (songs / "b").rename(songs / "gone")
    assert copying.update(tmp_path / "set") == set()
    assert sorted(p.name for p in (copying.folder / "train").iterdir()) == ["a", "c"]


def test_copies_that_a_run_does_not_want_are_kept_as_long_as_they_are_right(copying, tmp_path):
    copying.bad = SONGS[:1]
    assert copying.update(tmp_path / "set", SONGS) == set()
    assert (copying.folder / SONGS[0]).exists()
    (tmp_path / "set" / SONGS[0] / "bass.wav").write_text("other")
    assert copying.update(tmp_path / "set", SONGS) == set()
    assert not (copying.folder / SONGS[0]).exists()


def test_damaged_and_edited_copies_and_those_of_other_settings_are_made_again(copying, tmp_path):
    copies = copying.folder / "train"
    (copies / "a" / "drums.wav").write_text("")
    path = copies / "b" / "bass.wav"
    path.write_text(path.read_text().swapcase())
    (copies / "c" / "more.wav").write_text("")
    assert copying.update(tmp_path / "set") == {"a", "b", "c"}
    (copies / "a" / "bass.wav").unlink()
    (copies / "b" / ORIGIN).write_text('{"how": "as it is", "made from": [1], "files": null}')
    assert copying.update(tmp_path / "set") == {"a", "b"}
    copying.how = "better"
    assert copying.update(tmp_path / "set") == {"a", "b", "c"}


def test_a_set_that_was_touched_or_moved_keeps_its_copies_and_so_do_moved_copies(copying, tmp_path):
    for path in (tmp_path / "set").rglob("*.wav"):
        os.utime(path, (5, 5))
    assert copying.update(tmp_path / "set") == set()
    shutil.copytree(tmp_path / "set", tmp_path / "disk" / "set")
    shutil.rmtree(tmp_path / "set")
    assert copying.update(tmp_path / "disk" / "set") == set()
    shutil.copytree(copying.base, tmp_path / "elsewhere")
    copying.base = tmp_path / "elsewhere"
    assert copying.update(tmp_path / "disk" / "set") == set()
    assert copying.folder == tmp_path / "elsewhere"


def test_finished_copies_may_be_read_only(copying, tmp_path, monkeypatch):
    """Also where the set was moved, so that its place and the times could be noted."""
    moved = (tmp_path / "set").rename(tmp_path / "moved")
    os.utime(moved / "train" / "a" / "bass.wav", (4e9, 4e9))

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    monkeypatch.setattr(FileLock, "acquire", refuse)
    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    assert copying.update(moved) == set()
    (moved / "train" / "a" / "bass.wav").write_text("other")
    with pytest.raises(PermissionError):
        copying.update(moved)


def test_sets_of_one_name_have_copies_of_their_own(copying, tmp_path):
    first = copying.folder
    other = write_set(tmp_path / "other" / "set", "CONTENT")
    assert copying.update(other) == {"a", "b", "c"}
    assert copying.folder != first
    assert copying.update(tmp_path / "set") == set()
    assert copying.folder == first
    shutil.move(tmp_path / "set", tmp_path / "put aside")
    third = write_set(tmp_path / "third" / "set", "cOnTeNt")  # not the one that was moved
    assert copying.update(third) == {"a", "b", "c"}
    assert copying.update(tmp_path / "put aside") == set()
    assert copying.update(other) == set()


def test_files_of_others_are_left_alone(tmp_path):
    theirs = tmp_path / "copies" / "train" / "a" / "drums.wav"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("precious")
    copying = Copying(tmp_path / "copies")
    assert copying.update(write_set(tmp_path / "set")) == {"a", "b", "c"}
    assert copying.update(tmp_path / "set") == set()
    assert theirs.read_text() == "precious"


def test_what_changes_while_it_is_copied_is_refused(tmp_path):
    copying = Copying(tmp_path / "copies")
    root = write_set(tmp_path / "set")
    # called for every song, in threads: what it writes is new each time, whichever comes first
    bass, numbers = root / "train" / "a" / "bass.wav", itertools.count()
    copying.then = lambda: bass.write_text(f"other {next(numbers)}")
    copying.update(root)
    assert "changed while it was copied" in copying.problems[SONGS[0]]
    assert not (copying.folder / SONGS[0]).exists()


def test_an_original_that_cannot_be_read_is_named(tmp_path):
    root = write_set(tmp_path / "set")
    (root / "train" / "a" / "bass.wav").unlink()
    (root / "train" / "a" / "bass.wav").mkdir()
    with pytest.raises(UsageError, match="bass.wav: cannot be read"):
        identity.identify(root / "train" / "a" / "bass.wav")
