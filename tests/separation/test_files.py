"""Anybody's files: formats, rates, channels, lengths, order of sources, what is kept or refused."""

import errno
import re
import subprocess

import julius
import numpy as np
import pytest
import soundfile
import torch
from asteroid.models import BaseModel

from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models import DemucsLike, MusicSeparator, UpsamplerConvTasNet, WaveUNet
from asteroid_upsamplers.separation import Chunking, load_on_device, separate_file, separate_files

RATE = 8000
SHARES = (1.0, -0.5)


class Shares(MusicSeparator):
    """Gives each source a constant share of the mixture, and remembers what it was given."""

    def __init__(self, rate=RATE, normalize=False, channels=2):
        super().__init__(("low", "high"), channels, rate, normalize)
        self.shares = torch.nn.Parameter(torch.tensor(SHARES))
        self.shapes, self.levels = [], []

    def forward(self, wav):
        self.shapes.append(wav.shape)
        self.levels.append(wav.mean(1).std().item())
        return self.shares[None, :, None, None] * wav[:, None]


class AnyOrder(BaseModel):
    """Two sources without names that add up to the mixture, in an order that chance gives."""

    def __init__(self, sample_rate=RATE, in_channels=1, fixed=False):
        super().__init__(sample_rate=sample_rate, in_channels=in_channels)
        self.weight, self.fixed = torch.nn.Parameter(torch.ones(1)), fixed
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, wav):
        smooth = torch.nn.functional.avg_pool1d(wav, 3, 1, 1)
        both = torch.stack([smooth, wav - smooth], 1) * self.weight
        for row in range(len(both)):
            if not self.fixed and torch.rand(1, generator=self.generator) < 0.5:
                both[row] = both[row].flip(0)
        return both if self.in_channels > 1 else both[:, :, 0]


def write(path, seconds=1.0, rate=RATE, channels=1, **more):
    """A hum and a hiss, the hum weaker from channel to channel."""
    rng = np.random.default_rng(0)
    hum = np.sin(2 * np.pi * 100 * np.arange(round(seconds * rate)) / rate)[:, None]
    samples = 0.3 * hum * np.linspace(1, 0.5, channels)
    path.parent.mkdir(parents=True, exist_ok=True)
    more = {"subtype": "FLOAT"} | more if path.suffix == ".wav" else more
    soundfile.write(path, samples + 0.05 * rng.standard_normal(samples.shape), rate, **more)
    return path


def read(path):
    """``(channels, time)``."""
    return soundfile.read(path, always_2d=True, dtype="float32")[0].T


@pytest.mark.parametrize("normalize", [False, True])
def test_estimates_are_the_networks_at_the_mixtures_level(tmp_path, normalize):
    path, model = write(tmp_path / "mix.wav", 2.6, channels=2), Shares(normalize=normalize)
    written = separate_files(model, [path], tmp_path / "out", chunk=0.4, progress=False)
    assert [p.name for p in written] == ["mix_low.wav", "mix_high.wav"]
    assert max(shape[-1] for shape in model.shapes) == 0.4 * RATE
    for output, share in zip(written, SHARES, strict=True):
        info = soundfile.info(output)
        assert (info.subtype, info.samplerate, info.channels) == ("FLOAT", RATE, 2)
        np.testing.assert_allclose(read(output), share * read(path), atol=1e-6)
    if normalize:
        assert np.median(model.levels) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(("seconds", "channels"), [(0.001, 2), (3.3, 1), (3.3, 5)])
def test_sources_keep_their_order_and_add_up(seconds, channels, tmp_path):
    """Whatever order the chunks, the channels and the shifts come in; nothing is lost."""
    path, estimates = write(tmp_path / "mix.wav", seconds, channels=channels), []
    for fixed in (True, False):
        written = separate_files(
            AnyOrder(fixed=fixed),
            [path],
            tmp_path / f"{fixed}",
            chunk=1.0,
            progress=False,
            shifts=2,
        )
        assert [p.name for p in written] == ["mix_est1.wav", "mix_est2.wav"]
        estimates.append(np.stack([read(p) for p in written]))
    wanted, found = estimates
    np.testing.assert_allclose(wanted.sum(0), read(path), atol=1e-6)
    if seconds and abs(found - wanted).max() > abs(found[::-1] - wanted).max():
        found = found[::-1]  # which of them is the first is the model's whim
    np.testing.assert_allclose(found, wanted, atol=1e-5)


MODELS = {  # how to build one
    "normalised": lambda: DemucsLike(
        ("low", "high"), channels=2, depth=2, normalize=True, sample_rate=RATE
    ),
    "one channel": lambda: DemucsLike(
        ("low", "high"), channels=2, depth=2, audio_channels=1, sample_rate=RATE
    ),
    "with context": lambda: WaveUNet(("low", "high"), depth=3, channels=3, sample_rate=RATE),
    "of Asteroid": lambda: UpsamplerConvTasNet(
        2, n_blocks=2, n_repeats=1, bn_chan=4, hid_chan=5, skip_chan=3, upsampler="nearest"
    ),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_file_gives_what_the_model_gives_and_batches_give_the_same(tmp_path, kind):
    torch.manual_seed(0)
    model = MODELS[kind]().eval()
    path = write(tmp_path / "mix.wav", 10405 / RATE, channels=2)  # 5 + 8 k: fits WaveUNet's levels
    mixture = torch.from_numpy(read(path))
    each_channel = model.in_channels in (1, None)
    with torch.no_grad():
        expected = model.forward_wav(mixture[:, None] if each_channel else mixture[None])
    if each_channel:  # the channels are a batch
        expected = expected.reshape(2, 2, -1).transpose(0, 1)[None]
    whole = separate_files(model, [path], tmp_path / "whole", chunk=20.0, progress=False)
    for output, estimate in zip(whole, expected[0], strict=True):
        np.testing.assert_allclose(read(output), estimate, atol=1e-5)
    settings = {"chunk": 0.3, "shifts": 2, "progress": False}
    one, three = (
        separate_files(model, [path], tmp_path / f"{batch}", batch=batch, **settings)
        for batch in (1, 3)
    )
    for output, other in zip(one, three, strict=True):
        np.testing.assert_allclose(read(other), read(output), atol=1e-5)


def test_a_mono_file_for_a_stereo_model(tmp_path):
    torch.manual_seed(0)
    model = DemucsLike(("low", "high"), channels=2, depth=2, sample_rate=RATE).eval()
    path = write(tmp_path / "mono.wav")
    written = separate_files(model, [path], progress=False)
    expected = model.separate(torch.from_numpy(read(path)).expand(2, -1)).mean(1)
    for output, estimate in zip(written, expected, strict=True):
        np.testing.assert_allclose(read(output)[0], estimate, atol=1e-5)


def test_a_file_of_another_rate_comes_back_at_its_own(tmp_path):
    path, model = write(tmp_path / "mix.flac", 2.0, rate=11025, channels=2), Shares()
    written = separate_files(model, [path], chunk=0.7, progress=False)
    mixture = torch.from_numpy(read(path))
    there = julius.resample_frac(mixture, 11025, RATE)
    back = julius.resample_frac(there, RATE, 11025, output_length=mixture.shape[-1])
    assert soundfile.info(written[0]).samplerate == 11025
    np.testing.assert_allclose(read(written[0]), back, atol=1e-5)


def test_a_format_that_ffmpeg_reads(tmp_path):
    """Against ffmpeg's own decoding of it."""

    def ffmpeg(source, *target):
        subprocess.run(["ffmpeg", "-v", "error", "-i", source, *target], check=True)

    coded, decoded = tmp_path / "in" / "it's a mix.m4a", tmp_path / "decoded.wav"
    coded.parent.mkdir()
    ffmpeg(write(tmp_path / "mix.wav", rate=44100, channels=2), coded)
    ffmpeg(coded, "-c:a", "pcm_f32le", decoded)
    written = separate_files(Shares(rate=44100), [coded.parent], progress=False)
    assert [p.name for p in written] == ["it's a mix_low.wav", "it's a mix_high.wav"]
    for output, share in zip(written, SHARES, strict=True):
        np.testing.assert_allclose(read(output), share * read(decoded), atol=1e-6)
    assert len(list(coded.parent.iterdir())) == 3


def test_a_model_separates_a_path_in_one_piece(tmp_path):
    """``separate(path)`` is Asteroid's ``file_separate``, with its arguments."""
    torch.manual_seed(0)
    model = DemucsLike(("low", "high"), channels=2, depth=2, sample_rate=RATE, normalize=True)
    model.eval()
    path = write(tmp_path / "mix.wav", 1.3, channels=2)
    model.separate(str(path), output_dir=str(tmp_path / "out"), shifts=2, seed=5)
    expected = model.separate(torch.from_numpy(read(path)), shifts=2, seed=5)
    first = tmp_path / "out" / "mix_low.wav"
    np.testing.assert_allclose(read(first), expected[0], atol=1e-5)
    first.write_text("mine")
    model.separate(path, output_dir=tmp_path / "out")
    assert first.read_text() == "mine"
    model.separate(path, output_dir=tmp_path / "out", force_overwrite=True)
    assert soundfile.info(first).frames == 1.3 * RATE
    other = write(tmp_path / "other.wav", rate=16000, channels=2)
    with pytest.raises(UsageError, match=r"other\.wav: 16000 Hz, the model needs 8000 Hz"):
        model.separate(other)
    model.separate(other, resample=True)
    assert soundfile.info(tmp_path / "other_high.wav").samplerate == 16000


def test_what_exists_is_kept_unless_forced(tmp_path):
    path = write(tmp_path / "mix.wav")
    first, second = separate_files(AnyOrder(), [path], progress=False)
    second.write_text("mine")
    first.unlink()
    assert separate_files(AnyOrder(), [path], progress=False) == [first]
    assert second.read_text() == "mine"
    assert separate_files(AnyOrder(), [path], progress=False) == []
    separate_files(AnyOrder(), [path], force_overwrite=True, progress=False)
    assert soundfile.info(second).frames == RATE


def test_folders_are_searched_and_their_outputs_are_not_separated_again(tmp_path):
    write(tmp_path / "a.wav"), write(tmp_path / "deep" / "b.FLAC", format="FLAC")
    (tmp_path / "notes.txt").write_text("no audio")
    write(tmp_path / ".hidden" / "c.wav")
    written = separate_files(AnyOrder(), [tmp_path], progress=False)
    names = ["a_est1.wav", "a_est2.wav", "deep/b_est1.wav", "deep/b_est2.wav"]
    assert [str(p.relative_to(tmp_path)) for p in written] == names
    assert separate_files(AnyOrder(), [tmp_path], progress=False) == []


def fails(error, level=0.25):
    """A model that raises an error, or gives NaN, for loud files."""

    class Fails(AnyOrder):
        def forward(self, wav):
            if wav.std() < level:
                return super().forward(wav)
            if error is None:
                return super().forward(wav) * torch.nan
            raise error

    return Fails()


def test_a_bad_file_is_named_and_the_others_are_separated(tmp_path, caplog):
    good = write(tmp_path / "good.wav")
    (tmp_path / "bad.wav").write_text("no audio")
    soundfile.write(tmp_path / "nan.wav", np.full((RATE, 1), np.nan), RATE, subtype="FLOAT")
    write(tmp_path / ("ä" * 124 + ".wav"))
    (tmp_path / "link.wav").symlink_to("nowhere")
    (tmp_path / "empty").mkdir()
    names = [tmp_path / "missing.wav", tmp_path / "empty", tmp_path]
    with pytest.raises(UsageError, match="6 of 7 files could not be separated"):
        separate_files(AnyOrder(), names, progress=False)
    assert "bad.wav: not readable as audio" in caplog.text
    assert "nan.wav: holds NaN or infinite samples" in caplog.text
    assert "ä.wav: File name too long" in caplog.text
    assert "link.wav: no such file" in caplog.text
    assert "missing.wav: no such file" in caplog.text
    assert "empty: no audio files in this folder" in caplog.text
    assert sorted(p.name for p in tmp_path.glob("*_est*")) == ["good_est1.wav", "good_est2.wav"]
    assert good.exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, "the model gives NaN or infinite samples; nothing was written"),
        (MemoryError(), "the device is out of memory: lower batch"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (
            RuntimeError("sizes differ:\n3, 4"),
            r"RuntimeError: sizes differ: 3, 4 \(.*, line \d+\)",
        ),
    ],
)
def test_what_fails_on_one_file_does_not_end_a_batch(tmp_path, caplog, error, words):
    soft, loud = write(tmp_path / "b.wav"), tmp_path / "a.wav"
    soundfile.write(loud, 5 * read(soft).T, RATE, subtype="FLOAT")
    with pytest.raises(UsageError, match="1 of 2 files could not be separated"):
        separate_files(fails(error), [loud, soft], progress=False)
    assert re.search(f"{loud}: {words}", caplog.text)
    assert sorted(p.name for p in tmp_path.glob("*_est*")) == ["b_est1.wav", "b_est2.wav"]
    assert not list(tmp_path.glob(".*"))
    with pytest.raises((UsageError, OSError), match=words):
        separate_files(fails(error), [loud], progress=False)


def test_a_decoded_file_is_named_as_the_user_does(tmp_path):
    path = tmp_path / "a.caf"
    samples = np.where(np.arange(20000) == 9, np.nan, 0.1)
    soundfile.write(path, samples, 11025, subtype="FLOAT")
    with pytest.raises(UsageError, match=rf"^{path}: holds NaN or infinite samples$"):
        separate_files(AnyOrder(), [path], progress=False)


def test_two_sources_of_two_files_may_have_one_name(tmp_path):
    paths = [write(tmp_path / "a.wav"), write(tmp_path / "a_b.wav")]
    model = Shares()
    model.sources = ("b_c", "c")
    with pytest.raises(UsageError, match=r"a\.wav and .*a_b\.wav would both write .*a_b_c\.wav"):
        separate_files(model, paths, progress=False)
    again = [paths[0], tmp_path / "x" / ".." / "a.wav"]
    assert len(separate_files(model, again, progress=False)) == 2


@pytest.mark.parametrize("device", ["cuda:99", "nonsense", "meta", ""])
def test_a_device_that_is_not_to_be_had_is_refused(device, tmp_path):
    with pytest.raises(UsageError, match=f"device '{device}' is not to be had here: ") as caught:
        load_on_device(tmp_path / "model.pth", device)
    assert "\n" not in str(caught.value)


def test_impossible_requests_are_refused(tmp_path):
    a, b = write(tmp_path / "a" / "x.wav"), write(tmp_path / "b" / "x.wav")
    six, low = write(tmp_path / "six.wav", channels=6), write(tmp_path / "a" / "x_low.wav")
    (tmp_path / "empty").mkdir()
    path_of_a_source = Shares()
    path_of_a_source.sources = ("../low", "high")
    cases = [
        (AnyOrder(), {"paths": [a, b], "output_dir": tmp_path}, "would both write"),
        (Shares(), {"paths": [a, low]}, r"x_low\.wav is to be separated, and is where a source of"),
        (AnyOrder(), {"paths": [tmp_path / "none.wav"]}, "none.wav: no such file"),
        (AnyOrder(), {"paths": [tmp_path / "empty"]}, "no audio files in this folder"),
        (AnyOrder(), {"paths": [a], "overlap": 0.9}, "overlap is 0.9, must be between 0 and 0.5"),
        (AnyOrder(), {"paths": [a], "chunk": 0}, "chunk is 0 s, must be at least 0.05 s"),
        (AnyOrder(), {"paths": [a], "shifts": -1}, "shifts is -1, must be an integer of at least"),
        (AnyOrder(), {"paths": [a], "batch": 0}, "batch is 0, must be an integer of at least 1"),
        (AnyOrder(sample_rate=None), {"paths": [a]}, "AnyOrder states no sample rate"),
        (Shares(), {"paths": [six]}, "six.wav: 6 channels, must be 1 or 2"),
        (path_of_a_source, {"paths": [a]}, "sources: '../low' cannot be part of a file name"),
    ]
    for model, arguments, words in cases:
        with pytest.raises(UsageError, match=words):
            separate_files(model, **arguments, progress=False)


def test_out_of_memory_names_the_settings_to_lower(tmp_path):
    class Large(AnyOrder):
        def forward(self, wav):
            if len(wav) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory.\nGPU 0 has")
            return super().forward(wav)

    path, outputs = write(tmp_path / "mix.wav", 4.0), [tmp_path / "1.wav", tmp_path / "2.wav"]
    words = r"mix\.wav: the device is out of memory: lower batch \(3 chunks\) or chunk \(0\.5 s\)"
    with pytest.raises(UsageError, match=words):
        separate_file(Large(), path, outputs, Chunking(0.5, batch=3))
    assert [p.name for p in tmp_path.iterdir()] == ["mix.wav"]
    assert separate_file(Large(), path, outputs, Chunking(0.5, batch=2)) == outputs
