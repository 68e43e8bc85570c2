"""What breaks while the recipe runs: the same command again gives what an unbroken run gives."""

import os
import random
import signal
import subprocess
import time

import pytest
import soundfile

from tests.faults.stages import STAGES, Stages, results_of
from tests.training.recipe import curve, family, summary, wait_until

pytestmark = pytest.mark.slow

SONGS = ["train/A", "train/B", "train/C", "train/D", "test/E", "test/F"]
"""Of the first four, A and C are trained on, B and D validated on."""


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    return Stages(tmp_path_factory.mktemp("faults"), SONGS)


def last_line(process):
    errors = process.communicate(timeout=120)[1]
    assert "Traceback" not in errors
    return errors.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("stage", "number"),
    [*((stage, signal.SIGKILL) for stage in STAGES), (2, signal.SIGTERM), (3, signal.SIGTERM)],
)
def test_ended_at_any_moment_and_run_again(stages, stage, number):
    stages.unbroken(stage)
    stages.restore(stage)
    process = stages.start(stage)
    time.sleep(random.Random(stage).uniform(0.6, 0.95) * stages.seconds[stage])
    os.killpg(process.pid, number)
    process.communicate(timeout=60)
    wait_until(lambda: not family(process))
    stages.assert_goes_on(stage)


@pytest.fixture
def disk(stages):
    """A disk in memory where the stages work; gives a function that changes its options."""
    stages.clear()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", str(stages.work)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield lambda options: subprocess.run(
        ["mount", "-o", f"remount,{options}", str(stages.work)], check=True
    )
    subprocess.run(["umount", "--lazy", str(stages.work)], check=True)


@pytest.mark.parametrize("stage", [1, 2])
def test_a_full_disk(stages, disk, stage):
    stages.unbroken(stage)
    stages.restore(stage)
    used = sum(f.stat().st_size // 4096 + 1 for f in stages.work.rglob("*")) * 4096
    disk(f"size={used + 2**17}")
    process = stages.start(stage)
    assert "No space left on device" in last_line(process)
    assert process.returncode in (1, 2)
    disk("size=1g")
    stages.assert_goes_on(stage)


def spoil(folder):
    """Put torn files in the place of a song's."""
    for path in folder.glob("*.wav"):
        torn = path.with_suffix(".torn")
        torn.write_bytes(path.read_bytes()[:100])
        os.replace(torn, path)


@pytest.mark.parametrize("name", ["A", "B"])
def test_a_song_that_becomes_unreadable(stages, name):
    """Others stand in for a song to train on, and are counted; one to validate on is missed."""
    stages.unbroken(0)
    stages.restore(1)
    process = stages.start(1)
    wait_until((stages.exp_dir / "checkpoints" / "last.ckpt").exists, process)
    spoil(stages.work / "wav_8000" / "train" / name)
    errors = process.communicate(timeout=120)[1]
    assert "Traceback" not in errors
    assert len([line for line in errors.splitlines() if f"train/{name}" in line]) == 1
    if name == "A":
        assert process.returncode == 0, errors
        assert len(curve(stages.exp_dir)) == 8
        assert summary(stages.exp_dir)["unreadable_segments"] > 0
    else:
        assert process.returncode == 2, errors
        assert errors.splitlines()[-1].startswith("error: ")


def test_the_second_run_in_a_folder_is_refused(stages):
    stages.unbroken(1)
    stages.restore(2)
    lock = stages.exp_dir / ".lock"
    script = "import sys, time; from filelock import FileLock; lock = FileLock(sys.argv[1]); "
    script += "lock.acquire(); print('held', flush=True); time.sleep(600)"
    words = [stages.command(2)[0], "-c", script, str(lock)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        process = stages.start(2)
        assert "another run is at work here" in last_line(process)
        assert process.returncode == 2
        other.kill()
    stages.unbroken(2)
    stages.restore(2)
    stages.assert_goes_on(2)


NAMES = [
    "train/.. - up",
    "train/A 'single' and \"double\" - $(touch pwned) `touch pwned`",
    "train/a..b - ; touch pwned & # * ? [x] {y}",
    "train/Größe 日本 🎵",
    "test/-rf - $HOME % \\n | <b>&amp;",
    "test/ spaces   - ",
]


def test_names_of_songs_stay_names(tmp_path):
    """All stages; nothing is written but below the songs' and the experiment's folders."""
    stages = Stages(tmp_path / "a" / "b", NAMES)
    stages.restore(0)
    for stage in STAGES:
        stages.run(stage)
    tests = sorted(name.removeprefix("test/") for name in NAMES if name.startswith("test/"))
    assert sorted(p.name for p in (stages.exp_dir / "estimates" / "test").iterdir()) == tests
    scores = sorted(p.name for p in (stages.exp_dir / "scores" / "test").iterdir())
    assert scores == [f"{name}.json" for name in tests]
    assert {p.name for p in stages.work.iterdir()} <= {"set", "wav", "wav_8000", "exp"}
    assert {p.name for p in (tmp_path / "a" / "b").iterdir()} == {"work", "states"}
    assert not [name for name in results_of(tmp_path) if name.endswith("pwned")]
    assert "<b>" not in (stages.work / "exp" / "report.html").read_text()
    assert soundfile.info(next(stages.exp_dir.rglob("estimates/**/*.wav"))).frames > 0
