"""Stage 0: stems become wav files, wav files are checked, and nothing half-done is kept."""

import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

import julius
import musdb
import numpy as np
import pytest
import soundfile
import stempeg
import torch
import yaml

from asteroid_upsamplers.data import download_sample, prepare, songs_at_rate
from asteroid_upsamplers.data.stems import STREAMS, decode_stems
from asteroid_upsamplers.errors import UsageError
from tests.conftest import RATE, write_song

STEM_RATE = 44100


def write_stems(path, streams=5, rate=STEM_RATE, seconds=1.0):
    """A stem file of noises, as MUSDB18's: one AAC stream a stem."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    audio = rng.uniform(-0.1, 0.1, (streams, round(seconds * rate), 2))
    stempeg.write_stems(str(path), audio, sample_rate=rate, writer=stempeg.StreamsWriter())
    return path


@pytest.fixture(scope="module")
def stem_file(tmp_path_factory):
    return write_stems(tmp_path_factory.mktemp("stems") / "a.stem.mp4")


@pytest.fixture
def stem_set(stem_file, tmp_path):
    root = tmp_path / "musdb18"
    for name in ("train/A - One", "train/B - It's «Zwei»", "test/C - Three"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(stem_file, root / f"{name}.stem.mp4")
    return root


def times(root):
    return {path: path.stat().st_mtime_ns for path in root.rglob("*.wav")}


def test_stems_are_written_as_musdb_decodes_them(stem_set, tmp_path):
    root = prepare(stem_set, tmp_path / "wav", progress=False)
    assert root == tmp_path / "wav"
    tracks = musdb.DB(root=str(stem_set))
    assert len(tracks) == 3
    for track in tracks:
        stems = track.stems
        for index, name in enumerate(STREAMS):
            path = root / track.subset / track.name / f"{name}.wav"
            assert soundfile.info(path).subtype == "PCM_16"
            samples, rate = soundfile.read(path, dtype="int16")
            assert rate == STEM_RATE
            np.testing.assert_array_equal(samples, np.round(stems[index] * 2**15))
    again = musdb.DB(root=str(root), is_wav=True)
    assert [t.name for t in again] == [t.name for t in tracks]


def test_a_second_run_does_only_what_is_missing_or_has_changed(stem_set, tmp_path):
    def changed():
        prepare(stem_set, root, progress=False)
        after = times(root)
        assert after.keys() == before.keys()
        return {path.parent.name for path in after if after[path] != before[path]}

    root = prepare(stem_set, tmp_path / "wav", progress=False)
    before = times(root)
    assert len(before) == 15
    assert changed() == set()
    (root / "train" / "A - One" / "bass.wav").write_bytes(b"")  # damaged by someone
    shutil.rmtree(root / "test" / "C - Three")
    assert changed() == {"A - One", "C - Three"}
    before = times(root)
    write_stems(stem_set / "test" / "C - Three.stem.mp4", seconds=1.5)
    assert changed() == {"C - Three"}
    assert soundfile.info(root / "test" / "C - Three" / "bass.wav").duration > 1.4


def test_a_bad_stem_file_is_named_and_the_others_are_converted(stem_set, tmp_path):
    bad = stem_set / "train" / "A - One.stem.mp4"
    bad.write_bytes(bad.read_bytes()[: bad.stat().st_size // 2])
    with pytest.raises(UsageError, match=r"1 of 3 songs: .*A - One\.stem\.mp4: ") as caught:
        prepare(stem_set, tmp_path / "wav", progress=False)
    assert "\n" not in str(caught.value)
    assert len(times(tmp_path / "wav")) == 10
    assert not list((tmp_path / "wav").rglob(".*.partial"))


def zeros_within(content):
    return content[:1000] + bytes(len(content) - 9000) + content[-8000:]


def cut_short(content):
    """Half of the samples, and all of the index, put before them as some programs do."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "a.mp4"), Path(folder, "b.mp4")
        before.write_bytes(content)
        words = ["-map", "0:a", "-c", "copy", "-movflags", "faststart"]
        subprocess.run(["ffmpeg", "-v", "error", "-i", before, *words, after], check=True)
        return after.read_bytes()[: len(content) // 2]


BAD_STEMS = {
    "scrambled": (zeros_within, "not readable as audio|samples decode"),
    "cut short": (cut_short, "truncated, .* samples decode"),
    "two streams": (None, "2 audio streams, 5 are needed"),
    "other rate": (None, "22050 Hz, 44100 Hz is needed"),
}


@pytest.mark.parametrize("kind", BAD_STEMS)
def test_what_is_wrong_with_a_stem_file_is_said(stem_file, tmp_path, kind):
    damage, message = BAD_STEMS[kind]
    path = tmp_path / "bad.stem.mp4"
    if damage:
        path.write_bytes(damage(stem_file.read_bytes()))
    else:
        write_stems(path, **({"streams": 2} if kind == "two streams" else {"rate": 22050}))
    with pytest.raises(UsageError, match=rf"bad\.stem\.mp4: ({message})"):
        decode_stems(tmp_path, path, STEM_RATE)


def test_wav_sets_are_used_where_they_are_and_counted(song_set, tmp_path, caplog):
    caplog.set_level("INFO")
    assert prepare(song_set, tmp_path / "wav", RATE, progress=False) == song_set
    assert "train: 3 songs found, 3 used" in caplog.text
    assert "test: 2 songs found, 2 used" in caplog.text
    assert "1 songs to train on, 2 to validate on" in caplog.text
    assert not (tmp_path / "wav").exists()
    for skip in (False, True):
        with pytest.raises(UsageError, match="with --stage 1 its songs are resampled"):
            prepare(song_set, tmp_path / "wav", progress=False, skip_bad_songs=skip)


def test_sets_of_other_stems(tmp_path):
    for song in ("train/a", "test/b"):
        (tmp_path / song).mkdir(parents=True)
        for name in ("vocals", "accompaniment", "mixture"):
            soundfile.write(tmp_path / song / f"{name}.wav", np.full((50, 2), 0.5), RATE)
    sources = ("vocals", "accompaniment")
    assert prepare(tmp_path, tmp_path / "wav", RATE, sources=sources) == tmp_path
    (song,) = songs_at_rate(tmp_path, tmp_path / "wav", "test", RATE // 2, False, sources)
    assert song.read((*sources, "mixture")).shape == (3, 2, 25)
    with pytest.raises(UsageError, match=r"drums\.wav: missing"):
        prepare(tmp_path, tmp_path / "wav", RATE)


def test_float_samples_are_checked(song_set, tmp_path):
    samples = np.full((2 * RATE, 2), np.inf, np.float32)
    write_song(song_set / "train" / "hot", subtype="FLOAT", drums=samples)
    with pytest.raises(UsageError, match=r"drums\.wav: holds NaN or infinite"):
        prepare(song_set, tmp_path / "wav", RATE, progress=False)


def test_songs_at_another_rate_are_what_julius_makes_of_them(song_set, tmp_path):
    folders = song_set, tmp_path / "wav"
    as_they_are = songs_at_rate(*folders, "test", RATE, progress=False)
    assert [song.folder.parent for song in as_they_are] == [song_set / "test"] * 2
    assert not list(tmp_path.glob("wav*"))
    resampled = songs_at_rate(*folders, "test", 6000, progress=False)
    assert [song.folder.parent for song in resampled] == [tmp_path / "wav_6000" / "test"] * 2
    for song, original in zip(resampled, as_they_are, strict=True):
        expected = julius.resample_frac(original.read(STREAMS), RATE, 6000)[..., : song.frames]
        torch.testing.assert_close(song.read(STREAMS), expected, atol=1e-6, rtol=0)
        assert song.frames == original.frames * 6000 // RATE
    before = times(tmp_path / "wav_6000")
    write_song(song_set / "test" / "new", seed=5)
    shutil.copytree(song_set / "test" / "new", song_set / "test" / "test 0", dirs_exist_ok=True)
    again = songs_at_rate(*folders, "test", 6000, progress=False)
    assert [song.name for song in again] == ["new", "test 0", "test 1"]
    assert torch.equal(again[0].read(STREAMS), again[1].read(STREAMS))
    after = times(tmp_path / "wav_6000")
    kept = {path.parent.name for path in after if after[path] == before.get(path)}
    assert kept == {"test 1"}


def test_copies_of_songs_that_are_gone_are_removed(stem_set, tmp_path, caplog):
    caplog.set_level("INFO")
    root = prepare(stem_set, tmp_path / "wav", progress=False)
    (stem_set / "train" / "A - One.stem.mp4").rename(stem_set / "test" / "A - One.stem.mp4")
    prepare(stem_set, root, progress=False)
    assert "train/A - One: removed" in caplog.text
    assert {str(path.parent.relative_to(root)) for path in times(root)} == {
        "train/B - It's «Zwei»",
        "test/A - One",
        "test/C - Three",
    }


def test_no_set_at_all_says_how_to_get_one(tmp_path):
    with pytest.raises(UsageError, match=r"no MUSDB18 here.*--download_sample.*--demo") as caught:
        prepare(tmp_path / "nowhere", tmp_path / "wav")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sources", [["vocals", "mixture"], ["vocals", ""]])
def test_sources_that_are_none_are_refused(tmp_path, sources):
    write_song(tmp_path / "set" / "train" / "song")
    with pytest.raises(UsageError, match="^sources: "):
        songs_at_rate(tmp_path / "set", tmp_path / "wav", "train", sources=sources)


def test_ffmpeg_is_asked_for_by_name(stem_set, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="ffmpeg and ffprobe not found.*apt-get install ffmpeg"):
        prepare(stem_set, tmp_path / "wav")


def test_excerpts_are_downloaded_once(stem_set, tmp_path):
    with zipfile.ZipFile(tmp_path / "excerpts.zip", "w") as archive:
        for path in stem_set.rglob("*.mp4"):
            archive.write(path, path.relative_to(stem_set))
    settings = yaml.safe_load(Path(musdb.__path__[0], "configs", "mus.yaml").read_text())
    settings["sample-url"] = (tmp_path / "excerpts.zip").as_uri()
    (tmp_path / "setup.yaml").write_text(yaml.safe_dump(settings))
    root = tmp_path / "excerpts"
    assert download_sample(root, str(tmp_path / "setup.yaml")) == root
    assert len(list(root.rglob("*.stem.mp4"))) == 3
    (tmp_path / "excerpts.zip").unlink()
    download_sample(root, str(tmp_path / "setup.yaml"))
    with pytest.raises(UsageError, match="cannot be downloaded"):
        download_sample(tmp_path / "other", str(tmp_path / "setup.yaml"))


def test_real_songs_are_what_stempeg_decodes(real_songs, tmp_path):
    """In MUSDB18's own format, sample by sample."""
    source = sorted((real_songs / "train").glob("*.stem.mp4"))[0]
    decode_stems(tmp_path, source, STEM_RATE)
    stems, _ = stempeg.read_stems(str(source), dtype=np.float32, ffmpeg_format="s16le")
    for name, expected in zip(STREAMS, stems, strict=True):
        samples, _ = soundfile.read(tmp_path / f"{name}.wav", dtype="float32")
        np.testing.assert_array_equal(samples, expected)
