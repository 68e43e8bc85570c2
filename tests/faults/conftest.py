"""The fork server, the recipe on tiny songs, and how many trials hit what they aimed at."""

import pytest

pytest.register_assert_rewrite("tests.faults.recipe")

from tests.faults.recipe import ForkServer, Recipe  # noqa: E402

TRIALS = pytest.StashKey[list[bool]]()
"""Of each trial, whether its kill hit a running process."""


@pytest.fixture(scope="session")
def trials(pytestconfig):
    return pytestconfig.stash.setdefault(TRIALS, [])


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = ForkServer(tmp_path_factory.mktemp("logs"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def recipe(tmp_path_factory, server):
    return Recipe(tmp_path_factory.mktemp("recipe"), server)


def pytest_terminal_summary(terminalreporter, config):
    trials = config.stash.get(TRIALS, [])
    if trials:
        terminalreporter.write_line(
            f"{len(trials)} kill trials, {sum(trials)} of which hit a running process"
        )
