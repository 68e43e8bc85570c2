"""What reads songs dies, or songs cannot be read any more, in the middle of training."""

import json
import os
import shutil

import pytest

from tests.faults.recipe import EPOCHS, SIGKILL

pytestmark = pytest.mark.faults


def test_a_reading_process_that_dies(recipe):
    more = ("--num_workers", 1)
    recipe.unbroken(1, *more)
    recipe.restore(1)
    running = recipe.start(1, *more)
    recipe.wait_for_checkpoint(running)
    (reader,) = set(running.processes()) - {running.pid}
    os.kill(reader, SIGKILL)
    code, line = running.end()
    assert code == 2, running.errors
    assert line.startswith("error: a process that reads segments died"), running.errors
    assert "Traceback" not in running.errors
    running.assert_no_orphans()
    recipe.assert_goes_on(1, *more)


def spoil(folder):
    """Put a torn file in the place of each wav file of a song."""
    paths = [*folder.glob("*.wav")]
    assert paths
    for path in paths:
        torn = path.with_suffix(".torn")
        torn.write_bytes(path.read_bytes()[:100])
        os.replace(torn, path)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_song_that_becomes_unreadable(recipe, workers):
    """It is named once, others stand in for its segments, and these are counted."""
    more = ("--num_workers", workers)
    recipe.restore(1)
    running = recipe.start(1, *more)
    recipe.wait_for_checkpoint(running)
    folder = recipe.work / "data" / "wav" / "musdb18" / "train" / "A - song"
    spoil(folder)
    assert running.wait() == 0, running.errors
    named = [line for line in running.errors.splitlines() if str(folder) in line]
    assert len(named) == 1 and named[0].endswith("; other songs stand in for it")
    rows = json.loads((recipe.exp_dir / "learning_curve.json").read_text())
    counts = [row["unreadable_segments"] for row in rows]
    assert len(counts) == EPOCHS and counts[0] == 0 and counts[-1] > 0
    summary = json.loads((recipe.exp_dir / "training.json").read_text())
    assert summary["unreadable_segments"] == sum(counts)


@pytest.mark.parametrize("workers", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_no_song_can_be_read_any_more(recipe, workers):
    recipe.restore(1)
    running = recipe.start(1, "--num_workers", workers)
    recipe.wait_for_checkpoint(running)
    for name in "AC":
        spoil(recipe.work / "data" / "wav" / "musdb18" / "train" / f"{name} - song")
    code, line = running.end()
    assert code == 2, running.errors
    assert line.startswith("error: ") and line.endswith("no song can be read any more")
    assert "Traceback" not in running.errors
    running.assert_no_orphans()
    shutil.rmtree(recipe.work / "data" / "wav" / "musdb18")
    recipe.server.run(recipe.command(0))
    recipe.assert_goes_on(1, "--num_workers", workers)


def test_a_song_to_validate_on_that_becomes_unreadable(recipe):
    """Without it the validation loss would mean something else, so training stops."""
    recipe.restore(1)
    running = recipe.start(1)
    recipe.wait_for_checkpoint(running)
    folder = recipe.work / "data" / "wav" / "musdb18" / "train" / "B - song"
    spoil(folder)
    code, line = running.end()
    assert code == 2, running.errors
    assert line.startswith(f"error: {folder / 'drums.wav'}: cannot be read"), running.errors
    assert "Traceback" not in running.errors
