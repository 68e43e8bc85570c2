"""Audio is what decodes: against ffmpeg's own decoding, and against what was written."""

import re
import shutil
import struct
import subprocess

import numpy as np
import pytest
import soundfile
import torch

from asteroid_upsamplers.audio import read_audio, read_wav, readable
from asteroid_upsamplers.errors import UsageError

RATE, FRAMES = 16000, 48000
NOISE = (0.1 * np.random.default_rng(0).standard_normal((FRAMES, 2))).astype(np.float32)


def write(path, samples=NOISE, subtype="PCM_16", **more):
    soundfile.write(path, samples, RATE, subtype=subtype, **more)
    return path


def ffmpeg(source, *target):
    words = ["ffmpeg", "-loglevel", "error", "-i", source, *target]
    return subprocess.run(words, check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    """The same sound in several formats, by their endings."""
    folder = tmp_path_factory.mktemp("coded")
    wav = write(folder / "a.wav")
    for ending in ("m4a", "mp3", "ogg", "flac"):
        ffmpeg(
            wav, *(("-write_xing", "0", "-q:a", "2") if ending == "mp3" else ()), f"{wav}.{ending}"
        )
    return {path.suffix[1:]: path for path in folder.iterdir()}


@pytest.mark.parametrize("ending", ["m4a", "mp3", "ogg", "flac"])
def test_every_format_is_as_ffmpeg_decodes_it(coded, ending, tmp_path):
    path = shutil.copy(coded[ending], tmp_path / "odd ' %03d name")
    expected = ffmpeg(path, "-f", "f32le", "-")
    samples, rate = read_audio(path)
    assert rate == RATE
    assert samples.T.numpy().tobytes() == expected
    assert len(samples.T) >= FRAMES
    assert readable(coded["wav"], tmp_path) == coded["wav"]


def test_joined_files_are_read_to_the_end(coded, tmp_path):
    for ending, slack in {"wav": 0, "flac": 0, "mp3": 3000, "ogg": 1000}.items():
        path = tmp_path / f"a.{ending}"
        path.write_bytes(2 * coded[ending].read_bytes())
        frames = read_audio(path)[0].shape[1]
        assert 2 * FRAMES <= frames <= 2 * FRAMES + slack, ending


def wav(riff, data, samples=None):
    """A file whose header states these sizes, and whose samples are all there."""
    samples = (NOISE * 2**15).astype("<i2").tobytes() if samples is None else samples
    head = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 2, RATE, 4 * RATE, 4, 16)
    return b"RIFF" + struct.pack("<I", riff) + head + b"data" + struct.pack("<I", data) + samples


SIZE = 4 * FRAMES
HEADERS = {  # the file, how many seconds it has, and what is said of it
    "broken off": (wav(0, 0), 3, ""),
    "of a pipe": (wav(2**32 - 1, 2**32 - 1), 3, ""),
    "of sox's pipe": (wav(0x7FFFF024, 0x7FFFF000), 3, ""),
    "data size 0": (wav(SIZE + 36, 0), 3, ""),
    "no RIFF size": (wav(0, SIZE), 3, ""),
    "cut": (
        wav(SIZE + 36, SIZE, bytes(range(256)) * 250),
        1,
        r"cut off; 1\.0 s of 3\.0 s announced",
    ),
    "more behind": (wav(SIZE + 36, 4 * RATE), 1, r"1\.0 s are read.* 128000 bytes"),
    "a tag behind": (wav(SIZE + 36, SIZE) + b"TAG" + bytes(125), 3, ""),
    "an odd byte": (wav(SIZE + 37, SIZE + 1) + b"x", 3, ""),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_are_not_believed(name, tmp_path, caplog):
    content, seconds, words = HEADERS[name]
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    samples, _ = read_audio(path)
    assert samples.shape == (2, seconds * RATE)
    if name not in ("cut", "more behind"):
        torch.testing.assert_close(samples, torch.from_numpy(NOISE.T), atol=1e-4, rtol=0)
    if words:
        assert f"{path}: " in caplog.text
        assert re.search(words, caplog.text)
    else:
        assert not caplog.text


def test_a_broken_off_rf64_file_is_read(tmp_path, caplog):
    path = write(tmp_path / "a.wav", format="RF64")
    content = bytearray(path.read_bytes())
    path.write_bytes(content[: -4 * RATE])
    assert read_audio(path)[0].shape[1] == 2 * RATE
    assert "cut off; 2.0 s of 3.0 s announced" in caplog.text
    at = content.index(b"ds64") + 8
    content[at : at + 24] = bytes(24)
    path.write_bytes(content)
    assert read_audio(path)[0].shape[1] == FRAMES


def test_what_does_not_decode_is_named(coded, tmp_path, caplog):
    path, content = tmp_path / "a.flac", coded["flac"].read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert 0.4 * FRAMES < read_audio(path)[0].shape[1] < 0.6 * FRAMES
    assert "s of 3.0 s announced are used" in caplog.text
    content = bytearray(content)
    content[21] &= 0xF0  # the length in the header: unknown
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert read_audio(path)[0].shape[1] == FRAMES


def test_without_ffmpeg_libsndfile_decodes_in_one_pass(coded, tmp_path, monkeypatch, caplog):
    expected = read_audio(coded["flac"])[0]
    monkeypatch.setenv("PATH", "")
    assert torch.equal(read_audio(coded["flac"])[0], expected)
    assert not caplog.text
    read_audio(coded["ogg"])
    assert "install ffmpeg to be sure" in caplog.text
    with pytest.raises(UsageError, match=r"a\.wav\.m4a: not .*install ffmpeg to read more formats"):
        readable(coded["m4a"], tmp_path)


def test_what_has_no_sound_is_refused(tmp_path):
    (tmp_path / "text.wav").write_text("no sound" * 100)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "nowhere")
    write(tmp_path / "none.wav", NOISE[:0])
    (tmp_path / "\udcff.wav").write_text("x")
    cases = {
        "\udcff": "the name is not UTF-8; rename the file",
        "text": r"not readable as audio \(.*\)$",
        "empty": "empty file",
        "folder": "is a folder, must be an audio file",
        "dangling": "no such file",
        "none": "no samples",
        "a" * 300: "cannot be read",
    }
    for name, words in cases.items():
        with pytest.raises(UsageError, match=rf"{name}\.wav: {words}") as caught:
            readable(tmp_path / f"{name}.wav", tmp_path)
        assert "\n" not in str(caught.value)


def test_of_several_streams_the_first_sound_is_read(coded, tmp_path, caplog):
    """A picture is no stream of sound, even if it comes first."""
    words = ["-f", "lavfi", "-i", "testsrc=d=0.1:s=16x16", "-frames:v", "1", tmp_path / "cover.png"]
    subprocess.run(["ffmpeg", "-loglevel", "error", *words], check=True)
    path = tmp_path / "a.m4a"
    maps = ["-i", coded["flac"], "-map", "0", "-map", "1", "-map", "1", "-c:v", "png"]
    ffmpeg(tmp_path / "cover.png", *maps, "-disposition:v:0", "attached_pic", path)
    with caplog.at_level("INFO"):
        readable(path, tmp_path)
    assert "a.m4a: 2 audio streams, the first is read" in caplog.text
    assert read_wav(tmp_path / "decoded.wav").shape[1] >= FRAMES


def test_a_full_disk_is_not_taken_for_a_bad_file(coded, tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            readable(coded["m4a"], tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
