"""Networks between two pipes."""

import io
import struct
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models import DemucsLike, WaveUNet
from asteroid_upsamplers.separation import separate_live

RATE = 8000


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return WaveUNet(("low", "high"), depth=2, channels=2, kernel_size=5, sample_rate=RATE).eval()


@pytest.fixture(scope="module")
def mixture():
    return (0.1 * np.random.default_rng(0).standard_normal((5000, 2))).astype("<f4")


def expected(model, mixture):
    """``(samples, 4)``: the channels of both sources side by side."""
    x = torch.from_numpy(mixture.T.copy())[None]
    padded = torch.nn.functional.pad(x, model.needed_context(len(mixture)))
    y = model.forward_with_context(padded)[0, ..., : len(mixture)]
    return y.reshape(4, -1).T.detach().numpy()


class Dripping(io.BytesIO):
    """Gives few bytes at a time, not whole frames."""

    def read1(self, size=-1):
        return super().read1(min(size, 1003))


def run(model, content):
    sink = io.BytesIO()
    separate_live(model, Dripping(content), sink, progress=False)
    return sink.getvalue()


def wav(samples, subtype="FLOAT", rate=RATE):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype=subtype, format="WAV")
    return file.getvalue()


def test_raw_floats(model, mixture):
    y = np.frombuffer(run(model, mixture.tobytes()), "<f4").reshape(-1, 4)
    np.testing.assert_allclose(y, expected(model, mixture), atol=1e-6)


@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_16"])
def test_wav(model, mixture, subtype):
    """With chunks around the samples, and with the sizes that programs write to a pipe."""
    content = wav(mixture, subtype)
    heard, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    place = content.index(b"data")
    piped = content[: place + 4] + struct.pack("<I", 0xFFFFFFFF) + content[place + 8 :]
    for given in (content + b"LIST" + struct.pack("<I", 4) + b"more", piped):
        y, rate = soundfile.read(io.BytesIO(run(model, given)), dtype="float32")
        assert rate == RATE
        np.testing.assert_allclose(y, expected(model, heard), atol=1e-6)


def test_what_is_refused(model, mixture):
    raw, floats = mixture.tobytes(), wav(mixture)
    for content, words in (
        (b"", "no audio, 0 bytes of a frame of 8"),
        (raw[:5], "no audio, 5 bytes of a frame of 8"),
        (raw[:-3], "ends within a frame, after 5 of its 8 bytes: raw input must be 32-bit floats"),
        (floats[:-80], "the wav ends after 39920 of 40000 bytes"),
        (floats[:30], "ends within the header of a wav"),
        (wav(mixture[:, :1]), "has 1 channels at 8000 Hz, the model needs 2 at 8000 Hz"),
        (wav(mixture, rate=44100), "has 2 channels at 44100 Hz, the model needs 2 at 8000"),
        (wav(mixture, "PCM_24"), "wav with 24 bits of format 1"),
        (b"fLaC" + raw, "begins with b'fLaC': must be wav or raw 32-bit floats"),
        (np.full(64, np.nan, "<f4").tobytes(), "holds samples of nan: must be 32-bit floats"),
        ((1e4 * mixture).astype("<i2").tobytes(), "holds samples of .*: must be 32-bit floats"),
    ):
        with pytest.raises(UsageError, match=words):
            run(model, content)
    with pytest.raises(UsageError, match=r"DemucsLike cannot run live: lstm\.lstm"):
        run(DemucsLike(channels=2, depth=1), raw)


def test_the_command(model, mixture, tmp_path):
    path = tmp_path / "model.pth"
    torch.save(model.serialize(), path)
    command = [sys.executable, "-m", "asteroid_upsamplers.cli", "separate", str(path), "--stream"]
    done = subprocess.run(command, input=mixture.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    y = np.frombuffer(done.stdout, "<f4").reshape(-1, 4)
    np.testing.assert_allclose(y, expected(model, mixture), atol=1e-6)
    assert b"0.6 s of audio in" in done.stderr
    assert b"real-time factor" in done.stderr
