"""Recordings: tones, and signals that are odd."""

import io
import math

import matplotlib.image
import numpy as np
import pytest
import soundfile
import torch

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.probe import probe_recording, run_probe
from asteroid_upsamplers.probe.pictures import recording_pictures
from asteroid_upsamplers.probe.recording import probe_blocks
from asteroid_upsamplers.probe.recording_text import describe_recording
from asteroid_upsamplers.probe.reference import LOOK_ALIKE

RATE = 16000


def noise(time, seed=0):
    return torch.randn(2, time, generator=torch.Generator().manual_seed(seed)).double()


def tone(time, stride, amplitude):
    return amplitude * torch.sin(2 * math.pi * torch.arange(time).double() / stride + 0.5)


def test_a_tone_is_found_and_named():
    report = probe_recording(0.1 * noise(3 * RATE) + tone(3 * RATE, 8, 0.01), RATE, [2, 4, 8])
    found = dict(zip(report.tones.frequencies_hz, report.tones.present, strict=True))
    assert found == {2000: True, 4000: False, 6000: False, 8000: False}
    level = report.tones.levels_db[0]
    assert level == pytest.approx(20 * math.log10(0.01 / math.sqrt(2)), abs=1)
    assert report.remarks == [LOOK_ALIKE]


ODD = {
    "every sample is 0": torch.zeros(1, RATE),
    "a constant": torch.full((1, RATE), 0.5),
    "unknown whether there are tones: 20 samples": noise(20),
    "samples go up to 9, above 1: no clipping": torch.cat(
        [torch.full((2, 1), 9.0).double(), noise(RATE)], 1
    ),
    "samples at full scale": (3 * noise(RATE)).clamp(-1, 1),
    "shorter than a second": noise(1000),
}


@pytest.mark.parametrize("words", ODD)
def test_odd_recordings_are_answered(words):
    signal = ODD[words]
    report = probe_recording(signal, RATE)
    assert any(words in remark for remark in report.remarks)
    assert report.tones or words in describe_recording(report, "it").summary
    assert (report.tones is None) == (signal.shape[1] < 64 or not signal.std(1).any())
    assert not (report.tones and any(report.tones.present))


def test_a_long_recording_is_never_in_memory_as_a_whole():
    signal, longest = 0.1 * noise(3 * 2**18), []

    def read(start, stop):
        longest.append(stop - start)
        return signal[:, start:stop]

    report = probe_blocks(read, signal.shape[1], 2**18, [2])
    assert report == probe_recording(signal, 2**18, [2])
    assert max(longest) <= 2**18
    assert report.rms_db == pytest.approx(-20, abs=0.1)


def test_impossible_ones_are_refused():
    for signal, strides, words in (
        (torch.zeros(1, 0), [2], "must be"),
        (torch.full((1, 99), math.nan), [2], "infinities or NaN"),
        (torch.zeros(1, 99), [1], "must be at least 2"),
        (torch.randn(1, 99), [2, 33], "99 samples is too short for .* a stride above 24"),
    ):
        with pytest.raises(UsageError, match=words):
            probe_recording(signal, RATE, strides)


@pytest.mark.parametrize("channel", [0, 1])
def test_the_tone_at_half_the_rate_is_seen_in_the_picture(channel):
    signal = 1e-4 * noise(RATE)
    signal[channel] += tone(RATE, 2, 0.2)
    (spectrogram,) = recording_pictures(probe_recording(signal, RATE, [2]), signal)
    image = matplotlib.image.imread(io.BytesIO(spectrogram.png))
    height, width = image.shape[:2]
    red, green, blue = image[: height // 4, width // 2, :3].T
    bright = (red > 0.9) & (green > 0.7) & (blue < 0.9)  # the top of the colour map, not the page
    assert bright.any()
    assert (blue > red).any()  # and noise below it


def test_a_file_is_measured_to_the_end_that_decodes(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, 0.1 * noise(RATE).T.numpy(), RATE)
    path.write_bytes(2 * path.read_bytes())
    result = run_probe(str(path), strides=[2], page=tmp_path / "page.html")
    assert result.report.seconds == 2
    assert "of the first" not in (tmp_path / "page.html").read_text()
    soundfile.write(path, np.full(99, np.nan), RATE, subtype="FLOAT")
    with pytest.raises(UsageError, match=rf"^{path}: holds NaN or infinite samples$"):
        run_probe(str(path))
