"""A disk that is full, or that cannot be written to: one line, and afterwards it goes on."""

import contextlib
import shutil
import subprocess

import pytest

from tests.faults.recipe import PAGE, STAGES, stage_param

pytestmark = pytest.mark.faults


def mount(*words):
    return subprocess.run(["mount", *map(str, words)], capture_output=True, text=True)


@pytest.fixture
def disk(recipe):
    """A disk in memory where the stages work; gives a function that changes its options."""
    recipe.clear()
    mounted = mount("-t", "tmpfs", "-o", "size=1g", "tmpfs", recipe.work)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")

    def change(options):
        done = mount("-o", f"remount,{options}", recipe.work)
        assert done.returncode == 0, done.stderr

    try:
        yield change
    finally:
        with contextlib.suppress(AssertionError):
            change("rw,size=1g")
        subprocess.run(["umount", "--lazy", str(recipe.work)], check=True)


@pytest.mark.parametrize(
    ("stage", "share"),
    [stage_param(stage, share, slow=share != 0.3) for stage in STAGES for share in (0, 0.3, 0.7)],
)
def test_a_full_disk(recipe, disk, stage, share):
    """Full at the first byte, or when some of the stage's results are there."""
    added = recipe.added(stage)
    recipe.restore(stage)
    used = shutil.disk_usage(recipe.work).used
    disk(f"size={used + int(share * added) // PAGE * PAGE}")
    running = recipe.start(stage)
    code, line = running.end()
    assert code in (1, 2), running.errors
    assert line.startswith("error: "), running.errors
    assert "No space left on device" in line or " GB are free" in line, running.errors
    assert "Traceback" not in running.errors
    running.assert_no_orphans()
    disk("size=1g")
    recipe.assert_goes_on(stage)


@pytest.mark.parametrize("stage", [stage_param(stage, slow=stage == 0) for stage in STAGES])
def test_a_disk_that_cannot_be_written_to(recipe, disk, stage):
    recipe.restore(stage)
    disk("ro")
    running = recipe.start(stage)
    code, line = running.end()
    assert code == 1, running.errors
    assert line.startswith("error: Read-only file system"), running.errors
    assert "Traceback" not in running.errors
    disk("rw")
    recipe.assert_goes_on(stage)
