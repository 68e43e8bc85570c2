"""Songs for the tests: small ones made here, and real ones where ``MUSDB18_ROOT`` names them."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asteroid_upsamplers.data import SOURCES

RATE = 8000


def write_song(folder, seconds=2.0, rate=RATE, seed=0, channels=2, subtype="PCM_16", **changed):
    """A song of four noises and their sum; ``changed`` gives other samples for some files."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    frames = round(seconds * rate)
    stems = {s: rng.uniform(-0.2, 0.2, (frames, channels)).astype(np.float32) for s in SOURCES}
    stems["mixture"] = sum(stems.values())
    for name, samples in {**stems, **changed}.items():
        soundfile.write(folder / f"{name}.wav", samples, rate, subtype=subtype)
    return folder


@pytest.fixture
def song_set(tmp_path):
    """Three songs to train, two to test, in MUSDB18-HQ's layout."""
    root = tmp_path / "set"
    for index in range(3):
        write_song(root / "train" / f"train {index}", seed=index)
    for index in range(2):
        write_song(root / "test" / f"test {index}", seed=10 + index)
    return root


@pytest.fixture(scope="session")
def real_songs():
    """A folder in MUSDB18's own format, named by ``MUSDB18_ROOT``."""
    root = os.environ.get("MUSDB18_ROOT")
    if not root:
        pytest.skip("MUSDB18_ROOT is not set")
    return Path(root)
