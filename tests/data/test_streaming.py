"""Files read and resampled block by block, against the whole at once."""

import subprocess

import julius
import numpy as np
import pytest
import soundfile
import torch

from asteroid_upsamplers.audio import read_blocks, read_wav, readable, resample_file
from asteroid_upsamplers.errors import UsageError


def write(path, frames, rate, channels=1, **more):
    samples = np.random.default_rng(0).standard_normal((frames, channels)) * 0.1
    soundfile.write(path, samples, rate, **{"subtype": "FLOAT", **more})
    return path


@pytest.mark.parametrize("seconds", [0.01, 0.3, 100])
@pytest.mark.parametrize(
    ("old", "new", "frames"),
    [(44100, 8000, 44100), (8000, 44100, 4001), (16000, 8000, 999), (48000, 44100, 1), (8, 8, 50)],
)
def test_blocks_are_resampled_as_the_whole(old, new, frames, seconds, tmp_path):
    source = write(tmp_path / "a.wav", frames, old, channels=2)
    resample_file(source, tmp_path / "b.wav", new, block_seconds=seconds)
    expected = julius.ResampleFrac(old, new)(read_wav(source), full=True)
    found = read_wav(tmp_path / "b.wav")
    assert soundfile.info(tmp_path / "b.wav").samplerate == new
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("frames", [0, 1, 44099, 44100, 44101])
def test_there_and_back_keeps_the_length(frames, tmp_path):
    source = write(tmp_path / "a.wav", frames, 44100)
    resample_file(source, tmp_path / "b.wav", 8000)
    resample_file(tmp_path / "b.wav", tmp_path / "c.wav", 44100, frames)
    assert soundfile.info(tmp_path / "c.wav").frames == frames


def test_blocks_add_up(tmp_path):
    path = write(tmp_path / "a.wav", 1000, 8000, channels=3)
    blocks = list(read_blocks(path, seconds=0.03))
    assert [b.shape[1] for b in blocks] == [240] * 4 + [40]
    assert torch.equal(torch.cat(blocks, -1), read_wav(path))


@pytest.mark.parametrize("suffix", [".m4a", ".mp4", ".mka"])
def test_what_libsndfile_cannot_read_ffmpeg_decodes(suffix, tmp_path):
    wav = write(tmp_path / "a.wav", 16000, 16000, channels=2)
    path = tmp_path / f"odd ' name{suffix}"
    words = ["ffmpeg", "-loglevel", "error", "-i", wav, "-c:a", "aac", "-b:a", "320k", path]
    subprocess.run(words, check=True)
    decoded = readable(path, tmp_path)
    assert decoded != path
    info = soundfile.info(decoded)
    assert (info.samplerate, info.channels, info.subtype) == (16000, 2, "FLOAT")
    assert abs(info.frames - 16000) < 3000
    assert readable(wav, tmp_path) == wav


def test_what_neither_can_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "text.wav"
    path.write_text("no sound")
    with pytest.raises(UsageError, match=r"text.wav: not readable as audio \(.*\)$") as caught:
        readable(path, tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="missing.wav: no such file"):
        readable(tmp_path / "missing.wav", tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="with ffmpeg more formats are"):
        readable(path, tmp_path)


def test_rates_without_a_common_divisor_are_refused(tmp_path):
    source = write(tmp_path / "a.wav", 10, 44101)
    with pytest.raises(UsageError, match="44101 Hz and 44100 Hz have too small a common divisor"):
        resample_file(source, tmp_path / "b.wav", 44100)
