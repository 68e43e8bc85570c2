"""Rendered two-speaker mixtures: layout, exact sums, the same seed, what is kept and refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from asteroid.data import LibriMix

from asteroid_upsamplers.data import render_demo_mixtures
from asteroid_upsamplers.data.demo_mixtures import BUILDS, LEVEL_DBFS, SPREAD_DB, render_speaker
from asteroid_upsamplers.errors import UsageError

SMALL = {"n_train": 3, "n_dev": 1, "n_test": 2, "seconds": 1.5, "progress": False}
no_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is missing")
VOICES = ["synthetic", pytest.param("espeak-ng", marks=no_espeak)]


@pytest.mark.parametrize("voices", VOICES)
def test_asteroid_reads_what_is_written(voices, tmp_path):
    folders = render_demo_mixtures(tmp_path / "it's here", **SMALL, voices=voices)
    for subset, count in {"train": 3, "dev": 1, "test": 2}.items():
        examples = LibriMix(str(folders[subset]), "sep_clean", 8000, 2, segment=None)
        assert len(examples) == count
        mixture, sources = examples[0]
        assert sources.shape == (2, 12000)
        assert torch.equal(mixture, sources.sum(0))
        assert 0.01 < float(mixture.abs().max()) < 1
        assert soundfile.info(examples.mixture_path).subtype == "PCM_16"


@pytest.mark.parametrize("voices", VOICES)
@pytest.mark.parametrize("build", BUILDS)
def test_speakers_differ_by_seed_and_have_the_level_and_band_of_speech(build, voices):
    speakers = [
        render_speaker(build, 2.0, 8000, np.random.default_rng(seed), voices == "espeak-ng")
        for seed in (0, 1)
    ]
    for voice in speakers:
        assert voice.shape == (16000,)
        assert abs(10 * np.log10(np.mean(voice**2)) - LEVEL_DBFS) <= SPREAD_DB + 0.01
        power, hertz = np.abs(np.fft.rfft(voice)) ** 2, np.fft.rfftfreq(16000, 1 / 8000)
        assert power[(hertz > 80) & (hertz < 3400)].sum() > 0.8 * power.sum()
    assert not np.allclose(*speakers)


def test_men_are_lower_than_women():
    def pitch(build):
        """The lag of the highest autocorrelation of a synthetic voice, as a frequency."""
        found = []
        for seed in range(4):
            voice = render_speaker(build, 2.0, 8000, np.random.default_rng(seed), False)
            spectrum = np.abs(np.fft.rfft(voice, 2 * len(voice))) ** 2
            lags = np.fft.irfft(spectrum)[: 8000 // 70]
            found.append(8000 / (20 + int(np.argmax(lags[20:]))))
        return np.median(found)

    assert pitch("man") < 160 < pitch("woman")


def test_the_same_seed_gives_the_same_and_whole_subsets_are_kept(tmp_path):
    def rendered(name, **more):
        root = tmp_path / name
        render_demo_mixtures(root, **SMALL, voices="synthetic", **more)
        return {p.relative_to(root): p.read_bytes() for p in sorted(root.rglob("*.wav"))}

    first = rendered("a")
    assert rendered("b") == first
    assert rendered("c", seed=1) != first
    table = tmp_path / "a" / "metadata" / "dev" / "mixture_dev_mix_clean.csv"
    table.write_text("mine")
    shutil.rmtree(tmp_path / "a" / "metadata" / "train")
    assert rendered("a") == first
    assert table.read_text() == "mine"
    with pytest.raises(UsageError, match="metadata/train: rendered with seed 0, not 1; choose"):
        rendered("a", seed=1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_dev": 0}, "n_dev is 0: must be at least 1"),
        ({"sample_rate": 4000}, "sample_rate is 4000: must be at least 8000"),
        ({"voices": "espeak"}, "voices is 'espeak': must be one of auto, espeak-ng, synthetic"),
        ({"voices": "espeak-ng"}, "apt-get install espeak-ng"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings, words, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match=words):
        render_demo_mixtures(Path("unused"), **{**SMALL, **settings})
