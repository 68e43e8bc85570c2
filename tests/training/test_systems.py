"""Every system of the recipe: published sizes, training, whole songs, scores, artifacts."""

import json
import sys

import pytest
import soundfile
import torch
from asteroid.models import BaseModel

from asteroid_upsamplers import evaluation, report
from asteroid_upsamplers.data import SOURCES
from asteroid_upsamplers.errors import UsageError
from asteroid_upsamplers.training import build_model, fit, load_config, parse_arguments
from asteroid_upsamplers.training.losses import LOSSES
from tests.conftest import RATE, write_song
from tests.training.test_config import CONF, LOCAL

SYSTEMS = {path.name: path for path in sorted((LOCAL / "models").iterdir())}
OTHERS = [name for name in SYSTEMS if name != "DemucsLike"]
TINY = {
    "DemucsLike": {"channels": 2, "depth": 3},
    "WaveUNet": {"channels": 2, "depth": 3},
    "OpenUnmix": {"hidden_size": 8, "n_fft": 512, "hop_length": 128, "max_bin": 200},
    "CrossNetOpenUnmix": {"hidden_size": 8, "n_fft": 512, "hop_length": 128, "max_bin": 200},
    "SamsNet": {"channels": 4, "n_heads": 2, "n_fft": 256, "hop_length": 128},
    "MusicConvTasNet": {"n_filters": 8, "n_blocks": 2, "n_repeats": 1, "hid_chan": 8},
}
WEIGHTS = {  # trained ones: the package's windows are parameters, but fixed
    "WaveUNet": 10_263_498,
    "OpenUnmix": 4 * 8_893_348,
    "CrossNetOpenUnmix": 4 * 8_893_348,
    "SamsNet": 3_772_472,
}


def files(name, size):
    paths = [SYSTEMS[name] / "full.yml", LOCAL / "sizes" / f"{size}.yml"]
    return [p for p in (*paths, SYSTEMS[name] / f"{size}.yml") if p.exists()]


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Three songs to train, one of a second to test, which museval is quick with."""
    root = tmp_path_factory.mktemp("songs") / "set"
    for index in range(3):
        write_song(root / "train" / f"train {index}", seed=index)
    write_song(root / "test" / "test", seconds=1.0, seed=10)
    return root


@pytest.fixture(scope="module")
def experiments(tmp_path_factory):
    """Side by side, so that the mixture is scored once."""
    return tmp_path_factory.mktemp("exp")


@pytest.fixture
def tiny(songs):
    def configuration(name, rate=RATE):
        conf = load_config(CONF, files(name, "small"))
        conf["data"].update(musdb18_dir=str(songs), wav_dir=str(songs.parent / "wav"))
        conf["data"].update(sample_rate=rate, segment=0.5, segment_stride=0.2)
        conf["augmentation"]["shift"] = 0.2
        conf["model"].update(TINY[name])
        conf["training"].update(epochs=1, batch_size=4)
        conf["separation"]["chunk"] = 0.7
        return conf

    return configuration


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_full_systems_have_their_published_sizes(name):
    with torch.device("meta"):
        model = build_model(load_config(CONF, files(name, "full")))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == WEIGHTS[name]


@pytest.mark.parametrize("size", ["full", "small", "demo"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_every_file_is_a_whole_configuration(name, size):
    words = [word for path in files(name, size) for word in ("--variant", str(path))]
    conf, _ = parse_arguments("test", ["--conf", str(CONF), "--exp_dir", "x", *words])
    assert conf["model"]["name"] == name


@pytest.mark.parametrize("name", SYSTEMS)
def test_from_songs_to_scores_and_artifacts(tiny, experiments, name, songs):
    exp_dir, where = experiments / name, (songs, songs.parent / "wav")
    fit(tiny(name), exp_dir)
    model = BaseModel.from_pretrained(str(exp_dir / "best_model.pth"))
    assert type(model).__name__ == name
    assert model.sources == SOURCES
    evaluation.separate_experiments([exp_dir], *where, progress=False)
    pace = json.loads((exp_dir / "evaluation.json").read_text())
    assert pace["audio_seconds"] == 1
    assert pace["real_time_factor"] == pytest.approx(pace["seconds"])
    evaluation.score_experiments([exp_dir], *where, workers=1, progress=False)
    report.measure_experiments([exp_dir], *where, progress=False)
    table = report.collect([exp_dir])
    assert list(table.index) == ["mixture", name]
    row = table.loc[name]
    assert row["network"] == name
    assert row["songs"] == 1
    assert row["SDR_mean"] == row["SDR_mean"]
    assert row["real_time_factor"] == pytest.approx(pace["real_time_factor"])
    assert row["parameters"] == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert row["noise_frequencies"] == {"MusicConvTasNet": 16, "WaveUNet": 4}.get(name, 8)
    quoted = {"DemucsLike": "703M", "WaveUNet": "10M", "OpenUnmix": "8.9M", "SamsNet": "3.7M"}
    assert row.get("paper_parameters") == quoted.get(name)
    if name in ("DemucsLike", "MusicConvTasNet"):  # the others' upsamplers are not heard in time
        assert row["untrained_tonal_fraction_last_layer"] > 0.1


@pytest.mark.parametrize("name", ["WaveUNet", "SamsNet"])
def test_at_another_rate_than_the_songs(tiny, tmp_path, name, songs):
    """It is trained on resampled songs, and its estimates fit the songs as they are."""
    exp_dir = tmp_path / "exp" / name
    fit(tiny(name, rate=4000), exp_dir)
    resampled = songs.parent / "wav_4000" / "train"
    assert sorted(p.name for p in resampled.iterdir()) == ["train 0", "train 1", "train 2"]
    evaluation.separate_experiments([exp_dir], songs, songs.parent / "wav", progress=False)
    paths = list((exp_dir / "estimates" / "test" / "test").iterdir())
    assert sorted(path.stem for path in paths) == sorted(SOURCES)
    assert {(soundfile.info(p).samplerate, soundfile.info(p).frames) for p in paths} == {
        (RATE, RATE)
    }


def test_the_context_of_a_training_extract_is_the_songs(tiny, tmp_path, monkeypatch):
    """With no padding the network sees what is around the extract, and is judged on the extract."""
    module, seen = sys.modules["asteroid_upsamplers.training.fit"], []

    class Watched(module.SeparationSystem):
        def training_step(self, batch, batch_nb):
            mixture = []
            handle = self.model.encoder[0].register_forward_pre_hook(
                lambda _, inputs: mixture.append(inputs[0].shape[-1])
            )
            loss = self.loss_func

            def watched(estimates, wanted):
                seen.append((mixture[0], estimates.shape, wanted.shape))
                return loss(estimates, wanted)

            self.loss_func = watched
            result = super().training_step(batch, batch_nb)
            self.loss_func = loss
            handle.remove()
            return result

    monkeypatch.setattr(module, "SeparationSystem", Watched)
    conf = tiny("WaveUNet")
    fit(conf, tmp_path / "exp")
    model = build_model(conf)
    for length, estimates, wanted in seen:
        assert length == model.valid_length(4000)
        assert estimates == wanted == (4, 4, 2, length - model.margin)
    assert seen


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_zero_for_the_sources_only(name):
    sources = torch.randn(2, 4, 2, 9000)
    assert LOSSES[name](sources, sources) == 0
    assert LOSSES[name](0.5 * sources, sources) > 0
    deaf_to_sign = bool(LOSSES[name](-sources, sources) == 0)
    assert deaf_to_sign is (name == "spectrogram_mse")


def test_the_spectrogram_loss_is_that_of_scipys_magnitudes():
    from scipy import signal

    sources, estimates = torch.randn(2, 1, 2, 1, 9000, dtype=torch.float64)

    def magnitudes(x):
        window = signal.get_window("hann", 4096)
        *_, spectrum = signal.stft(x, window=window, nperseg=4096, noverlap=3072, padded=False)
        return abs(spectrum * window.sum())

    expected = ((magnitudes(estimates.numpy()) - magnitudes(sources.numpy())) ** 2).mean()
    loss = LOSSES["spectrogram_mse"](estimates, sources)
    assert float(loss) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("  name: WaveUNets\n", "model.name is 'WaveUNets', no separator .* did you mean WaveUNet"),
        ("  name: MelGANGenerator\n", "model.name is 'MelGANGenerator', no separator of music"),
        ("  name: ConvTasNet\n", "model.name is 'ConvTasNet', no separator of music"),
        ("  name: 3\n", "model.name is 3, no separator"),
        ("  name: OpenUnmix\n  normalize: false\n  modified: true\n", "unknown key model.modified"),
        ("  name: WaveUNet\n  normalize: false\n  depht: 3\n", "depht .*did you mean depth"),
        ("  name: WaveUNet\n  normalize: false\n  channels: x\n", "channels is 'x', allowed"),
        ("  name: OpenUnmix\n  normalize: false\n  n_fft: x\n", "OpenUnmix: impossible settings"),
        ("  name: OpenUnmix\n  normalize: false\n  n_fft: 20\n", "max_bin is 1487, allowed is"),
        ("  name: OpenUnmix\n", "model.normalize is missing"),
    ],
    ids=str,
)
def test_wrong_models_are_named_in_one_line(tmp_path, model, message):
    path = tmp_path / "variant.yml"
    path.write_text(f"model:\n{model}")
    arguments = ["--conf", str(CONF), "--variant", str(path), "--exp_dir", "x"]
    with pytest.raises(UsageError, match=message) as caught:
        parse_arguments("test", arguments)
    assert "\n" not in str(caught.value)


def test_an_upsampler_is_for_models_that_have_one():
    words = ["--conf", str(CONF), "--exp_dir", "x", "--upsampler", "nearest"]
    for name in OTHERS:
        variant = ["--variant", str(SYSTEMS[name] / "full.yml")]
        if name in ("OpenUnmix", "CrossNetOpenUnmix"):
            with pytest.raises(UsageError, match="unknown option --upsampler"):
                parse_arguments("test", [*words, *variant])
        else:
            conf, _ = parse_arguments("test", [*words, *variant])
            assert build_model(conf).get_model_args()["upsampler"] == "nearest"
