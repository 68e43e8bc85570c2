"""Rendered two-speaker mixtures: layout, exact sums, the same seed, what is kept and refused."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from asteroid.data import LibriMix

from asteroid_upsamplers.data import render_demo_mixtures
from asteroid_upsamplers.data.demo_mixtures import BUILDS, LEVEL_DBFS, SPREAD_DB, render_speaker
from asteroid_upsamplers.errors import UsageError

SMALL = {"n_train": 3, "n_dev": 1, "n_test": 2, "seconds": 1.5, "progress": False}
SPEAKS = [
    False,
    pytest.param(
        True,
        marks=pytest.mark.skipif(
            shutil.which("espeak-ng") is None, reason="espeak-ng is not installed"
        ),
    ),
]


def digest(root):
    return {p.relative_to(root): p.read_bytes() for p in sorted(root.rglob("*.wav"))}


@pytest.mark.parametrize("speaks", SPEAKS)
def test_asteroid_reads_what_is_written(speaks, tmp_path):
    voices = "espeak-ng" if speaks else "synthetic"
    folders = render_demo_mixtures(tmp_path / "it's here", **SMALL, voices=voices)
    for subset, count in {"train": 3, "dev": 1, "test": 2}.items():
        examples = LibriMix(str(folders[subset]), "sep_clean", 8000, 2, segment=1)
        assert len(examples) == count
        whole = LibriMix(str(folders[subset]), "sep_clean", 8000, 2, segment=None, return_id=True)
        mixture, sources, ids = whole[0]
        assert sources.shape == (2, 12000)
        assert torch.equal(mixture, sources.sum(0))
        assert len(ids) == 2
        assert 0.01 < float(mixture.abs().max()) < 1
    table = pd.read_csv(folders["train"] / "mixture_train_mix_clean.csv")
    assert soundfile.info(table["mixture_path"][0]).subtype == "PCM_16"


@pytest.mark.parametrize("speaks", SPEAKS)
@pytest.mark.parametrize("build", BUILDS)
def test_speakers_differ_by_build_and_seed(build, speaks):
    voices = [
        render_speaker(build, 2.0, 8000, np.random.default_rng(seed), speaks) for seed in (0, 1)
    ]
    for voice in voices:
        assert voice.shape == (16000,)
        level = 10 * np.log10(np.mean(voice**2))
        assert abs(level - LEVEL_DBFS) <= SPREAD_DB + 0.01
        power = np.abs(np.fft.rfft(voice)) ** 2
        hertz = np.fft.rfftfreq(16000, 1 / 8000)
        assert power[(hertz > 80) & (hertz < 3400)].sum() > 0.8 * power.sum()
    assert not np.allclose(*voices)


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
    first, second, other = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    render_demo_mixtures(first, **SMALL, voices="synthetic")
    render_demo_mixtures(second, **SMALL, voices="synthetic")
    render_demo_mixtures(other, **SMALL, voices="synthetic", seed=1)
    assert digest(first) == digest(second)
    assert digest(first) != digest(other)
    (first / "metadata" / "dev" / "mixture_dev_mix_clean.csv").write_text("mine")
    render_demo_mixtures(first, **SMALL, voices="synthetic")
    assert (first / "metadata" / "dev" / "mixture_dev_mix_clean.csv").read_text() == "mine"
    shutil.rmtree(first / "metadata" / "train")
    render_demo_mixtures(first, **SMALL, voices="synthetic")
    assert digest(first) == digest(second)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_dev": 0}, "n_dev is 0, allowed is 1 and up"),
        ({"seconds": 0.5}, "seconds is 0.5, allowed is 1 and up"),
        ({"sample_rate": 4000}, "sample_rate is 4000, allowed is 8000 and up"),
        ({"voices": "espeak"}, "voices is 'espeak', allowed is one of auto, espeak-ng, synthetic"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        render_demo_mixtures(Path("unused"), **{**SMALL, **settings})


def test_missing_espeak_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="apt-get install espeak-ng"):
        render_demo_mixtures(Path("unused"), **SMALL, voices="espeak-ng")
