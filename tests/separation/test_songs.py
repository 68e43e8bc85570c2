"""Whole songs: what is written is what the network gives, at the mixture's level, in chunks."""

import errno
import json
import os

import julius
import numpy as np
import pytest
import soundfile
import torch

from asteroid_upsamplers import evaluation
from asteroid_upsamplers.data import SOURCES, find_songs
from asteroid_upsamplers.dsp import mono_level
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.evaluation.evaluate import ESTIMATES, SCORES
from asteroid_upsamplers.models import DemucsLike, MusicSeparator, WaveUNet
from asteroid_upsamplers.separation import Chunking, overlap_add, separate_songs
from asteroid_upsamplers.training import save_config
from tests.conftest import RATE, write_song
from tests.training.test_fit import conf  # noqa: F401  (a fixture)


class Halves(MusicSeparator):
    """Gives each source a constant share of the mixture, whatever the chunk."""

    def __init__(self, normalize=False):
        super().__init__(SOURCES, 2, RATE, normalize)
        self.shares = torch.nn.Parameter(torch.tensor([1.0, -0.5, 0.25, 0.0]))
        self.longest, self.levels = 0, []

    def forward(self, wav):
        self.longest = max(self.longest, wav.shape[-1])
        self.levels.append(wav.mean(1).std().item())
        return self.shares[None, :, None, None] * wav[:, None]


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("chunk", "overlap"), [(10.0, 0.25), (0.3, 0.25), (0.3, 0.0), (0.1, 0.5)])
def test_estimates_are_the_networks_at_the_mixtures_level(
    song_set, tmp_path, normalize, chunk, overlap
):
    songs, model = find_songs(song_set, "test", RATE), Halves(normalize)
    separate_songs(model, songs, tmp_path / "out", Chunking(chunk, overlap), progress=False)
    assert model.longest <= chunk * RATE
    for song in songs:
        mixture, _ = soundfile.read(song.path("mixture"), dtype="float32")
        for source, share in zip(SOURCES, (1.0, -0.5, 0.25, 0.0), strict=True):
            path = tmp_path / "out" / song.name / f"{source}.wav"
            info = soundfile.info(path)
            assert (info.subtype, info.samplerate, info.channels) == ("FLOAT", RATE, 2)
            estimate, _ = soundfile.read(path, dtype="float32")
            np.testing.assert_allclose(estimate, share * mixture, atol=1e-6)
    if normalize:
        assert np.median(model.levels) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(("chunk", "overlap"), [(10.0, 0.25), (0.4, 0.0), (0.3, 0.25)])
def test_a_network_without_padding_sees_the_song_around_a_chunk(song_set, tmp_path, chunk, overlap):
    """Chunks begin at even samples, on which its levels fall, so that they leave no trace."""
    torch.manual_seed(0)
    model = WaveUNet(depth=1, channels=2, sample_rate=RATE).eval()
    (song, *_) = find_songs(song_set, "test", RATE)
    separate_songs(model, [song], tmp_path, Chunking(chunk, overlap), progress=False)
    with torch.no_grad():
        expected = model(song.read(("mixture",)))[0]
    for source, wanted in zip(SOURCES, expected, strict=True):
        estimate, _ = soundfile.read(tmp_path / song.name / f"{source}.wav", dtype="float32")
        np.testing.assert_allclose(estimate.T, wanted, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("context", [True, False])
def test_inside_chunks_estimates_are_those_of_the_whole_song(context, batch):
    """With context everywhere; without it, farther from the ends of a chunk than a network sees.

    Chunks begin where its levels fall. Of the package's networks only this one sees so little.
    """
    torch.manual_seed(0)
    depth, step, chunk, overlap = 3, 8, 800, 160
    model = WaveUNet(depth=depth, channels=3, context=context).eval()
    sees = WaveUNet(depth=depth, channels=1).margin // 2 + step
    total = 3000 + 5 * context  # fits the levels
    assert model.valid_length(total) == total + model.margin
    x = 0.3 * torch.randn(2, total)
    with torch.no_grad():
        whole = model(x[None])[0]
        chunked = overlap_add(
            model.forward_with_context, x, chunk, overlap, model.needed_context, batch
        )
    difference = (chunked - whole).abs().amax((0, 1))
    starts = range(chunk - overlap, total - overlap, chunk - overlap)
    inside = torch.ones(total, dtype=torch.bool)
    if not context:
        for start in starts:
            inside[start : start + sees] = False
            inside[start + overlap - sees : start + overlap] = False
        assert inside.sum() > total / 3
        assert difference[~inside].max() > 1e-3
    assert difference[inside].max() < 1e-5


def test_shifts_of_a_network_that_moves_with_the_signal_change_nothing(song_set, tmp_path):
    songs = find_songs(song_set, "test", RATE)[:1]
    for shifts in (0, 2):
        chunking = Chunking(0.3, 0.25, shifts)
        pace = separate_songs(Halves(), songs, tmp_path / f"{shifts}", chunking, progress=False)
        assert pace.audio_seconds == 2
    paths = [tmp_path / shifts / "test 0" / "bass.wav" for shifts in ("0", "2")]
    plain, shifted = (soundfile.read(path, dtype="float32")[0] for path in paths)
    np.testing.assert_allclose(shifted, plain, atol=1e-6)


def test_shifts_average_a_tone_away_that_does_not_move_with_the_song(song_set, tmp_path):
    class Hums(Halves):
        def forward(self, wav):
            return super().forward(wav) + 0.1 * (torch.arange(wav.shape[-1]) % 4 == 0)

    songs, left = find_songs(song_set, "test", RATE)[:1], {}
    mixture, _ = soundfile.read(songs[0].path("mixture"), dtype="float32")
    for shifts in (0, 64):
        folder = tmp_path / str(shifts)
        separate_songs(Hums(), songs, folder, Chunking(1.0, 0.25, shifts), progress=False)
        estimate, _ = soundfile.read(folder / "test 0" / "drums.wav", dtype="float32")
        left[shifts] = (estimate - mixture).std()
    assert left[0] == pytest.approx(0.043, rel=0.1)
    assert left[64] < left[0] / 3


def test_the_shift_trick_of_demucs():
    """The mean over delays of up to half a second, of the network for the delayed signal."""
    torch.manual_seed(0)
    model = DemucsLike(channels=4, depth=3, sample_rate=1000).eval()
    wav, longest = torch.randn(2, 2, 700), 500
    generator = torch.Generator().manual_seed(5)
    delays = torch.randint(longest + 1, (4,), generator=generator).tolist()
    with torch.no_grad():
        answers = [
            model(torch.nn.functional.pad(wav, (d, longest - d)))[..., d : d + 700] for d in delays
        ]
    expected = torch.stack(answers).mean(0)
    torch.testing.assert_close(model.separate(wav, shifts=4, seed=5), expected)
    assert not torch.allclose(model.separate(wav), expected, atol=1e-4)
    assert torch.equal(model.separate(wav, shifts=4), model.separate(wav, shifts=4))


@pytest.mark.parametrize("rate", [4000, 11025])
def test_a_model_of_another_rate_gives_estimates_at_the_songs(song_set, tmp_path, rate):
    """What is below both models' band comes back as it was."""
    (song, *_) = find_songs(song_set, "test", RATE)
    model = Halves()
    model.sample_rate = rate
    separate_songs(model, [song], tmp_path, progress=False)
    mixture = song.read(("mixture",))[0]
    assert model.longest == -(-song.frames * rate // RATE)
    there = julius.resample_frac(mixture, RATE, rate)
    expected = julius.resample_frac(there, rate, RATE, output_length=song.frames)
    path = tmp_path / song.name / "drums.wav"
    assert soundfile.info(path).samplerate == RATE
    estimate, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(estimate.T, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"chunk": 0}, "chunk 0 s and overlap 0.25: allowed is a chunk above 0"),
        ({"overlap": 0.6}, "an overlap from 0 to 0.5"),
        ({"shifts": -1}, "shifts is -1, allowed is 0 and up"),
        ({"batch": 0}, "batch is 0, allowed is 1 and up"),
    ],
    ids=str,
)
def test_impossible_chunking_is_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        Chunking(**settings)


def test_separate_undoes_its_normalisation():
    torch.manual_seed(0)
    plain = DemucsLike(channels=4, depth=3).eval()
    normalizing = DemucsLike(channels=4, depth=3, normalize=True).eval()
    normalizing.load_state_dict(plain.state_dict())
    wav = 0.01 * torch.randn(2, 2, 3000)
    levels = torch.tensor([mono_level([signal]) for signal in wav])
    with torch.no_grad():
        expected = plain(wav / levels[:, None, None]) * levels[:, None, None, None]
    torch.testing.assert_close(normalizing.separate(wav), expected)
    torch.testing.assert_close(normalizing.separate(10 * wav), 10 * expected)
    assert torch.equal(normalizing(wav), plain(wav))
    assert torch.isfinite(normalizing.separate(torch.zeros(1, 2, 3000))).all()


def test_the_level_of_a_song_is_numpys(song_set):
    song = find_songs(song_set, "test", RATE)[0]
    mixture, _ = soundfile.read(song.path("mixture"))
    expected = mixture.mean(1).std()
    assert song.level(("mixture",)) == pytest.approx(expected, rel=1e-5)
    assert song.level(("mixture",), block=1000) == pytest.approx(expected, rel=1e-5)
    assert mono_level([torch.zeros(2, 100)]) == 1e-4


def test_whole_songs_are_kept_and_broken_ones_made_anew(song_set, tmp_path):
    songs = find_songs(song_set, "test", RATE)

    class Breaks(Halves):
        def forward(self, wav):
            if self.levels:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().forward(wav)

    with pytest.raises(OSError, match="No space"):
        separate_songs(Breaks(), songs, tmp_path, Chunking(3.0), progress=False)
    assert [p.name for p in tmp_path.iterdir() if p.name != "set"] == ["test 0"]
    before = (tmp_path / "test 0" / "bass.wav").stat().st_mtime_ns
    separate_songs(Halves(), songs, tmp_path, Chunking(3.0), progress=False)
    assert (tmp_path / "test 0" / "bass.wav").stat().st_mtime_ns == before
    assert len(list((tmp_path / "test 1").iterdir())) == 4


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_said(tmp_path, monkeypatch):
    import shutil
    from types import SimpleNamespace

    from asteroid_upsamplers.data import audio

    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(OSError, match="No space left") as caught:
        audio.write_wav(tmp_path.__class__("/dev/full"), np.zeros((9999, 2)), RATE, "FLOAT")
    assert caught.value.errno == errno.ENOSPC


@pytest.fixture
def experiment(conf, tmp_path):  # noqa: F811
    """A folder that looks trained."""
    exp_dir = tmp_path / "exp" / "nearest"
    save_config(conf, exp_dir)
    torch.manual_seed(0)
    model = DemucsLike(channels=4, depth=3, sample_rate=RATE, normalize=True)
    torch.save(model.serialize(), exp_dir / "best_model.pth")
    return exp_dir


def test_from_a_model_to_scores(experiment, song_set):
    silent = np.zeros((2 * RATE, 2), np.float32)
    write_song(song_set / "test" / "a silent stem", drums=silent)
    stems = dict.fromkeys((*SOURCES, "mixture"), silent)
    write_song(song_set / "test" / "all silent", **stems)
    evaluation.separate_experiments([experiment], progress=False)
    evaluation.score_experiments([experiment], workers=2, progress=False)
    for folder in (experiment, experiment.parent / evaluation.BASELINE):
        names = [p.name for p in sorted((folder / SCORES).iterdir())]
        songs = ["a silent stem", "all silent", "test 0", "test 1"]
        assert names == [f"{song}.json" for song in songs]
        table = evaluation.aggregate(evaluation.load_scores(folder / "scores"))
        assert table.loc["drums", "songs"] == 2
        assert table.loc["bass", "songs"] == 3
        assert table.loc["drums", "songs_total"] == 4
        assert table.loc["drums", "nan_frames"] == 4

    def ages():
        files = [p for p in experiment.rglob("*") if p.suffix in (".wav", ".json")]
        return {path: path.stat().st_mtime_ns for path in files}

    before = ages()
    evaluation.separate_experiments([experiment], progress=False)
    evaluation.score_experiments([experiment], workers=1, progress=False)
    assert ages() == before

    later = (experiment / ESTIMATES / "test 1").stat().st_mtime + 10
    os.utime(experiment / "best_model.pth", (later, later))  # trained for longer since
    evaluation.separate_experiments([experiment], progress=False)
    evaluation.score_experiments([experiment], workers=1, progress=False)
    assert not before.items() & ages().items()


@pytest.mark.parametrize("batch", [None, 1, 3])
def test_chunks_at_once_as_the_experiment_says(experiment, conf, monkeypatch, batch):  # noqa: F811
    """One at a time for an experiment of a version that did not say."""
    forward, sizes = DemucsLike.forward, []

    def watched(self, mixture):
        sizes.append(len(mixture))
        return forward(self, mixture)

    monkeypatch.setattr(DemucsLike, "forward", watched)
    del conf["separation"]["batch"]
    conf["separation"] |= {} if batch is None else {"batch": batch}
    (experiment / "conf.yml").unlink()
    save_config(conf, experiment)
    evaluation.separate_experiments([experiment], progress=False)
    assert sizes == ([3, 1] if batch == 3 else [1] * 4) * 2  # two songs of 2 s in chunks of 0.7 s


def test_the_mixture_scores_as_the_mixture(experiment, song_set):
    """Four equal noises: each is 1/4 of the power, so the mixture's SDR is near -10 log10(3)."""
    evaluation.separate_experiments([experiment], progress=False)
    evaluation.score_experiments([experiment], workers=1, progress=False)
    path = experiment.parent / evaluation.BASELINE / SCORES / "test 0.json"
    for target in json.loads(path.read_text())["targets"]:
        for frame in target["frames"]:
            assert frame["metrics"]["SDR"] == pytest.approx(-4.77, abs=0.7)


def test_a_folder_without_a_model_is_named(experiment, tmp_path):
    with pytest.raises(UsageError, match="no experiment here"):
        evaluation.separate_experiments([tmp_path / "nothing"])
    (experiment / "best_model.pth").unlink()
    with pytest.raises(UsageError, match=r"best_model\.pth: not a model file"):
        evaluation.separate_experiments([experiment], progress=False)
