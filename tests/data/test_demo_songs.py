"""Laws of the demo songs: repeatable, additive, level, varied, and resumable on disk."""

import hashlib

import numpy as np
import pytest
import soundfile

from asteroid_upsamplers.data import MIXTURE, SOURCES, render_demo_set, render_song
from asteroid_upsamplers.data.demo_set import song_name
from asteroid_upsamplers.data.demo_songs import compose
from asteroid_upsamplers.data.midi_parts import read_midi
from asteroid_upsamplers.errors import UsageError

SEEDS = range(3)


@pytest.fixture(scope="module")
def songs():
    return [render_song(seed, seconds=6.0) for seed in SEEDS]


@pytest.fixture
def demo_set(tmp_path):
    """Arguments of a small set that has been rendered."""
    arguments = {"root": tmp_path / "set", "n_train": 2, "n_test": 1, "seconds": 1.25}
    arguments |= {"sample_rate": 8000, "jobs": 2, "progress": False}
    render_demo_set(**arguments)
    return arguments


def dbfs(audio):
    return 20 * np.log10(np.sqrt(np.mean(audio.astype(float) ** 2)))


@pytest.mark.parametrize(("seconds", "rate"), [(1, 8000), (1.00007, 11025), (1.5, 48000)])
def test_shapes_and_types_at_any_length_and_rate(seconds, rate):
    stems = render_song(5, seconds, rate)
    assert tuple(stems) == SOURCES
    for stem in stems.values():
        assert (stem.dtype, stem.shape) == (np.float32, (round(seconds * rate), 2))
        assert -40 < dbfs(stem) < -10


def test_no_clipping_and_exact_sum_in_any_order(songs):
    for stems in songs:
        mixture = sum(stems.values())
        assert 0.85 < max(np.abs(s).max() for s in (mixture, *stems.values())) <= 0.9
        np.testing.assert_array_equal(mixture, sum(reversed(stems.values())))
        np.testing.assert_array_equal(mixture * 2**15, np.round(mixture * 2**15))


@pytest.mark.parametrize("source", SOURCES)
def test_stems_have_no_dc_are_stereo_and_differ_by_seed(songs, source):
    for stems in songs:
        stem = stems[source].astype(float)
        assert np.abs(stem.mean(axis=0)).max() < 1e-3 * stem.std()
        side, mid = stem[:, 0] - stem[:, 1], stem.sum(axis=1)
        assert 0.01 < side.std() / mid.std() < 1
    first, second = (stems[source].ravel() for stems in songs[:2])
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.5


def test_spectral_centroids_are_ordered(songs):
    def centroid(source):
        spectra = sum(np.abs(np.fft.rfft(stems[source].mean(axis=1))) for stems in songs)
        return (spectra * np.arange(len(spectra))).sum() / spectra.sum()

    assert centroid("bass") < centroid("vocals") < centroid("drums")


def test_instruments_end_in_the_stems_that_they_were_composed_for():
    for seed in range(40):
        piece = read_midi(compose(seed, 6.0))
        stems = piece.stems()
        assert {key[2] for key in stems["drums"]} == {True}
        assert {key[1] in range(32, 40) for key in stems["bass"]} == {True}
        assert {key[1] in (52, 53, 54, 85) for key in stems["vocals"]} == {True}
        assert not {key[1] for key in stems["other"]} & {52, 53, 54, 85, *range(32, 40)}


def test_a_seed_always_composes_the_same():
    digest = hashlib.sha256(b"".join(compose(seed, 12.0) for seed in range(10))).hexdigest()
    assert digest == "cf938ecc6e7519911e6718bc7e36cc4f1592ea1abd95697de6a4b68bc8094cea"


def test_files_on_disk_are_the_songs_whatever_process_renders_them(demo_set):
    folders = sorted(demo_set["root"].glob("*/*"))
    assert [(f.parent.name, f.name) for f in folders] == [
        ("test", song_name(1)),
        ("train", song_name(0)),
        ("train", song_name(2)),
    ]
    np.random.seed(1)  # the global generator must not matter
    stems = render_song(0, demo_set["seconds"], demo_set["sample_rate"])
    for name, expected in {MIXTURE: sum(stems.values()), **stems}.items():
        path = folders[1] / f"{name}.wav"
        np.testing.assert_array_equal(soundfile.read(path, dtype="float32")[0], expected)
        assert (soundfile.info(path).subtype, soundfile.info(path).samplerate) == ("PCM_16", 8000)


def test_only_what_is_damaged_or_of_other_settings_is_rendered_anew(demo_set):
    def changed():
        after = {path: path.stat().st_mtime_ns for path in demo_set["root"].rglob("*.wav")}
        return {path.parent.name for path in after if after[path] != before.get(path)}

    before = {path: path.stat().st_mtime_ns for path in demo_set["root"].rglob("*.wav")}
    render_demo_set(**demo_set)
    assert changed() == set()
    (demo_set["root"] / "train" / song_name(0) / "bass.wav").unlink()
    (demo_set["root"] / "test" / song_name(1) / "bass.wav").write_text("not audio")
    render_demo_set(**demo_set)
    assert changed() == {song_name(0), song_name(1)}
    (demo_set["root"] / "train" / song_name(2) / "song.json").unlink()  # an older version's
    render_demo_set(**demo_set)
    assert changed() == {song_name(0), song_name(1), song_name(2)}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("n_train", 0, "n_train is 0: must be at least 1"),
        ("n_test", -1, "n_test is -1: must be at least 0"),
        ("seconds", float("nan"), "seconds is nan: must be at least 1"),
        ("sample_rate", 7999, "sample_rate is 7999: must be at least 8000"),
        ("seed", -1, "seed is -1: must be at least 0"),
        ("jobs", 0, "jobs is 0: must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, name, value, words):
    with pytest.raises(UsageError, match=words):
        render_demo_set(tmp_path / "set", **{"progress": False, name: value})
    assert not (tmp_path / "set").exists()


def test_folders_with_songs_of_others_are_left_alone(demo_set, caplog):
    render_demo_set(**(demo_set | {"n_train": 1}))
    assert "1 more songs are there" in caplog.text
    theirs = demo_set["root"] / "train" / song_name(0)
    (theirs / "guitar.wav").write_text("precious")
    with pytest.raises(UsageError, match="000: not a song rendered here"):
        render_demo_set(**demo_set | {"seconds": 2})
    assert (theirs / "guitar.wav").read_text() == "precious"
    (theirs / "guitar.wav").unlink()
    (theirs / "song.json").unlink()
    theirs.rename(theirs.with_name("My song"))
    with pytest.raises(UsageError, match="My song: not a song rendered here"):
        render_demo_set(**demo_set)


def test_a_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "set").write_text("mine")
    with pytest.raises(UsageError, match=r"root is .*set, which is a file"):
        render_demo_set(tmp_path / "set", progress=False)
    assert (tmp_path / "set").read_text() == "mine"
