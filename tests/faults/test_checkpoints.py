"""A checkpoint that was damaged, or that holds code, in the middle of training."""

import pytest

from tests.faults.recipe import SIGKILL
from tests.training.test_fit import damage

pytestmark = pytest.mark.faults


@pytest.fixture
def stopped(recipe):
    """Training that was killed when it had two checkpoints."""
    recipe.restore(1)
    running = recipe.start(1)
    recipe.wait_for_checkpoint(running, "previous")
    recipe.wait_for_checkpoint(running, "last")  # a moment later
    running.send(SIGKILL, group=True)
    running.wait()
    return recipe


@pytest.mark.parametrize("kind", ["truncated", "flipped", "pickle"])
def test_the_previous_one_is_used(stopped, tmp_path, kind):
    damage(stopped.last_checkpoint, kind, tmp_path / "mark")
    running = stopped.start(1)
    assert running.wait() == 0, running.errors
    (line,) = [line for line in running.errors.splitlines() if "going on from" in line]
    assert line.startswith(str(stopped.last_checkpoint)) and line.endswith("previous.ckpt")
    assert not (tmp_path / "mark").exists()
    stopped.assert_goes_on(1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["truncated", "flipped", "pickle"])
def test_without_a_good_one_it_says_which(stopped, tmp_path, kind):
    for name in ("last", "previous"):
        damage(stopped.last_checkpoint.with_stem(name), kind, tmp_path / "mark")
    running = stopped.start(1)
    code, line = running.end()
    assert code == 2, running.errors
    assert line.startswith(f"error: {stopped.last_checkpoint}: ") and "delete it" in line
    assert "Traceback" not in running.errors
    assert not (tmp_path / "mark").exists()
    for path in stopped.last_checkpoint.parent.iterdir():
        path.unlink()
    stopped.assert_goes_on(1)


@pytest.mark.parametrize("kind", ["truncated", "flipped", "pickle"])
def test_a_model_that_is_none(recipe, tmp_path, kind):
    recipe.restore(2)
    damage(recipe.exp_dir / "best_model.pth", kind, tmp_path / "mark")
    running = recipe.start(2)
    code, line = running.end()
    assert code == 2, running.errors
    assert line.startswith(f"error: {recipe.exp_dir / 'best_model.pth'}: "), running.errors
    assert "Traceback" not in running.errors
    assert not (tmp_path / "mark").exists()
