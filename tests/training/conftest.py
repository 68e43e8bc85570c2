"""Songs, and a training that nothing disturbed, to compare others with."""

import pytest

from tests.training.recipe import train, write_songs


@pytest.fixture(scope="session")
def songs(tmp_path_factory):
    return write_songs(tmp_path_factory.mktemp("songs") / "set")


@pytest.fixture(scope="session")
def alone(songs, tmp_path_factory):
    """Three epochs in one process."""
    exp_dir = tmp_path_factory.mktemp("alone") / "exp"
    train(songs, exp_dir, "--epochs", 3)
    return exp_dir
