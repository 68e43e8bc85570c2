"""Reading against soundfile, resampling in blocks against the whole."""

from concurrent.futures import ThreadPoolExecutor

import julius
import numpy as np
import pytest
import soundfile
import torch

from asteroid_upsamplers.audio import read_blocks, read_wav, resample_file, writing_wavs
from asteroid_upsamplers.audio.reading import _mapped
from asteroid_upsamplers.errors import UsageError


def write(path, frames, rate=8000, channels=1, **more):
    samples = np.random.default_rng(0).standard_normal((frames, channels)) * 0.1
    soundfile.write(path, samples, rate, **{"subtype": "FLOAT", **more})
    return path


def put_chunk(path, where):
    """A chunk that no reader knows, of an odd length, before the samples or behind them."""
    content = path.read_bytes()
    at = content.index(b"data") if where == "before" else len(content)
    content = content[:at] + b"bext" + (13).to_bytes(4, "little") + bytes(14) + content[at:]
    path.write_bytes(content[:4] + (len(content) - 8).to_bytes(4, "little") + content[8:])


FILES = {
    "16 bit": ({"subtype": "PCM_16"}, True),
    "16 bit, extensible": ({"subtype": "PCM_16", "format": "WAVEX"}, True),
    "16 bit, six channels": ({"subtype": "PCM_16", "channels": 6}, True),
    "16 bit, mono": ({"subtype": "PCM_16", "channels": 1}, True),
    "16 bit, chunk before": ({"subtype": "PCM_16"}, True),
    "16 bit, chunk behind": ({"subtype": "PCM_16"}, True),
    "16 bit, extensible, chunk before": ({"subtype": "PCM_16", "format": "WAVEX"}, True),
    "32 bit": ({"subtype": "PCM_32"}, True),
    "RF64": ({"subtype": "PCM_16", "format": "RF64"}, True),
    "big-endian": ({"subtype": "PCM_16", "endian": "BIG"}, False),
    "24 bit": ({"subtype": "PCM_24"}, False),
    "8 bit": ({"subtype": "PCM_U8"}, False),
    "float": ({"subtype": "FLOAT"}, False),
    "double": ({"subtype": "DOUBLE"}, False),
    "flac": ({"subtype": "PCM_16", "format": "FLAC"}, False),
}


@pytest.mark.parametrize("name", FILES)
def test_samples_are_those_of_soundfile(name, tmp_path, recwarn):
    settings, mapped = FILES[name]
    path = write(tmp_path / "a.wav", 1000, **{"channels": 2, **settings})
    if "chunk" in name:
        put_chunk(path, name.split()[-1])
    assert (_mapped(path) is not None) == mapped
    assert not recwarn.list
    for start, stop in ((0, None), (0, 1000), (1, 8), (990, 1000), (500, 500)):
        expected, _ = soundfile.read(path, start=start, stop=stop, dtype="float32", always_2d=True)
        assert torch.equal(read_wav(path, start, stop), torch.from_numpy(expected.T))
        out = torch.empty(expected.T.shape)
        assert read_wav(path, start, stop, out) is out
        assert torch.equal(out, torch.from_numpy(expected.T))


def test_threads_that_read_at_once_show_no_warnings_of_skipped_chunks(tmp_path, recwarn):
    path = write(tmp_path / "a.wav", 1000)  # has chunks that scipy does not know
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: read_wav(path, 0, 1000), range(2000)))
    assert not recwarn.list


def test_nothing_reaches_a_mapped_file(tmp_path):
    path = write(tmp_path / "a.wav", 100, subtype="PCM_16")
    before = path.read_bytes()
    read_wav(path, 0, 100).zero_()
    assert path.read_bytes() == before


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_truncated_file_is_told_from_silence(subtype, tmp_path):
    path = write(tmp_path / "a.wav", 1000, subtype=subtype)
    path.write_bytes(path.read_bytes()[:1000])
    assert read_wav(path, 0, 100).shape == (1, 100)
    with pytest.raises(UsageError, match=r"a.wav: cannot be read \(truncated before sample 990"):
        read_wav(path, 900, 990)
    with pytest.raises(UsageError, match=r"b.wav: cannot be read"):
        read_wav(tmp_path / "b.wav", 900, 990)


@pytest.mark.parametrize("form", ["WAV", "RF64"])
def test_no_time_is_noted_in_what_is_written(form, tmp_path, monkeypatch):
    """Else equal samples would make other files a second later."""
    monkeypatch.setattr("asteroid_upsamplers.audio.writing.WAV_LIMIT", 10**9 * (form == "WAV"))
    path = tmp_path / "a.wav"
    with writing_wavs([path], 8000, 2, 100) as (file,):
        file.write(np.full((100, 2), 0.25, np.float32))
    assert b"PEAK" not in path.read_bytes() and soundfile.info(path).format == form
    assert (soundfile.read(path)[0] == 0.25).all()


def test_nan_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full(9, np.nan, np.float32), 8000, subtype="FLOAT")
    with pytest.raises(UsageError, match=r"a.wav: holds NaN or infinite"):
        read_wav(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("old", "new", "frames", "seconds"),
    [(44100, 8000, 44100, 0.3), (8000, 44100, 4001, 0.01), (48000, 44100, 1, 9), (8, 8, 50, 1)],
)
def test_blocks_are_resampled_as_the_whole(old, new, frames, seconds, tmp_path):
    source = write(tmp_path / "a.wav", frames, old, channels=2)
    resample_file(source, tmp_path / "b.wav", new, block_seconds=seconds)
    expected = julius.ResampleFrac(old, new)(read_wav(source), full=True)
    assert soundfile.info(tmp_path / "b.wav").samplerate == new
    torch.testing.assert_close(read_wav(tmp_path / "b.wav"), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("frames", [0, 1, 44099, 44101])
def test_there_and_back_keeps_the_length(frames, tmp_path):
    source = write(tmp_path / "a.wav", frames, 44100)
    resample_file(source, tmp_path / "b.wav", 8000)
    resample_file(tmp_path / "b.wav", tmp_path / "c.wav", 44100, frames)
    assert soundfile.info(tmp_path / "c.wav").frames == frames


def test_rates_without_a_common_divisor_are_refused(tmp_path):
    source = write(tmp_path / "a.wav", 10, 44101)
    with pytest.raises(UsageError, match="44101 Hz and 44100 Hz have too small a common divisor"):
        resample_file(source, tmp_path / "b.wav", 44100)


def test_blocks_add_up(tmp_path):
    path = write(tmp_path / "a.wav", 1000, channels=3)
    blocks = list(read_blocks(path, seconds=0.03))
    assert [b.shape[1] for b in blocks] == [240] * 4 + [40]
    assert torch.equal(torch.cat(blocks, -1), read_wav(path))
