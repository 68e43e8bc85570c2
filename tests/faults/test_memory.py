"""Memory that runs out: one line that names the settings to lower."""

import pytest

pytestmark = pytest.mark.faults

MORE = 400 * 2**20


def test_training(recipe):
    recipe.restore(1)
    large = ("--channels", 192, "--batch_size", 4, "--segment", 1)
    running = recipe.start(1, *large, memory=MORE)
    code, line = running.end()
    assert code == 2, running.errors
    assert line.startswith("error: the device is out of memory: raise training.accumulate (1)")
    assert "lower training.batch_size (4)" in line and "data.segment (1.0 s)" in line
    assert "Traceback" not in running.errors
    recipe.restore(1)
    recipe.assert_goes_on(1)
