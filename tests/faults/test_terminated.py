"""SIGTERM as SLURM sends it: to all processes of a job, behind a SIGCONT, half a minute to end."""

import random
import signal
import time

import pytest

from tests.faults.recipe import SIGTERM, STAGES, stage_param

pytestmark = pytest.mark.faults

KILL_WAIT = 30
"""Seconds after which SLURM sends SIGKILL, by its own default."""

JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "1", "SLURM_NNODES": "1"}
JOB |= {"SLURM_NTASKS_PER_NODE": "1", "SLURM_NODEID": "0", "SLURM_PROCID": "0"}
JOB |= {"SLURM_LOCALID": "0", "SLURM_NODELIST": "localhost"}


@pytest.mark.parametrize(
    ("stage", "seed"),
    [stage_param(stage, seed, slow=seed > 0) for stage in STAGES for seed in (0, 1)],
)
def test_terminated_and_run_again(recipe, stage, seed):
    moment = random.Random(100 * stage + seed).uniform(0.2, 0.9)
    unbroken = recipe.unbroken(stage)
    recipe.restore(stage)
    running = recipe.start(stage, environment=JOB)
    time.sleep(moment * unbroken.seconds)
    running.send(signal.SIGCONT, group=True)
    running.send(SIGTERM, group=True)
    code, line = running.end(KILL_WAIT)
    if code == 143:
        assert line == "terminated: run the same command again to go on"
        assert "Traceback" not in running.errors
    elif code == -SIGTERM and line:  # behind its end
        recipe.assert_is_unbroken(stage)
    else:  # before it had begun, or not at all
        assert (code, line) == (-SIGTERM, "") or code == 0, running.errors
    running.assert_no_orphans()
    recipe.assert_goes_on(stage)


def test_in_the_middle_of_training_it_says_so(recipe):
    recipe.restore(1)
    running = recipe.start(1, environment=JOB)
    recipe.wait_for_checkpoint(running)
    running.send(signal.SIGCONT, group=True)
    running.send(SIGTERM, group=True)
    expected = (143, "terminated: run the same command again to go on")
    assert running.end(KILL_WAIT) == expected, running.errors
    recipe.assert_goes_on(1)
