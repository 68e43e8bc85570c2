"""Anybody's files: formats, rates, channels, lengths, order of sources, what is kept or refused."""

import json

import numpy as np
import pytest
import soundfile
import torch
from asteroid.models import BaseModel, ConvTasNet, register_model

from asteroid_upsamplers.cli import main
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.models import DemucsLike, UpsamplerConvTasNet, WaveUNet
from asteroid_upsamplers.separation import load_on_device, separate_files

RATE = 8000
SMALL = {"n_blocks": 2, "n_repeats": 1, "bn_chan": 4, "hid_chan": 5, "skip_chan": 3}


class LowAndHigh(BaseModel):
    """Two sources without names that add up to the mixture, in an order that chance gives."""

    def __init__(self, sample_rate=RATE, in_channels=1, fixed=False):
        super().__init__(sample_rate=sample_rate, in_channels=in_channels)
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.fixed = fixed
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, wav):
        smooth = torch.nn.functional.avg_pool1d(wav, 3, 1, 1)
        both = torch.stack([smooth, wav - smooth], 1) * self.weight
        for row in range(len(both)):
            if not self.fixed and torch.rand(1, generator=self.generator) < 0.5:
                both[row] = both[row].flip(0)
        return both if self.in_channels > 1 else both[:, :, 0]

    def get_model_args(self):
        return {"sample_rate": self.sample_rate, "in_channels": self.in_channels}


register_model(LowAndHigh)


def write(path, seconds=1.0, rate=RATE, channels=1, **more):
    """A hum and a hiss that differ from channel to channel."""
    rng = np.random.default_rng(0)
    frames = round(seconds * rate)
    hum = np.sin(2 * np.pi * 100 * np.arange(frames) / rate)[:, None] * np.linspace(
        1, 0.5, channels
    )
    samples = 0.3 * hum + 0.05 * rng.standard_normal((frames, channels))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **more)
    return path


def read(path):
    return soundfile.read(path, always_2d=True)


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.9, 1.0, 7.3])
def test_sources_keep_their_order_and_add_up(seconds, channels, tmp_path):
    """Whatever order the chunks and the channels come in; nothing is rescaled or lost."""
    path = write(tmp_path / "mix.wav", seconds, channels=channels, subtype="FLOAT")
    written = separate_files(LowAndHigh(), [path], chunk=1.0, progress=False)
    assert [p.name for p in written] == ["mix_est1.wav", "mix_est2.wav"]
    mixture, _ = read(path)
    first, second = (read(p)[0] for p in written)
    assert first.shape == mixture.shape
    assert soundfile.info(written[0]).subtype == "FLOAT"
    np.testing.assert_allclose(first + second, mixture, atol=1e-6)
    if seconds > 0.5:
        _loud, quiet = (first, second) if np.std(first) > np.std(second) else (second, first)
        np.testing.assert_allclose(quiet.std(0), quiet.std(0).mean(), rtol=0.1)
        part = len(quiet) // 4
        deviations = [quiet[i * part : (i + 1) * part].std() for i in range(4)]
        assert max(deviations) < 1.3 * min(deviations)


def test_a_short_file_is_what_the_model_gives(tmp_path):
    path = write(tmp_path / "mix.wav", 2.0, subtype="FLOAT")
    model = UpsamplerConvTasNet(2, **SMALL, upsampler="nearest").eval()
    separate_files(model, [path], tmp_path / "out", progress=False)
    with torch.no_grad():
        expected = model(torch.from_numpy(read(path)[0].T).float()[None])[0]
    for index in (0, 1):
        found = read(tmp_path / "out" / f"mix_est{index + 1}.wav")[0][:, 0]
        np.testing.assert_allclose(found, expected[index], atol=1e-6)


def test_music_in_stereo_by_the_sources_names(tmp_path):
    torch.manual_seed(0)
    model = DemucsLike(("low", "high"), channels=2, depth=2, sample_rate=RATE, normalize=True)
    model.eval()
    stereo = write(tmp_path / "stereo.flac", 3.0, channels=2)
    mono = write(tmp_path / "mono.wav", 1.0, subtype="FLOAT")
    written = separate_files(model, [stereo, mono], chunk=20.0, progress=False)
    assert [p.name for p in written] == [
        "stereo_low.wav",
        "stereo_high.wav",
        "mono_low.wav",
        "mono_high.wav",
    ]
    wav = torch.from_numpy(read(stereo)[0].T.copy()).float()
    expected = model.separate(wav)[1].T
    np.testing.assert_allclose(read(tmp_path / "stereo_high.wav")[0], expected, atol=1e-5)
    both = torch.from_numpy(read(mono)[0].T.copy()).float().expand(2, -1)
    expected = model.separate(both)[0].mean(0)
    np.testing.assert_allclose(read(tmp_path / "mono_low.wav")[0][:, 0], expected, atol=1e-5)


@pytest.mark.parametrize(("rate", "suffix"), [(44100, "wav"), (16000, "ogg"), (8000, "aiff")])
def test_other_rates_and_formats_come_back_as_they_were(rate, suffix, tmp_path):
    path = write(tmp_path / f"mix.{suffix}", 1.5, rate=rate, channels=2)
    written = separate_files(LowAndHigh(fixed=True), [path], chunk=0.7, progress=False)
    mixture, _ = read(path)
    total = sum(read(p)[0] for p in written)
    assert total.shape == mixture.shape
    assert all(soundfile.info(p).samplerate == rate for p in written)
    spectrum = (
        np.abs(np.fft.rfft(mixture[:, 0] - total[:, 0])) / np.abs(np.fft.rfft(mixture[:, 0])).max()
    )
    below = np.fft.rfftfreq(len(mixture), 1 / rate) < 3500
    assert spectrum[below].max() < 0.01


def test_what_exists_is_kept_unless_forced(tmp_path):
    path = write(tmp_path / "mix.wav")
    separate_files(LowAndHigh(), [path], progress=False)
    first, second = tmp_path / "mix_est1.wav", tmp_path / "mix_est2.wav"
    second.write_text("mine")
    first.unlink()
    assert separate_files(LowAndHigh(), [path], progress=False) == [first]
    assert second.read_text() == "mine"
    assert separate_files(LowAndHigh(), [path], progress=False) == []
    separate_files(LowAndHigh(), [path], force_overwrite=True, progress=False)
    assert soundfile.info(second).frames == RATE


def test_folders_are_searched_and_their_outputs_are_not_separated_again(tmp_path):
    for name in ("a.wav", "deep/b.FLAC"):
        write(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no audio")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "c.wav").write_text("no audio")
    written = separate_files(LowAndHigh(), [tmp_path], progress=False)
    assert sorted(str(p.relative_to(tmp_path)) for p in written) == [
        "a_est1.wav",
        "a_est2.wav",
        "deep/b_est1.wav",
        "deep/b_est2.wav",
    ]
    assert separate_files(LowAndHigh(), [tmp_path], progress=False) == []
    assert not list(tmp_path.rglob("*partial*"))


def test_a_bad_file_is_named_and_the_others_are_separated(tmp_path, caplog):
    good = write(tmp_path / "good.wav")
    (tmp_path / "bad.wav").write_text("no audio")
    soundfile.write(tmp_path / "nan.wav", np.full((RATE, 1), np.nan), RATE, subtype="FLOAT")
    names = [tmp_path / "bad.wav", good, tmp_path / "nan.wav"]
    with pytest.raises(UsageError, match="2 of 3 files could not be separated"):
        separate_files(LowAndHigh(), names, progress=False)
    assert "bad.wav: not readable as audio" in caplog.text
    assert "nan.wav: holds NaN or infinite samples" in caplog.text
    assert (tmp_path / "good_est2.wav").exists()
    assert sorted(p.name for p in tmp_path.glob("*_est*")) == ["good_est1.wav", "good_est2.wav"]
    assert not list(tmp_path.glob(".*"))


def test_impossible_requests_are_refused(tmp_path):
    a, b = write(tmp_path / "a" / "x.wav"), write(tmp_path / "b" / "x.wav")
    (tmp_path / "empty").mkdir()
    cases = [
        ({"paths": [a, b], "output_dir": tmp_path}, "would both write"),
        ({"paths": [tmp_path / "none.wav"]}, "none.wav: no such file"),
        ({"paths": [tmp_path / "empty"]}, "no audio files in this folder"),
        ({"paths": [a], "overlap": 0.9}, "allowed is a chunk above 0 and an overlap from 0 to 0.5"),
        ({"paths": [a], "chunk": 0}, "allowed is a chunk above 0"),
        ({"paths": [a], "batch": 0}, "batch is 0, allowed is 1 and up"),
    ]
    for arguments, words in cases:
        with pytest.raises(UsageError, match=words):
            separate_files(LowAndHigh(), **arguments, progress=False)
    with pytest.raises(UsageError, match="LowAndHigh states no sample rate"):
        separate_files(LowAndHigh(sample_rate=None), [a], progress=False)


def test_channels_that_do_not_fit_are_refused(tmp_path, caplog):
    path = write(tmp_path / "six.wav", channels=6)
    with pytest.raises(UsageError, match="1 of 1"):
        separate_files(LowAndHigh(in_channels=2), [path], progress=False)
    assert "six.wav: 6 channels, the model separates 2; allowed are 2 or 1" in caplog.text


def test_out_of_memory_names_the_settings_to_lower(tmp_path, caplog):
    class Large(LowAndHigh):
        def forward(self, wav):
            if len(wav) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory.\nGPU 0 has")
            return super().forward(wav)

    path = write(tmp_path / "mix.wav", 4.0)
    with pytest.raises(UsageError, match="1 of 1"):
        separate_files(Large(), [path], chunk=0.5, batch=3, progress=False)
    expected = "out of memory: lower batch (3 chunks) or chunk (0.5 s)"
    assert f"mix.wav: the device is {expected}" in caplog.text
    assert [p.name for p in tmp_path.iterdir()] == ["mix.wav"]
    assert len(separate_files(Large(), [path], chunk=0.5, batch=2, progress=False)) == 2


def test_the_command(tmp_path, capsys):
    """A file of Asteroid's, separated from the command line; wrong use is one line and status 2."""
    torch.save(ConvTasNet(2, **SMALL).serialize(), tmp_path / "best_model.pth")
    path = write(tmp_path / "it's a mix.wav")
    main(["separate", str(tmp_path / "best_model.pth"), str(path), "--json"])
    written = json.loads(capsys.readouterr().out)
    assert [p.split("/")[-1] for p in written] == ["it's a mix_est1.wav", "it's a mix_est2.wav"]
    for arguments in (
        [str(path), str(path)],
        [str(tmp_path / "best_model.pth"), str(tmp_path / "none.wav")],
        [str(tmp_path / "best_model.pth"), str(path), "-d", "nonsense"],
        [str(tmp_path / "best_model.pth"), str(path), "--batch", "0"],
    ):
        with pytest.raises(SystemExit) as stop:
            main(["separate", *arguments])
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("error: ")


def test_device(tmp_path):
    torch.save(ConvTasNet(2, **SMALL).serialize(), tmp_path / "m.pth")
    assert next(load_on_device(tmp_path / "m.pth", "cpu").parameters()).device.type == "cpu"


@pytest.mark.parametrize("shifts", [0, 2])
def test_a_music_model_for_one_channel_separates_each(tmp_path, shifts):
    torch.manual_seed(0)
    settings = {"channels": 2, "depth": 2, "sample_rate": RATE}
    model = DemucsLike(("low", "high"), audio_channels=1, **settings).eval()
    path = write(tmp_path / "stereo.wav", 1.0, channels=2, subtype="FLOAT")
    separate_files(model, [path], chunk=20.0, progress=False, shifts=shifts)
    wav = torch.from_numpy(read(path)[0].T.copy()).float()[:, None]
    expected = model.separate(wav, shifts=shifts)
    for index, name in enumerate(("low", "high")):
        estimate = read(tmp_path / f"stereo_{name}.wav")[0]
        np.testing.assert_allclose(estimate.T, expected[:, index, 0], atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2])
def test_shifts_do_not_mix_sources_that_come_in_any_order(tmp_path, channels):
    path = write(tmp_path / "mix.wav", 3.0, channels=channels, subtype="FLOAT")
    for fixed in (True, False):
        model, folder = LowAndHigh(fixed=fixed), tmp_path / str(fixed)
        separate_files(model, [path], folder, chunk=1.0, shifts=4, progress=False)
    wanted, found = (
        [read(tmp_path / str(fixed) / f"mix_est{i}.wav")[0] for i in (1, 2)]
        for fixed in (True, False)
    )
    if np.abs(found[0] - wanted[0]).max() > np.abs(found[0] - wanted[1]).max():
        found.reverse()  # which of them is the first is the model's whim
    np.testing.assert_allclose(found, wanted, atol=1e-5)


MODELS = {  # Of whom batches of chunks are asked: how to build, and the channels that one takes.
    "music": (lambda **more: DemucsLike(("low", "high"), channels=2, depth=2, **more), 2),
    "music, normalised": (
        lambda **more: DemucsLike(("low", "high"), channels=2, depth=2, normalize=True, **more),
        2,
    ),
    "music, one channel": (
        lambda **more: DemucsLike(
            ("low", "high"), channels=2, depth=2, audio_channels=1, normalize=True, **more
        ),
        1,
    ),
    "music, with context": (lambda **more: WaveUNet(("low", "high"), depth=3, **more), 2),
    "sources in any order": (LowAndHigh, 1),
    "sources in any order, two channels": (lambda **more: LowAndHigh(in_channels=2, **more), 2),
}


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("shifts", [0, 2])
@pytest.mark.parametrize("kind", MODELS)
def test_chunks_in_batches_give_what_they_give_one_by_one(tmp_path, kind, shifts, channels):
    build, wanted = MODELS[kind]
    path = write(tmp_path / "mix.wav", 2.6, channels=channels, subtype="FLOAT")
    estimates = {}
    for batch in (1, 2, 3, 7):
        torch.manual_seed(0)
        model, sizes = build(sample_rate=RATE), []
        model.register_forward_pre_hook(lambda _, inputs, sizes=sizes: sizes.append(len(inputs[0])))
        settings = {"chunk": 0.4, "shifts": shifts, "batch": batch, "progress": False}
        written = separate_files(model, [path], tmp_path / str(batch), **settings)
        estimates[batch] = np.stack([read(p)[0] for p in written])
        if isinstance(model, DemucsLike):  # 2.6 s are 8 chunks of 0.4 s, and a shorter one
            rows = channels if wanted == 1 else 1
            assert max(sizes) == batch * rows
            assert sum(sizes) == 9 * rows * max(1, shifts)
    for batch in (2, 3, 7):
        found = estimates[batch]
        if "any order" in kind and abs(found - estimates[1]).max() > 0.01:
            found = found[::-1]  # which of them is the first is the model's whim
        np.testing.assert_allclose(found, estimates[1], atol=1e-5)
