"""SIGKILL at any moment of any stage: the same command again gives what an unbroken run gives."""

import random
import time

import pytest

from tests.faults.recipe import SIGKILL, STAGES, stage_param

pytestmark = pytest.mark.faults

TIMES = {0: 4, 1: 24, 2: 6, 3: 4, 4: 2, 5: 4}
"""Trials of each stage: where more can be half done, more of them."""
SOON = {0: 3, 1: 12, 2: 3, 5: 2}
"""Of these, those that are not marked as slow: 20."""


@pytest.mark.parametrize(
    ("stage", "seed"),
    [
        stage_param(stage, seed, slow=seed >= SOON.get(stage, 0))
        for stage in STAGES
        for seed in range(TIMES[stage])
    ],
)
def test_killed_and_run_again(recipe, trials, stage, seed):
    chance = random.Random(100 * stage + seed)
    moment, group = chance.random(), chance.random() < 0.5
    more = ("--num_workers", chance.randrange(2)) if stage == 1 else ()
    unbroken = recipe.unbroken(stage, *more)
    recipe.restore(stage)
    running = recipe.start(stage, *more)
    time.sleep(moment * unbroken.seconds)
    running.send(SIGKILL, group)
    trials.append(running.wait() == -SIGKILL)
    running.assert_no_orphans()
    recipe.assert_goes_on(stage, *more)


def test_most_kills_hit_a_running_process(trials):
    """Without that, the trials above would show nothing."""
    if not trials:
        pytest.skip("no trial was run")
    assert sum(trials) > len(trials) / 2
